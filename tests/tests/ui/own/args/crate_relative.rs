use resilient::resilient;

#[resilient(circuit_breaker = "x", crate = resilient)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
