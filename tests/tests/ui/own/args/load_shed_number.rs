use resilient_runtime::resilient;

#[resilient(load_shed("x", 200))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
