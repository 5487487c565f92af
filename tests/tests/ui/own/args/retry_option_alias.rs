use resilient_runtime::resilient;

#[resilient(retry(maximum = 3))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
