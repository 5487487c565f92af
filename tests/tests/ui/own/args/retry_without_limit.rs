use resilient_runtime::resilient;

#[resilient(retry(base = "1ms"))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
