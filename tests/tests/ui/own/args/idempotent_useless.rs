use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", idempotent)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
