use resilient_runtime::resilient;

#[resilient(retry(max = 3, budget(rate = 0.1)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
