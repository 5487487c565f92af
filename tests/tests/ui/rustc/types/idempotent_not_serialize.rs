use resilient_runtime::{Rejection, resilient};

struct Receipt(u32);

#[resilient(idempotent(key = id))]
async fn charge(id: u32) -> Result<Receipt, Rejection> {
    Ok(Receipt(id))
}

#[resilient(idempotent(key = id))]
fn charge_blocking(id: u32) -> Option<Receipt> {
    Some(Receipt(id))
}

#[resilient(idempotent(key = id), fallback = Receipt(0))]
fn plain(id: u32) -> Receipt {
    Receipt(id)
}

fn main() {}
