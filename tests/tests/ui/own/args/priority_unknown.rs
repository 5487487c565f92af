use resilient_runtime::resilient;

#[resilient(bulkhead = "x", priority = hihg)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
