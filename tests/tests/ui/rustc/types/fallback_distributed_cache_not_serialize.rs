use resilient_runtime::resilient;

#[derive(Debug)]
struct Receipt;

#[resilient(circuit_breaker = "x", fallback(distributed_cache(store = "shared", max_age = "10m", key = x)))]
fn f(x: u32) -> Result<Receipt, resilient_runtime::Rejection> {
    let _ = x;
    Ok(Receipt)
}

fn main() {}
