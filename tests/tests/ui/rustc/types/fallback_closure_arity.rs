use resilient::resilient;

#[resilient(circuit_breaker = "x", fallback = |_, _| Ok(2))]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
