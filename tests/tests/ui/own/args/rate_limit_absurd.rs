use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "-5/s"))]
fn negative() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "NaN/s"))]
fn no_number() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "1/ns"))]
fn without_a_number() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "1/1ns"))]
fn too_fast() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "5/0s"))]
fn no_time() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = 0.5))]
fn fraction() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", burst = 0))]
fn no_burst() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", max_wait = "0ms"))]
fn no_wait() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "10/s", max_keys = 3))]
fn no_keys() -> Option<u32> {
    Some(1)
}

#[resilient(rate_limit("api", rate = "1000000/day", burst = 1000000))]
fn all_right() -> Option<u32> {
    Some(1)
}

fn main() {}
