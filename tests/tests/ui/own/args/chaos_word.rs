use resilient_runtime::resilient;

#[resilient(retry(max = 3), chaos = on)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
