use resilient_runtime::resilient;

#[resilient(load_shed("x", arrived_at))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
