use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive, max_concurrent = 10))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
