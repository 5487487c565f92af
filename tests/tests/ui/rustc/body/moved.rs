use resilient_runtime::resilient;

#[resilient(hedge(after = "50ms"), idempotent)]
async fn hedged(payload: String) -> Result<usize, resilient_runtime::Rejection> {
    let moved = payload;
    Ok(moved.len())
}

#[resilient(retry(max = 3), hedge(after = "50ms"), idempotent)]
async fn both(payload: String) -> Result<String, resilient_runtime::Rejection> {
    Ok(payload)
}

struct Order {
    id: String,
    cents: u32,
}

#[resilient(retry(max = 3))]
fn field(order: Order) -> Option<(String, u32)> {
    Some((order.id, order.cents))
}

#[resilient(retry(max = 3))]
fn literal(id: String, cents: u32) -> Option<Order> {
    Some(Order { id, cents })
}

#[resilient(retry(max = 3))]
fn generic<T>(value: T) -> Option<T> {
    return Some(value);
}

#[resilient(retry(max = 3))]
fn opaque(name: impl Into<String>) -> Option<String> {
    let name = name.into();
    Some(name)
}

#[resilient(retry(max = 3))]
fn into_iterator(names: Vec<String>) -> Option<usize> {
    let mut all = 0;
    for name in names {
        all += name.len();
    }
    Some(all)
}

#[resilient(retry(max = 3))]
fn by_method(names: Vec<String>) -> Option<String> {
    names.into_iter().next()
}

#[resilient(retry(max = 3))]
async fn awaited(future: std::future::Ready<Option<u32>>) -> Option<u32> {
    future.await
}

#[resilient(retry(max = 3), clone(second))]
fn one_of_two(first: Vec<u8>, second: Vec<u8>) -> Option<Vec<u8>> {
    drop(second);
    match first.len() {
        0 => None,
        _ => Some(first),
    }
}

fn main() {}
