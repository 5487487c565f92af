use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", open_max = "2s"))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
