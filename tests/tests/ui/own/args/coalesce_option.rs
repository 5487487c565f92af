use resilient_runtime::resilient;

#[resilient(coalesce(key = 1, share_errors = "no"))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
