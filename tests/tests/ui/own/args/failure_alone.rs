use resilient_runtime::resilient;

#[resilient(failure = |_| false)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
