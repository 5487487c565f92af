use resilient_runtime::{Rejection, resilient};

type Outcome = Result<u32, Rejection>;

#[resilient(idempotent(key = id, ttl = "3600"))]
fn no_unit(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, on_unknown = retry))]
fn unknown_word(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, expiry = "1h"))]
fn unknown_option(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, store = orders))]
fn store_is_no_literal(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, max_value = 0, store_timeout = "2h"))]
fn ranges(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = ""))]
fn empty_key(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotency(key = id))]
fn alias(id: u32) -> Outcome {
    Ok(id)
}

#[resilient(idempotent(key = id, ttl = "500ms"))]
fn short_ttl(id: u32) -> Outcome {
    Ok(id)
}

fn main() {}
