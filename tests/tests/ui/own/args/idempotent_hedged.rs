use resilient_runtime::{Rejection, resilient};

#[resilient(idempotent(key = id), hedge(after = "50ms"))]
async fn twice(id: u32) -> Result<u32, Rejection> {
    Ok(id)
}

fn main() {}
