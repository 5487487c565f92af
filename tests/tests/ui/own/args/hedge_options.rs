use resilient_runtime::resilient;

#[resilient(hedge(after = "p0"), idempotent)]
async fn everything() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(percentile = 100), idempotent)]
async fn nothing() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(percentile = "95"), idempotent)]
async fn text() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(after = "25h"), idempotent)]
async fn late() -> Option<u32> {
    Some(1)
}

#[resilient(hedge(delay = "50ms"), idempotent)]
async fn unknown() -> Option<u32> {
    Some(1)
}

#[resilient(hedge, idempotent)]
async fn bare() -> Option<u32> {
    Some(1)
}

fn main() {}
