use resilient_runtime::resilient;

#[resilient(retry(max = 3), failure = |n| n > 3)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
