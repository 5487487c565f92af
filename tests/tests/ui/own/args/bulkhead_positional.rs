use resilient_runtime::resilient;

#[resilient(bulkhead(3))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
