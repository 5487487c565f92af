use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback = nowhere)]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
