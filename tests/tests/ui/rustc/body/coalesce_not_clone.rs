use resilient::{Rejection, resilient};

struct NotClone;

#[resilient(coalesce(key = id))]
fn f(id: u32) -> Result<NotClone, Rejection> {
    Ok(NotClone)
}

#[resilient(hedge(after = "50ms"), idempotent)]
async fn g(payload: String) -> Result<usize, Rejection> {
    let moved = payload;
    Ok(moved.len())
}

fn main() {}
