use resilient_runtime::resilient;

#[resilient(hedge(after = "1ms"), retry(max = 1))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
