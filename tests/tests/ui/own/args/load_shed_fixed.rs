use resilient_runtime::resilient;

#[resilient(load_shed("x", max_in_flight = 5, adaptive = false, min_in_flight = 1, initial_in_flight = 2))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
