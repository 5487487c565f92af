use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "0/s"))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "20000000/s"))]
fn g() -> Option<u32> {
    Some(1)
}

fn main() {}
