use resilient_runtime::resilient;

#[resilient(rate_limit = "100/s")]
fn rate() -> Option<u32> {
    None
}

#[resilient(rate_limit("100/s", burst = 5))]
fn rate_in_parens() -> Option<u32> {
    None
}

#[resilient(rate_limit = "100 requests per second")]
fn rate_in_words() -> Option<u32> {
    None
}

#[resilient(rate_limit = 100)]
fn rate_number() -> Option<u32> {
    None
}

#[resilient(circuit_breaker = "50%")]
fn share() -> Option<u32> {
    None
}

#[resilient(circuit_breaker("5s", min_calls = 3))]
fn open_for() -> Option<u32> {
    None
}

#[resilient(circuit_breaker = 0.5)]
fn share_number() -> Option<u32> {
    None
}

#[resilient(bulkhead = "10")]
fn places() -> Option<u32> {
    None
}

#[resilient(bulkhead = 10)]
fn places_number() -> Option<u32> {
    None
}

#[resilient(retry = "3")]
fn retries() -> Option<u32> {
    None
}

#[resilient(retry("100ms", max = 3))]
fn delay() -> Option<u32> {
    None
}

#[resilient(retry(max = 3, budget = "10%"))]
fn budget() -> Option<u32> {
    None
}

#[resilient(timeout("2s", attempt = "1s"))]
async fn total() -> Option<u32> {
    None
}

#[resilient(timeout = "database")]
async fn name_for_a_time() -> Option<u32> {
    None
}

#[resilient(hedge = "50ms", idempotent)]
async fn after() -> Option<u32> {
    None
}

#[resilient(hedge = "p95", idempotent)]
async fn percentile() -> Option<u32> {
    None
}

#[resilient(load_shed = "100")]
fn shed() -> Option<u32> {
    None
}

#[resilient(coalesce("10ms", key = id))]
fn coalesced(id: u32) -> Option<u32> {
    Some(id)
}

#[resilient(idempotent("1h", key = id, store = "5s"))]
fn once(id: u32) -> Option<u32> {
    Some(id)
}

fn main() {}
