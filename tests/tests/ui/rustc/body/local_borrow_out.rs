use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f() -> Option<&'static str> {
    let s = String::new();
    Some(&s)
}

fn main() {}
