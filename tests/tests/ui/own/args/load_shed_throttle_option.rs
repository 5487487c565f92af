use resilient_runtime::resilient;

#[resilient(load_shed("x", throttle(k = 2.0)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
