use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f(_x: u32 _y: u32) -> Option<u32> {
    Some(1)
}

fn main() {}
