use resilient_runtime::resilient;

#[resilient(retry(max = 3), failure = |_, _| true)]
fn f() -> Result<u32, String> {
    Ok(1)
}

fn main() {}
