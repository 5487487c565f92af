use resilient_runtime::{Rejection, resilient};

struct Id(u32);

#[resilient(idempotent(key = id, fingerprint = none))]
async fn charge(id: Id) -> Result<u32, Rejection> {
    Ok(id.0)
}

fn main() {}
