//! Arguments of the function in each attempt, and expressions that use them in the attribute.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use resilient_runtime::{Component, Registry, Rejection, resilient};

use crate::{E, flaky, tick};

#[async_trait]
trait Patterns {
    async fn mutable(&self, x: Vec<u8>) -> Option<usize>;
    async fn pattern(&self, x: (u32, u32), y: (u32, String)) -> Option<u32>;
}

#[async_trait]
impl Patterns for () {
    #[resilient(retry(max = 3, base = "0ms"))]
    async fn mutable(&self, mut x: Vec<u8>) -> Option<usize> {
        x.push(1);
        tick().await;
        (resilient_runtime::attempt() == 3).then_some(x.len())
    }

    #[resilient(retry(max = 3, base = "0ms"), clone(text))]
    async fn pattern(&self, (a, mut b): (u32, u32), (c, text): (u32, String)) -> Option<u32> {
        let moved = text;
        b += 1;
        (resilient_runtime::attempt() == 3).then_some(a + b + c + u32::try_from(moved.len()).ok()?)
    }
}

#[tokio::test]
async fn with_async_trait_each_attempt_sees_the_original_arguments() {
    assert_eq!(().mutable(vec![]).await, Some(1));
    assert_eq!(().pattern((0, 0), (0, "a".into())).await, Some(2));
}

#[resilient(retry(max = 2, base = "0ms"), clone(y))]
fn configured(
    #[cfg(any())] mut x: Missing,
    mut x: u32,
    #[cfg(any())] y: Missing,
    y: String,
) -> Option<usize> {
    x += 1;
    let moved = y;
    (resilient_runtime::attempt() == 2).then_some(moved.len() + x as usize)
}

#[test]
fn an_argument_removed_by_cfg_is_not_cloned() {
    assert_eq!(configured(1, "ab".into()), Some(4));
}

#[resilient(retry(max = 2, base = "0ms"))]
fn changed_before_the_box(mut x: Vec<u8>) -> BoxFuture<'static, Option<usize>> {
    x.push(1);
    Box::pin(async move {
        tick().await;
        (resilient_runtime::attempt() == 2).then_some(x.len())
    })
}

#[resilient(retry(max = 2, base = "0ms"))]
fn block_that_only_reads(x: String) -> impl Future<Output = Option<usize>> + Send {
    async move {
        tick().await;
        (resilient_runtime::attempt() == 2).then_some(x.len())
    }
}

#[resilient(circuit_breaker = "attempts")]
fn nothing_borrowed(x: &str) -> impl Future<Output = Option<usize>> + use<> {
    let owned = x.to_owned();
    async move {
        tick().await;
        Some(owned.len())
    }
}

#[resilient(retry(max = 2, base = "0ms"))]
fn made_for_each_attempt(x: &str) -> impl Future<Output = Option<usize>> {
    let owned = x.to_owned();
    async move {
        let moved = owned;
        (resilient_runtime::attempt() == 2).then_some(moved.len())
    }
}

#[tokio::test]
async fn functions_can_end_in_an_async_block() {
    assert_eq!(changed_before_the_box(vec![]).await, Some(1));
    assert_eq!(block_that_only_reads("ab".into()).await, Some(2));
    let future = nothing_borrowed(&String::from("abc"));
    assert_eq!(future.await, Some(3));
    assert_eq!(made_for_each_attempt("abcd").await, Some(4));
}

struct Calls(u32);

impl Calls {
    #[resilient(retry(max = 2, base = "0ms"))]
    #[allow(clippy::type_complexity)] // the attribute does not resolve type aliases
    fn borrows_nothing(&mut self) -> Result<Box<dyn Fn(&str) -> usize>, E> {
        self.0 += 1;
        if self.0 < 2 { Err(E::Bad) } else { Ok(Box::new(str::len)) }
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn gives_a_function(&mut self) -> Result<fn(&str) -> &str, E> {
        self.0 += 1;
        if self.0 < 2 { Err(E::Bad) } else { Ok(str::trim) }
    }
}

#[test]
fn a_function_type_in_the_return_type_is_not_a_borrow() {
    assert_eq!(Calls(0).borrows_nothing().unwrap()("ab"), 2);
    assert_eq!(Calls(0).gives_a_function().unwrap()(" a "), "a");
}

/// An error that borrows the invalid input.
#[derive(Debug, PartialEq)]
struct Bad<'a>(&'a str);

impl fmt::Display for Bad<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Bad<'_> {}

#[resilient(retry(max = 1, base = "0ms"))]
fn borrowing_error<'a>(calls: &Cell<u32>, x: &'a str) -> Result<u32, Bad<'a>> {
    calls.set(calls.get() + 1);
    x.parse().map_err(|_| Bad(x))
}

#[resilient(retry(max = 1, base = "0ms"))]
async fn async_borrowing_error(x: &str) -> Result<u32, Bad<'_>> {
    x.parse().map_err(|_| Bad(x))
}

#[resilient(circuit_breaker = "attempts", map_err = |_| unreachable!())]
fn poisoned(lock: &Mutex<u32>) -> Result<MutexGuard<'_, u32>, PoisonError<MutexGuard<'_, u32>>> {
    lock.lock()
}

#[tokio::test]
async fn an_error_can_borrow() {
    let (calls, text) = (Cell::new(0), String::from("x"));
    assert_eq!(borrowing_error(&calls, &text), Err(Bad("x")));
    assert_eq!(calls.get(), 2);
    assert_eq!(async_borrowing_error(&text).await, Err(Bad("x")));
    assert!(poisoned(&Mutex::new(1)).is_ok_and(|guard| *guard == 1));
}

#[test]
fn a_nested_rejection_is_found_in_a_box_that_is_not_send() {
    // T21
    #[resilient(registry = registry, bulkhead("inner", max_concurrent = 1))]
    fn inner(registry: &Registry) -> Result<u32, Rejection> {
        Ok(1)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn outer(registry: &Registry) -> Result<u32, Box<dyn std::error::Error>> {
        Ok(inner(registry)?)
    }
    let registry = Registry::new();
    assert!(outer(&registry).is_ok());
    let bulkhead = registry.bulkhead("inner");
    let _held = bulkhead.try_acquire().unwrap();
    assert!(outer(&registry).is_err());
    assert_eq!(registry.circuit_breaker("x").stats().window.calls, 1);
}

struct Holder {
    shared: Arc<Registry>,
    own: Registry,
}

impl Holder {
    fn get(&self) -> Arc<Registry> {
        Arc::clone(&self.shared)
    }

    #[resilient(registry = self.own, circuit_breaker = "x")]
    fn own(&self) -> Option<u32> {
        Some(1)
    }

    #[resilient(registry = &self.shared, circuit_breaker = "x")]
    fn shared_reference(&self) -> Option<u32> {
        Some(2)
    }

    #[resilient(registry = self.shared, circuit_breaker = "x")]
    async fn shared(&self) -> Option<u32> {
        tick().await;
        Some(3)
    }

    #[resilient(registry = self.get(), circuit_breaker = "x")]
    async fn given(&self) -> Option<u32> {
        tick().await;
        Some(4)
    }
}

#[resilient(registry = registry, circuit_breaker = "x")]
fn in_an_argument(registry: Arc<Registry>) -> Option<usize> {
    Some(registry.sites().len())
}

#[tokio::test]
async fn the_registry_can_be_any_place_that_coerces_to_a_reference() {
    let holder = Holder { shared: Arc::new(Registry::new()), own: Registry::new() };
    assert_eq!((holder.own(), holder.shared_reference()), (Some(1), Some(2)));
    assert_eq!((holder.shared().await, holder.given().await), (Some(3), Some(4)));
    assert_eq!(in_an_argument(holder.get()), Some(4));
    assert_eq!(holder.own.sites().len(), 1);
}

#[resilient(retry(max = 2, base = "0ms", when = again), failure = failed)]
fn rules_that_are_arguments(
    calls: &Cell<u32>,
    again: impl Fn(&E) -> bool,
    failed: impl Fn(&Result<u32, E>) -> bool,
) -> Result<u32, E> {
    flaky(calls, 2)
}

#[test]
fn a_predicate_that_is_an_argument_is_available_in_each_attempt() {
    let (owned, calls) = (String::from("rule"), Cell::new(0));
    let again = move |_: &E| !owned.is_empty();
    assert_eq!(rules_that_are_arguments(&calls, again, |_| false), Ok(2));
}
