use resilient_runtime::resilient;

#[resilient(circuit_breaker = "a" retry(max = 0))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
