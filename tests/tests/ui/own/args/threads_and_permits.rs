use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2, max_concurrent = 3, max_queue = 4, max_wait = "1s", reserve(high = 6)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
