use resilient_runtime::resilient;

#[resilient(circuit_breaker("", failure_rate = 2))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
