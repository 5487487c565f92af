use resilient_runtime::resilient;

#[resilient(rate_limit("api", burst = 3))]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
