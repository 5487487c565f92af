use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", failure_rate = 1.5))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
