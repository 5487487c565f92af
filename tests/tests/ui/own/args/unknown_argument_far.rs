use resilient_runtime::resilient;

#[resilient(cache = "x")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
