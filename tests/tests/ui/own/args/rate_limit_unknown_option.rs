use resilient_runtime::resilient;

#[resilient(throttle = "api", rate_limit("api", rate = "5/s", max_key = 3, by = 4))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
