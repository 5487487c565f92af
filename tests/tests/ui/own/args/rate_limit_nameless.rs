use resilient_runtime::resilient;

#[resilient(rate_limit(rate = "5/s"))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
