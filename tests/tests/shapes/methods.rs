//! Methods with every kind of `self`, and associated functions.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use resilient_runtime::resilient;

use crate::{E, tick};

#[derive(Debug, Default, PartialEq)]
struct Service {
    calls: u32,
    names: Vec<u32>,
}

impl Service {
    #[resilient(retry(max = 3, base = "0ms"), circuit_breaker = "methods")]
    fn by_reference(&self, x: u32) -> Result<u32, E> {
        Ok(self.calls + x)
    }

    #[resilient(retry(max = 3, base = "0ms"))]
    fn by_mutable_reference(&mut self) -> Result<u32, E> {
        self.calls += 1;
        if self.calls < 3 { Err(E::Bad) } else { Ok(self.calls) }
    }

    #[resilient(circuit_breaker = "methods")]
    fn by_value(self) -> Result<Vec<u32>, E> {
        Ok(self.names)
    }

    #[resilient(circuit_breaker = "methods")]
    fn by_mut_value(mut self) -> Result<Self, E> {
        self.calls += 1;
        Ok(self)
    }

    #[resilient(circuit_breaker = "methods")]
    fn reborrow_out(&mut self) -> Option<&mut u32> {
        self.names.last_mut()
    }

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "methods")]
    fn borrow_out(&self) -> Option<&u32> {
        self.names.last()
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn by_arc(self: &Arc<Self>) -> Option<u32> {
        Some(self.calls)
    }

    #[resilient(circuit_breaker = "methods")]
    fn by_box(self: Box<Self>) -> Option<u32> {
        Some(self.calls)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn by_rc(self: Rc<Self>) -> Option<u32> {
        Some(self.calls)
    }

    #[resilient(retry(max = 3, base = "0ms"))]
    async fn async_by_mutable_reference(&mut self) -> Result<u32, E> {
        tick().await;
        self.calls += 1;
        if self.calls < 3 { Err(E::Bad) } else { Ok(self.calls) }
    }

    #[resilient(retry(max = 3, base = "0ms"), circuit_breaker = "methods")]
    async fn async_by_reference(&self, x: u32) -> Result<u32, E> {
        tick().await;
        Ok(self.calls + x)
    }

    #[resilient(circuit_breaker = "methods")]
    async fn async_by_value(self) -> Result<Vec<u32>, E> {
        tick().await;
        Ok(self.names)
    }

    #[resilient(circuit_breaker = "methods")]
    async fn async_by_mut_value(mut self) -> Result<Self, E> {
        self.calls += 1;
        tick().await;
        Ok(self)
    }

    #[resilient(circuit_breaker = "methods")]
    async fn async_reborrow_out(&mut self) -> Option<&mut u32> {
        tick().await;
        self.names.last_mut()
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn async_by_arc(self: Arc<Self>) -> Option<u32> {
        tick().await;
        Some(self.calls)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn async_by_pin(self: Pin<&mut Self>) -> Option<u32> {
        tick().await;
        Some(self.calls)
    }

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "methods")]
    async fn async_borrow_out(&self) -> Option<&u32> {
        tick().await;
        self.names.last()
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn new(calls: u32) -> Result<Self, E> {
        Ok(Self { calls, names: vec![1, 2] })
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn connect(calls: u32) -> Result<Self, E> {
        tick().await;
        Ok(Self { calls, names: vec![] })
    }
}

struct Generic<'a, T>(&'a T);

impl<'a, T: Clone + Sync> Generic<'a, T>
where
    for<'x> &'x T: PartialEq<&'x T>,
{
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "methods")]
    fn converted<U: From<T>>(&self) -> Result<U, E> {
        Ok(self.0.clone().into())
    }

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "methods")]
    async fn same<'b>(&'b self, other: &'a T) -> Result<&'a T, E>
    where
        'a: 'b,
    {
        tick().await;
        if self.0 == other { Ok(other) } else { Err(E::Bad) }
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn later(&self) -> impl Future<Output = Option<T>> + Send
    where
        T: Send,
    {
        async move {
            tick().await;
            Some(self.0.clone())
        }
    }
}

#[test]
fn every_kind_of_self_works() {
    let mut service = Service::new(0).unwrap();
    assert_eq!(service.by_mutable_reference(), Ok(3));
    assert_eq!(service.by_reference(1), Ok(4));
    *service.reborrow_out().unwrap() = 7;
    assert_eq!(service.borrow_out(), Some(&7));
    assert_eq!(service.by_mut_value().unwrap().by_value(), Ok(vec![1, 7]));
    assert_eq!(Arc::new(Service::new(1).unwrap()).by_arc(), Some(1));
    assert_eq!(Box::new(Service::new(2).unwrap()).by_box(), Some(2));
    assert_eq!(Rc::new(Service::new(3).unwrap()).by_rc(), Some(3));
}

#[tokio::test]
async fn every_kind_of_self_works_in_async_methods() {
    let mut service = Service::connect(0).await.unwrap();
    assert_eq!(service.async_by_mutable_reference().await, Ok(3));
    assert_eq!(service.async_by_reference(1).await, Ok(4));
    service.names.push(1);
    *service.async_reborrow_out().await.unwrap() = 7;
    assert_eq!(service.async_borrow_out().await, Some(&7));
    assert_eq!(Pin::new(&mut service).async_by_pin().await, Some(3));
    assert_eq!(service.async_by_mut_value().await.unwrap().async_by_value().await, Ok(vec![7]));
    assert_eq!(Arc::new(Service::default()).async_by_arc().await, Some(0));
}

#[tokio::test]
async fn generic_impls_work() {
    let (one, two) = (1u8, 2u8);
    assert_eq!(Generic(&one).converted::<u32>(), Ok(1));
    assert_eq!(Generic(&one).same(&one).await, Ok(&1));
    assert_eq!(Generic(&one).same(&two).await, Err(E::Bad));
    assert_eq!(Generic(&one).later().await, Some(1));
}

#[test]
fn instances_of_a_generic_function_share_one_site() {
    #[resilient(circuit_breaker = "generic sites", name = "generic site")]
    fn generic<T>(calls: &Cell<T>, x: T) -> Option<()> {
        calls.set(x);
        Some(())
    }
    generic(&Cell::new(0u8), 1);
    generic(&Cell::new("x"), "y");
    assert_eq!(resilient_runtime::stats().operations["generic site"].calls, 2);
}

#[test]
fn many_threads_share_one_site() {
    // T120, T156
    #[resilient(circuit_breaker = "threads", bulkhead("threads", max_concurrent = 1000), name = "threads")]
    fn counted(calls: &AtomicU32) -> Option<u32> {
        Some(calls.fetch_add(1, Ordering::Relaxed))
    }
    let calls = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| (0..100).for_each(|_| assert!(counted(&calls).is_some())));
        }
    });
    let stats = resilient_runtime::stats();
    assert_eq!((calls.into_inner(), stats.operations["threads"].succeeded), (6400, 6400));
    assert_eq!(stats.circuit_breaker["threads"].successful, 6400);
    assert_eq!(stats.bulkhead["threads"].in_use, 0);
}
