use resilient_runtime::resilient;

#[resilient(load_shed("x", max_in_flight = 5))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
