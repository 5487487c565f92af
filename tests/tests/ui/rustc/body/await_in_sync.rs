use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f() -> Option<u32> {
    tokio::task::yield_now().await;
    Some(1)
}

fn main() {}
