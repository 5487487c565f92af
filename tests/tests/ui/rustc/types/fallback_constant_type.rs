use resilient_runtime::resilient;

const ZERO: u32 = 0;

#[resilient(circuit_breaker = "x", fallback = ZERO)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
