use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f() -> Option<u32> {
    let x = ;
    Some(1)
}

fn main() {}
