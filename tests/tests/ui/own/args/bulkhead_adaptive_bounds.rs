use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive(min = 50, max = 10)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
