use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", window = 10, min_calls = 20))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
