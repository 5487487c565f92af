use resilient_runtime::resilient;

#[resilient(bulkhead("x", max_queue = 10))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
