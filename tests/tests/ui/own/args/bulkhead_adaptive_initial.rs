use resilient_runtime::resilient;

#[resilient(bulkhead("x", adaptive(min = 5, max = 10, initial = 20)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
