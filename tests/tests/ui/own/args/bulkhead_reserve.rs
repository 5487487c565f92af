use resilient_runtime::resilient;

#[resilient(bulkhead("x", max_concurrent = 4, reserve(critical = 2, high = 2)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
