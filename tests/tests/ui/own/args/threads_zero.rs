use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 0))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
