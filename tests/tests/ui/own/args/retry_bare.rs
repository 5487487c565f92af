use resilient_runtime::resilient;

#[resilient(retry)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
