use resilient_runtime::resilient;

#[resilient(bulkhead = "x", crate = ::nowhere)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
