use resilient_runtime::resilient;

#[resilient(retry(max = 3), crate = "resilient_runtime")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
