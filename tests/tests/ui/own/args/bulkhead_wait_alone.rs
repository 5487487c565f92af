use resilient_runtime::resilient;

#[resilient(bulkhead("x", max_wait = "10ms"))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
