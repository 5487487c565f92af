use resilient_runtime::resilient;

#[resilient(bulkhead("x", reserve(low = 3)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
