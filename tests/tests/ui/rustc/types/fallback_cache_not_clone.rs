use resilient::resilient;

#[derive(Debug)]
struct Receipt;

#[resilient(circuit_breaker = "x", fallback(local_cache(max_age = "10m", key = x)))]
fn f(x: u32) -> Result<Receipt, resilient::Rejection> {
    let _ = x;
    Ok(Receipt)
}

fn main() {}
