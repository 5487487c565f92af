use resilient_runtime::resilient;

#[resilient(retry(max = 3), clone(&x))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
