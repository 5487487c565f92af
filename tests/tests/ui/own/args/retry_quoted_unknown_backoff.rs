use resilient_runtime::resilient;

#[resilient(retry(max = 3, backoff = "banana"))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
