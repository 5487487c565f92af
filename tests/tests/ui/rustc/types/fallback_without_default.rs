use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(backup = 7))]
fn f(x: u32) -> u32 {
    x
}

fn main() {}
