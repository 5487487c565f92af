//! Asynchronous functions.

use std::cell::Cell;
use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use resilient_runtime::resilient;

use crate::{E, NoClone, tick};

/// Fails until it was called `times` times.
async fn flaky(calls: &AtomicU32, times: u32) -> Result<u32, E> {
    tick().await;
    let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
    if call < times { Err(E::Bad) } else { Ok(call) }
}

#[resilient(circuit_breaker = "async")]
async fn plain(x: &str) -> Result<u32, E> {
    tick().await;
    Ok(x.parse()?)
}

#[resilient(retry(max = 3, base = "0ms"), circuit_breaker = "async retries")]
async fn two_errors(x: &str, calls: &AtomicU32) -> Result<u32, E> {
    if x.is_empty() {
        return Err(E::Bad);
    }
    Ok(flaky(calls, 3).await? + x.parse::<u32>()?)
}

#[resilient(circuit_breaker = "async")]
async fn moves(x: String) -> Result<usize, E> {
    let moved = x;
    tick().await;
    Ok(moved.len())
}

#[resilient(retry(max = 3, base = "0ms"))]
async fn borrowed_no_clone(x: NoClone, calls: &AtomicU32) -> Result<u32, E> {
    Ok(flaky(calls, 2).await? + x.0)
}

#[resilient(retry(max = 3, base = "0ms"), clone(x))]
async fn cloned(x: String, calls: &AtomicU32) -> Result<usize, E> {
    let moved = x;
    flaky(calls, 3).await?;
    Ok(moved.len())
}

#[resilient(retry(max = 3, base = "0ms"))]
async fn fresh_mut(mut x: Vec<u8>, calls: &AtomicU32) -> Result<usize, E> {
    x.push(1);
    flaky(calls, 3).await?;
    Ok(x.len())
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn patterns((a, mut b): (u32, u32), NoClone(c): NoClone) -> Option<u32> {
    b += 1;
    tick().await;
    Some(a + b + c)
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn lifetimes<'a>(x: &'a str, y: &str) -> Result<&'a str, E> {
    tick().await;
    Ok(&x[y.len()..])
}

#[resilient(retry(max = 2, base = "0ms"), bulkhead = "async")]
async fn elided(x: &str) -> Option<&str> {
    tick().await;
    Some(x.trim())
}

#[resilient(retry(max = 5, base = "0ms"))]
async fn mutable_reference(buffer: &mut Vec<u8>) -> Result<usize, E> {
    buffer.push(0);
    tick().await;
    if buffer.len() < 3 { Err(E::Bad) } else { Ok(buffer.len()) }
}

#[resilient(circuit_breaker = "async")]
async fn reborrow_out(buffer: &mut Vec<u8>) -> Option<&mut u8> {
    tick().await;
    buffer.last_mut()
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "async")]
async fn generic<T: Display + Sync + Send, const N: usize>(xs: &[T; N]) -> Result<String, E>
where
    T: Clone,
{
    tick().await;
    Ok(xs.clone().iter().map(ToString::to_string).collect())
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn impl_arguments(x: impl Display + Send + Sync, f: impl AsyncFn(u32) -> u32) -> Result<String, E> {
    Ok(format!("{x}{}", f(1).await))
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn rc_out() -> Result<Rc<u32>, E> {
    tick().await;
    Ok(Rc::new(1))
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "async")]
async fn not_send(n: Rc<Cell<u32>>) -> Result<u32, E> {
    n.set(n.get() + 1);
    tick().await;
    Ok(n.get())
}

#[resilient(circuit_breaker = "async")]
async fn recursive(n: u32) -> Result<u32, E> {
    if n == 0 { Ok(0) } else { Ok(1 + Box::pin(recursive(n - 1)).await?) }
}

#[resilient(circuit_breaker = "async")]
async fn opaque(n: u32) -> Result<impl Iterator<Item = u32>, E> {
    tick().await;
    Ok(0..n)
}

#[resilient(retry(max = 2, base = "0ms"), bulkhead = "async")]
async fn boxed_error(x: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    tick().await;
    Ok(x.parse()?)
}

#[resilient(retry(max = 3, base = "0ms"), circuit_breaker = "async futures")]
fn returns_future(x: &str, calls: &AtomicU32) -> impl Future<Output = Result<u32, E>> + Send {
    async move { Ok(flaky(calls, 2).await? + x.parse::<u32>()?) }
}

#[resilient(retry(max = 2, base = "0ms"))]
fn returns_generic_future<'a, T>(x: &'a T) -> impl Future<Output = Option<String>> + use<'a, T>
where
    T: Display,
{
    async move {
        tick().await;
        Some(x.to_string())
    }
}

#[resilient(retry(max = 3, base = "0ms"))]
fn boxed<'a>(x: &'a str, calls: &'a AtomicU32) -> Pin<Box<dyn Future<Output = Result<u32, E>> + Send + 'a>> {
    let doubled = x.len() * 2;
    Box::pin(async move {
        flaky(calls, 3).await?;
        u32::try_from(doubled).map_err(|_| E::Bad)
    })
}

#[resilient(retry(max = 3, base = "0ms"))]
fn box_future(calls: &AtomicU32) -> BoxFuture<'_, Result<u32, E>> {
    Box::pin(async move { flaky(calls, 2).await })
}

#[resilient(circuit_breaker = "async")]
fn local_box_future(n: Rc<u32>) -> LocalBoxFuture<'static, Option<u32>> {
    Box::pin(async move {
        tick().await;
        Some(*n)
    })
}

#[resilient(circuit_breaker = "async")]
fn box_of_impl(x: u32) -> Pin<Box<impl Future<Output = Option<u32>>>> {
    Box::pin(async move {
        tick().await;
        Some(x)
    })
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn inferred() -> Result<Vec<u64>, E> {
    tick().await;
    Ok(["1", "2"].iter().map(|x| x.parse()).collect::<Result<_, _>>()?)
}

#[resilient(circuit_breaker = "async")]
async fn coerced(b: bool) -> Option<Box<dyn Display + Send>> {
    tick().await;
    if b {
        return Some(Box::new(1));
    }
    Some(Box::new("x"))
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn spawns(x: u32) -> Result<u32, E> {
    tokio::spawn(async move { x + 1 }).await.map_err(|_| E::Bad)
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn select_and_join(x: u32) -> Result<u32, E> {
    let (a, b) = tokio::join!(async { x }, async { x });
    tokio::select! {
        biased;
        () = std::future::ready(()) => Ok(a + b),
        () = std::future::pending() => Err(E::Bad),
    }
}

#[resilient(retry(max = 2, base = "0ms"))]
async fn held_unused(_guard: String, _: u32) -> Option<u32> {
    tick().await;
    Some(30)
}

macro_rules! made {
    ($name:ident, $body:expr) => {
        #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "async")]
        async fn $name(x: u32) -> Result<u32, E> {
            tick().await;
            $body(x)
        }
    };
}
made!(made_by_a_macro, Ok);

#[resilient(retry(max = 2, base = "0ms"))]
async fn nested_closure(x: &str) -> Result<usize, E> {
    let length = async |text: &str| {
        tick().await;
        text.len()
    };
    Ok(length(x).await)
}

#[resilient(retry(max = 2, base = "0ms"), bulkhead = "async")]
async fn guard_across_await(m: &tokio::sync::Mutex<u32>) -> Result<u32, E> {
    let mut guard = m.lock().await;
    tick().await;
    *guard += 1;
    Ok(*guard)
}

#[resilient(
    circuit_breaker = "async",
    timeout(total = "1s", attempt = "500ms"),
    retry(max = 1, base = "0ms")
)]
async fn all_stages_read_the_attempt() -> Result<u32, E> {
    tick().await;
    if resilient_runtime::attempt() == 2 { Ok(2) } else { Err(E::Bad) }
}

#[tokio::test]
async fn values_and_early_returns() {
    assert_eq!(plain("7").await, Ok(7));
    assert_eq!(two_errors("", &AtomicU32::new(0)).await, Err(E::Bad));
    assert_eq!(moves("abc".into()).await, Ok(3));
    assert_eq!(recursive(5).await, Ok(5));
    assert_eq!(inferred().await, Ok(vec![1, 2]));
    assert_eq!(coerced(true).await.map(|shown| shown.to_string()), Some("1".into()));
    assert_eq!(spawns(1).await, Ok(2));
    assert_eq!(select_and_join(2).await, Ok(4));
    assert_eq!(held_unused(String::new(), 1).await, Some(30));
    assert_eq!(made_by_a_macro(3).await, Ok(3));
    assert_eq!(nested_closure("abc").await, Ok(3));
    assert_eq!(guard_across_await(&tokio::sync::Mutex::new(1)).await, Ok(2));
    assert_eq!(all_stages_read_the_attempt().await, Ok(2));
    assert!(boxed_error("x").await.is_err());
}

#[tokio::test]
async fn each_attempt_sees_the_original_arguments() {
    assert_eq!(two_errors("10", &AtomicU32::new(0)).await, Ok(13));
    assert_eq!(borrowed_no_clone(NoClone(1), &AtomicU32::new(0)).await, Ok(3));
    assert_eq!(cloned("abc".into(), &AtomicU32::new(0)).await, Ok(3));
    assert_eq!(fresh_mut(vec![0], &AtomicU32::new(0)).await, Ok(2));
    assert_eq!(patterns((1, 2), NoClone(3)).await, Some(7));
}

#[tokio::test]
async fn references_lifetimes_and_generics() {
    assert_eq!(lifetimes("abc", "x").await, Ok("bc"));
    assert_eq!(elided(" x ").await, Some("x"));
    let mut buffer = Vec::new();
    assert_eq!(mutable_reference(&mut buffer).await, Ok(3));
    *reborrow_out(&mut buffer).await.unwrap() = 9;
    assert_eq!(buffer, [0, 0, 9]);
    assert_eq!(generic(&[1, 2]).await, Ok("12".into()));
    assert_eq!(impl_arguments("x", async |n| n + 1).await, Ok("x2".into()));
    assert_eq!(rc_out().await, Ok(Rc::new(1)));
    assert_eq!(not_send(Rc::new(Cell::new(1))).await, Ok(2));
    assert_eq!(opaque(3).await.unwrap().sum::<u32>(), 3);
}

#[tokio::test]
async fn functions_that_return_futures() {
    assert_eq!(returns_future("1", &AtomicU32::new(0)).await, Ok(3));
    assert_eq!(returns_generic_future(&5).await, Some("5".into()));
    let calls = AtomicU32::new(0);
    assert_eq!(boxed("ab", &calls).await, Ok(4));
    assert_eq!(calls.into_inner(), 3);
    assert_eq!(box_future(&AtomicU32::new(0)).await, Ok(2));
    assert_eq!(local_box_future(Rc::new(4)).await, Some(4));
    assert_eq!(box_of_impl(5).await, Some(5));
}

/// Items first: clippy requires that the expansion adds no statement before them.
#[resilient(retry(max = 1, base = "0ms"), timeout = "5s")]
async fn begins_with_items(x: u32) -> Result<u32, E> {
    #[derive(Clone, Copy)]
    struct Twice(u32);
    const ONE: u32 = 1;
    fn twice(x: Twice) -> u32 {
        x.0 * 2
    }
    tick().await;
    Ok(twice(Twice(x)) + ONE)
}

#[resilient(hedge(after = "1h"), idempotent)]
async fn begins_with_an_import(mut x: Vec<u32>) -> Result<u32, E> {
    use std::convert::identity;
    x.push(1);
    tick().await;
    Ok(identity(x).into_iter().sum())
}

#[resilient(timeout = "5s")]
async fn begins_with_a_block(x: u32) -> Result<u32, E> {
    const { assert!(size_of::<u32>() == 4) };
    tick().await;
    Ok(x)
}

#[tokio::test]
async fn a_body_can_start_with_items() {
    assert_eq!(begins_with_items(2).await, Ok(5));
    assert_eq!(begins_with_an_import(vec![2]).await, Ok(3));
    assert_eq!(begins_with_a_block(2).await, Ok(2));
}
