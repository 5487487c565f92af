use resilient::resilient;

#[resilient(circuit_breaker = "x", fallback = zero)]
fn f() -> Option<u32> {
    Some(1)
}

async fn zero(_: resilient::Failure<()>) -> Option<u32> {
    None
}

fn main() {}
