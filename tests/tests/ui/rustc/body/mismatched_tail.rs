use resilient_runtime::resilient;

#[derive(Debug, thiserror::Error)]
enum E {
    #[error("bad")]
    Bad,
    #[error(transparent)]
    Rejected(#[from] resilient_runtime::Rejection),
}

#[resilient(circuit_breaker = "x")]
fn f() -> Result<u32, E> {
    Ok("text")
}

fn main() {}
