use resilient_runtime::resilient;

#[derive(Debug, thiserror::Error)]
enum E {
    #[error("bad")]
    Bad,
    #[error(transparent)]
    Rejected(#[from] resilient_runtime::Rejection),
}

#[resilient(retry(max = 3))]
async fn f(x: &str) -> Result<u32, E> {
    Ok(x.parse::<u32>()?)
}

fn main() {}
