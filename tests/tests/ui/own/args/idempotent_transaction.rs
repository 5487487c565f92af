use resilient_runtime::{Rejection, resilient};

type Outcome = Result<u32, Rejection>;
struct Tx;

impl Tx {
    fn pay(&mut self, id: u32) -> Outcome {
        Ok(id)
    }
}

#[resilient(idempotent(key = id, store = "orders", transaction = tx))]
fn synchronous(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(idempotent(key = id, transaction = tx))]
async fn no_store(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(retry(max = 3), idempotent(key = id, store = "orders", transaction = tx))]
async fn retried(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(hedge(after = "1s"), idempotent(key = id, store = "orders", transaction = tx, on_unknown = reexecute))]
async fn hedged(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(coalesce(key = id), idempotent(key = id, store = "orders", transaction = tx))]
async fn shared(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(fallback = |_| Ok(0), idempotent(key = id, store = "orders", transaction = tx))]
async fn replaced(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

#[resilient(idempotent(key = id, store = "orders", transaction = tx, lease = "5m", on_store_failure = open))]
async fn useless_options(tx: &mut Tx, id: u32) -> Outcome {
    tx.pay(id)
}

fn main() {}
