use resilient_runtime::resilient;

#[resilient(load_shed)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
