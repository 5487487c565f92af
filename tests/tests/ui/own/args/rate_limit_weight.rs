use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "10/s", burst = 3, weight = 4))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", weight = 11))]
fn g() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", algorithm = leaky_bucket, max_wait = "1s", weight = 2))]
fn h() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", weight = 10))]
fn as_many_as_there_are() -> Option<u32> {
    Some(1)
}

fn main() {}
