use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f() -> u32 {
    1
}

fn main() {}
