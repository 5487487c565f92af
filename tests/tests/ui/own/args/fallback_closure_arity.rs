use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback = |_, _| Ok(2))]
fn two() -> Result<u32, String> {
    Ok(1)
}

#[resilient(circuit_breaker = "x", fallback = || Ok(2))]
fn none() -> Result<u32, String> {
    Ok(1)
}

#[resilient(circuit_breaker = "x", fallback(default = || Ok(2)))]
fn level() -> Result<u32, String> {
    Ok(1)
}

#[resilient(circuit_breaker = "x", fallback = async || Ok(2))]
async fn later() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
