use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive()))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
