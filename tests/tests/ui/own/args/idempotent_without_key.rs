use resilient_runtime::{Rejection, resilient};

type Outcome = Result<u32, Rejection>;

#[resilient(idempotent(ttl = "1h"))]
fn without(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent("orders"))]
fn name_alone(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key))]
fn not_finished(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key =))]
fn nor_this(id: u32) -> Outcome {
    Ok(id)
}

fn main() {}
