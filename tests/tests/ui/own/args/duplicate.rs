use resilient_runtime::resilient;

#[resilient(bulkhead = "x", bulkhead = "y")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
