use resilient_runtime::resilient;

#[resilient(hedge(after = "50ms"))]
async fn f() -> Option<u32> {
    Some(1)
}

fn main() {}

// T84: a function that is not declared idempotent cannot be hedged.
