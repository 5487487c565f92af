use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
async fn f() -> Option<u32> {
    let rc = std::rc::Rc::new(1);
    tokio::task::yield_now().await;
    Some(*rc)
}

fn check<T: Send>(_: T) {}

fn main() {
    check(f());
}
