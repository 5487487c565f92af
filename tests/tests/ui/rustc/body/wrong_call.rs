use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {
    f("text");
}
