use resilient_runtime::resilient;

#[resilient(retry(attempts = 1))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
