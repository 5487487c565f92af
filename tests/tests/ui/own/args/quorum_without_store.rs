use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", quorum = 3))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
