use resilient_runtime::resilient;

#[resilient(circuit_breaker(3))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
