use resilient_runtime::{Rejection, resilient};

struct Order {
    id: u32,
    price: f64,
}

#[resilient(idempotent(key = order.id))]
async fn charge(order: &Order, factor: f64) -> Result<u32, Rejection> {
    Ok((order.price * factor) as u32)
}

#[resilient(idempotent(key = order.id, fingerprint = order.price))]
fn charge_blocking(order: &Order) -> Result<u32, Rejection> {
    Ok(order.price as u32)
}

fn main() {}
