use resilient_runtime::resilient;

#[resilient(load_shed("x", throttle = 2.0), load_shed("y", throttle))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
