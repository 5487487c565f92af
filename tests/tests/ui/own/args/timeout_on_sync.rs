use resilient_runtime::resilient;

#[resilient(timeout = "2s")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
