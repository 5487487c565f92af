//! Trait methods: default, native asynchronous, and with `#[async_trait]`.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use resilient_runtime::resilient;

use crate::{E, tick};

trait Defaults {
    fn base(&self) -> u32;

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "traits")]
    fn by_reference(&self) -> Result<u32, E> {
        Ok(self.base() + 1)
    }

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "traits")]
    fn by_value(self) -> Option<Self>
    where
        Self: Sized + Clone,
    {
        Some(self.clone())
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn of_the_type() -> Option<u32>
    where
        Self: Sized,
    {
        Some(3)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn overridden(&self) -> Result<u32, E> {
        Err(E::Bad)
    }
}

/// A native asynchronous trait used only with concrete types, so its futures need no explicit `Send` bound.
trait Native {
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "traits")]
    async fn defaulted(&self, x: &str) -> Result<u32, E> {
        tick().await;
        Ok(x.parse()?)
    }

    async fn declared(&self, x: u32) -> Result<u32, E>;

    fn later(&self, x: u32) -> impl Future<Output = Result<u32, E>> + Send
    where
        Self: Sync;
}

#[derive(Clone, Debug, PartialEq)]
struct One(u32);

impl Defaults for One {
    fn base(&self) -> u32 {
        self.0
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn overridden(&self) -> Result<u32, E> {
        Ok(self.0)
    }
}

impl Native for One {
    #[resilient(retry(max = 2, base = "0ms"))]
    async fn declared(&self, x: u32) -> Result<u32, E> {
        tick().await;
        Ok(self.0 + x)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn later(&self, x: u32) -> impl Future<Output = Result<u32, E>> + Send
    where
        Self: Sync,
    {
        async move {
            tick().await;
            Ok(self.0 + x)
        }
    }
}

#[async_trait]
trait Boxed: Send + Sync {
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "traits")]
    async fn defaulted(&self, x: &str) -> Result<u32, E> {
        tick().await;
        Ok(x.parse()?)
    }

    async fn owned(&self, x: String, y: &str, calls: &AtomicU32) -> Result<usize, E>;
    async fn exclusive(&mut self, x: u32) -> Result<u32, E>;
    async fn boxed(self: Box<Self>) -> Option<u32>;
    async fn borrowed<'a>(&'a self, x: &'a [u8], mut y: Vec<u8>) -> Option<&'a u8>;
    async fn pattern(&self, (a, b): (u32, String)) -> Result<u32, E>;
    async fn associated(x: u32) -> Option<u32>
    where
        Self: Sized;
}

#[async_trait]
impl Boxed for One {
    #[resilient(retry(max = 3, base = "0ms"))]
    async fn owned(&self, x: String, y: &str, calls: &AtomicU32) -> Result<usize, E> {
        tick().await;
        if calls.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(E::Bad);
        }
        Ok(x.len() + y.len())
    }

    #[resilient(retry(max = 3, base = "0ms"))]
    async fn exclusive(&mut self, x: u32) -> Result<u32, E> {
        self.0 += x;
        tick().await;
        if self.0 < 3 { Err(E::Bad) } else { Ok(self.0) }
    }

    #[resilient(circuit_breaker = "traits")]
    async fn boxed(self: Box<Self>) -> Option<u32> {
        tick().await;
        Some(self.0)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn borrowed<'a>(&'a self, x: &'a [u8], mut y: Vec<u8>) -> Option<&'a u8> {
        y.push(0);
        tick().await;
        x.get(y.len())
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn pattern(&self, (a, b): (u32, String)) -> Result<u32, E> {
        tick().await;
        Ok(a + b.parse::<u32>()?)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn associated(x: u32) -> Option<u32> {
        tick().await;
        Some(x)
    }
}

#[async_trait(?Send)]
trait Local {
    async fn local(&self) -> Result<u32, E>;
}

#[async_trait(?Send)]
impl Local for std::rc::Rc<u32> {
    #[resilient(retry(max = 2, base = "0ms"), bulkhead = "traits", timeout = "1s")]
    async fn local(&self) -> Result<u32, E> {
        tick().await;
        Ok(**self)
    }
}

#[test]
fn default_methods_work() {
    assert_eq!(One(1).by_reference(), Ok(2));
    assert_eq!(One(1).by_value(), Some(One(1)));
    assert_eq!(One::of_the_type(), Some(3));
    assert_eq!(One(4).overridden(), Ok(4));
}

#[tokio::test]
async fn native_asynchronous_methods_work() {
    assert_eq!(Native::defaulted(&One(1), "5").await, Ok(5));
    assert_eq!(One(1).declared(2).await, Ok(3));
    assert_eq!(One(1).later(3).await, Ok(4));
}

#[tokio::test]
async fn methods_of_async_trait_work() {
    let calls = AtomicU32::new(0);
    let mut one: Box<dyn Boxed> = Box::new(One(0));
    assert_eq!(one.defaulted("5").await, Ok(5));
    assert_eq!(one.owned("ab".into(), "c", &calls).await, Ok(3));
    assert_eq!(calls.into_inner(), 3);
    assert_eq!(one.exclusive(1).await, Ok(3));
    assert_eq!(one.borrowed(&[1, 2, 3], vec![0]).await, Some(&3));
    assert_eq!(one.pattern((1, "2".into())).await, Ok(3));
    assert_eq!(one.boxed().await, Some(3));
    assert_eq!(One::associated(4).await, Some(4));
    assert_eq!(std::rc::Rc::new(5).local().await, Ok(5));
}
