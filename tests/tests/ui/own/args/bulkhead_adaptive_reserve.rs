use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive(min = 4, max = 10), reserve(high = 4)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
