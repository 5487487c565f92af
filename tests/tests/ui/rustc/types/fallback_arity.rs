use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback = zero)]
fn none() -> Option<u32> {
    Some(1)
}

fn zero() -> Option<u32> {
    None
}

#[resilient(circuit_breaker = "x", fallback(replica = two))]
async fn level() -> Result<u32, resilient_runtime::Rejection> {
    Ok(1)
}

fn two(_: u32, _: u32) -> Result<u32, resilient_runtime::Rejection> {
    Ok(2)
}

#[resilient(circuit_breaker = "x", fallback = later)]
async fn asynchronous() -> Option<u32> {
    Some(1)
}

async fn later() -> Option<u32> {
    None
}

fn main() {}
