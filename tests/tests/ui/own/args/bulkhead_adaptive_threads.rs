use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive, threads = 4))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
