use resilient_runtime::resilient;

#[resilient(circut_breaker = "x", retry(max = 3))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
