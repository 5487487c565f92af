use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "1/day", burst = 1_000_000))]
fn f() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "20000/s", algorithm = sliding_log))]
fn g() -> Option<u32> {
    Some(1)
}

fn main() {}
