use resilient_runtime::resilient;

#[resilient(load_shed("x", min_in_flight = 20, max_in_flight = 10))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
