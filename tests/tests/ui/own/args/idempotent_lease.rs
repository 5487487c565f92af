use resilient_runtime::{Rejection, resilient};

type Outcome = Result<u32, Rejection>;

#[resilient(idempotent(key = id, lease = "10s"), timeout = "30s")]
async fn shorter_than_the_total(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id), timeout = "2m")]
async fn longer_than_the_usual_lease(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, lease = "30s"), timeout(attempt = "5s"))]
async fn shorter_than_the_usual_total(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, lease = "1ms"))]
async fn shortest(id: u32) -> Outcome {
    Ok(id)
}

fn main() {}
