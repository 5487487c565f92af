use resilient_runtime::resilient;

#[resilient(bulkhead("x", max_concurrent = 0))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
