use resilient_runtime::resilient;

#[resilient(retry(max = 99999999999))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
