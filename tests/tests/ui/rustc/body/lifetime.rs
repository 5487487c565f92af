use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f<'a, 'b>(x: &'a str, _y: &'b str) -> Option<&'b str> {
    Some(x)
}

fn main() {}
