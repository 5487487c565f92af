use resilient_runtime::resilient;

#[resilient(retry(max = 3, factor = 0.5))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
