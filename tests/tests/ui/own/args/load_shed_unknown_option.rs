use resilient_runtime::resilient;

#[resilient(load_shed("x", max_concurrent = 5, latency = "5ms", throtle), shed = "y")]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
