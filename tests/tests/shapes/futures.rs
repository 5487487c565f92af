//! The futures of annotated functions: they are `Send` if the body is, and not much larger.

use std::rc::Rc;

use resilient_runtime::resilient;

use crate::{E, tick};

fn is_send<T: Send>(future: T) -> T {
    future
}

#[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
async fn four(x: &str, owned: String) -> Result<u32, E> {
    tick().await;
    Ok(x.parse::<u32>()? + u32::try_from(owned.len()).unwrap_or(0))
}

async fn bare(x: &str, owned: String) -> Result<u32, E> {
    tick().await;
    Ok(x.parse::<u32>()? + u32::try_from(owned.len()).unwrap_or(0))
}

/// A value that is not `Send` is not part of the future if the body does not hold it across an `.await`.
#[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
async fn gives_out_what_cannot_be_sent() -> Result<Rc<u32>, E> {
    tick().await;
    Ok(Rc::new(1))
}

/// An argument that is `Send` but not `Sync`: the body owns it if it runs once.
#[resilient(circuit_breaker = "futures", bulkhead = "futures", timeout = "1s")]
async fn owns_what_cannot_be_shared(n: std::cell::Cell<u32>) -> Result<u32, E> {
    tick().await;
    Ok(n.get())
}

#[resilient(circuit_breaker = "futures", retry(max = 3), fallback(replica = other().await, default = Ok(0)))]
async fn with_levels() -> Result<u32, E> {
    tick().await;
    Err(E::Bad)
}

async fn other() -> Result<u32, E> {
    tick().await;
    Err(E::Bad)
}

#[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
async fn large() -> Result<usize, E> {
    let block = [1u8; 1024];
    tick().await;
    Ok(block.iter().map(|byte| usize::from(*byte)).sum())
}

#[tokio::test]
async fn futures_are_send() {
    // T152
    assert_eq!(is_send(four("1", "ab".into())).await, Ok(3));
    assert_eq!(is_send(gives_out_what_cannot_be_sent()).await, Ok(Rc::new(1)));
    assert_eq!(is_send(owns_what_cannot_be_shared(std::cell::Cell::new(2))).await, Ok(2));
    assert_eq!(is_send(with_levels()).await, Ok(0));
    assert_eq!(is_send(large()).await, Ok(1024));
}

#[test]
fn futures_are_at_most_256_bytes_larger_than_the_body() {
    // T152
    let (with, without) = (size_of_val(&four("1", String::new())), size_of_val(&bare("1", String::new())));
    assert!(with <= without + 256, "{with} bytes, {without} without the attribute");
    let large = size_of_val(&large());
    assert!(large <= 1024 + 64 + 256, "{large} bytes around 1 KiB");
}

struct Client(u32);

#[async_trait::async_trait]
trait Boxed {
    async fn boxed(&self) -> Result<u32, E>;
}

#[async_trait::async_trait]
impl Boxed for Client {
    #[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
    async fn boxed(&self) -> Result<u32, E> {
        tick().await;
        Ok(self.0)
    }
}

impl Client {
    #[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
    async fn method(&mut self, mut x: Vec<u8>) -> Result<u32, E> {
        x.push(1);
        tick().await;
        self.0 += 1;
        Ok(self.0)
    }

    #[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures", timeout = "1s")]
    fn later(&self) -> impl Future<Output = Result<u32, E>> {
        async move {
            tick().await;
            Ok(self.0)
        }
    }
}

#[resilient(registry = registry, circuit_breaker = "x", retry(max = 3), bulkhead = "x", timeout = "1s", fallback = other().await)]
async fn in_a_registry(registry: &resilient_runtime::Registry) -> Result<u32, E> {
    tick().await;
    Ok(1)
}

#[tokio::test]
async fn futures_of_methods_are_send() {
    // T152
    let mut client = Client(1);
    assert_eq!(is_send(client.method(vec![])).await, Ok(2));
    assert_eq!(is_send(client.later()).await, Ok(2));
    assert_eq!(is_send(client.boxed()).await, Ok(2));
    assert_eq!(is_send(in_a_registry(&resilient_runtime::Registry::new())).await, Ok(1));
    assert_eq!(tokio::spawn(four("1", "ab".into())).await.unwrap(), Ok(3));
}

#[test]
fn a_call_outside_of_a_runtime_works_if_it_does_not_wait() {
    // T149
    #[resilient(circuit_breaker = "futures", retry(max = 3), bulkhead = "futures")]
    async fn ready() -> Result<u32, E> {
        Ok(1)
    }
    let mut call = std::pin::pin!(ready());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(call.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(1)));
}
