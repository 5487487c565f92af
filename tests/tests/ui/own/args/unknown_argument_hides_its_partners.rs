use resilient_runtime::resilient;

#[resilient(retrry(max = 3), idempotent, clone(x))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
