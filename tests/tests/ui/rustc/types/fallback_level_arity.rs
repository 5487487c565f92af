use resilient::resilient;

#[resilient(circuit_breaker = "x", fallback(default = || Ok(2)))]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
