use resilient_runtime::resilient;

#[resilient(hedge(after = "p100"), idempotent)]
async fn f() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(after = "50ms", percentile = 95), idempotent)]
async fn g() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(after = "50ms", max = 0), idempotent)]
async fn h() -> Option<u32> {
    Some(1)
}

fn main() {}
