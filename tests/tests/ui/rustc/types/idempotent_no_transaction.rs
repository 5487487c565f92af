use resilient_runtime::{Rejection, resilient};

struct Tx;

impl Tx {
    fn pay(&mut self, id: u32) -> Result<u32, Rejection> {
        Ok(id)
    }
}

#[resilient(idempotent(key = id, store = "orders", transaction = tx))]
async fn pay(tx: &mut Tx, id: u32) -> Result<u32, Rejection> {
    tx.pay(id)
}

fn main() {}
