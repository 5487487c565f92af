use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "5/s", mode = exact, on_store_failure = open))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/s", algorithm = sliding_log, store = "shared"))]
fn g() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/s", store = "shared", mode = leased))]
fn h() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/s", distributed = "shared"))]
fn i() -> Option<u32> {
    Some(1)
}

fn main() {}
