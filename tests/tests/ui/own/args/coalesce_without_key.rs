use resilient_runtime::resilient;

#[resilient(coalesce)]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(coalesce("name"))]
fn g() -> Option<u32> {
    Some(1)
}

#[resilient(coalesce(key))]
fn h() -> Option<u32> {
    Some(1)
}

fn main() {}
