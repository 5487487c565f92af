use resilient_runtime::resilient;

#[resilient(rate_limit("api", rate = "5/s", algorithm = leaky))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
