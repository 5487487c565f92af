use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f(x: u32) -> Option<u32> {
    Some(y)
}

fn main() {}
