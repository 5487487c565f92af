use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "5/s", algorithm = leaky_bucket))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/s", algorithm = sliding_window, burst = 3))]
fn g() -> Option<u32> {
    Some(1)
}

fn main() {}
