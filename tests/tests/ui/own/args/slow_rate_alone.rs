use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", slow_rate = 0.5))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
