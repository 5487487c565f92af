use resilient_runtime::resilient;

#[resilient(bulkhead = "x", priority = "high")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
