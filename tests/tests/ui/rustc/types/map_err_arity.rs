use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", map_err = || String::new())]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
