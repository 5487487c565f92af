use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "100 per second"))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = 100))]
fn g() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/5"))]
fn h() -> Option<u32> {
    Some(1)
}

fn main() {}
