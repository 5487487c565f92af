use resilient_runtime::resilient;

#[resilient(hedge(after = "50ms"), idempotent)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
