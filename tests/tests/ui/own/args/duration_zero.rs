use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", open_for = "0s"))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
