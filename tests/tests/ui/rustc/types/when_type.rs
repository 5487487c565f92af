use resilient_runtime::resilient;

#[resilient(retry(max = 3, when = is_bad))]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn is_bad(_: &u32) -> bool {
    true
}

fn main() {}
