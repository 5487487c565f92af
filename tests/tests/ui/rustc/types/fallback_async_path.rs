use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback = zero)]
fn f() -> Option<u32> {
    Some(1)
}

async fn zero(_: resilient_runtime::Failure<()>) -> Option<u32> {
    None
}

fn main() {}
