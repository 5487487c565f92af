use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", crate = resilient_runtime)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
