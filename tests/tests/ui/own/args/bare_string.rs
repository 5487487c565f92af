use resilient_runtime::resilient;

#[resilient("payment")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
