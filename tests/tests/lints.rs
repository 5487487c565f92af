//! The expansion of the attribute triggers no lint of clippy, with all groups at `deny`, including `restriction`.
//!
//! The test is `cargo clippy --all-targets`. Running this file only checks that the functions work.

// T151
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
#![allow(
    clippy::blanket_clippy_restriction_lints,
    clippy::question_mark_used,
    clippy::single_call_fn,
    clippy::tests_outside_test_module,
    clippy::missing_docs_in_private_items,
    clippy::arbitrary_source_item_ordering,
    clippy::missing_assert_message,
    clippy::unused_async,
    clippy::unwrap_used,
    clippy::needless_return,
    clippy::unseparated_literal_suffix,
    clippy::separated_literal_suffix,
    clippy::missing_trait_methods,
    reason = "these lints also fire without the attribute, or contradict another lint (explicit `return`)"
)]

use core::error;
use core::num::ParseIntError;
use core::pin::Pin;
use std::io;

use resilient_runtime::{Rejection, resilient};
use tokio::task::yield_now;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("io")]
    Io(#[from] io::Error),
    #[error("rejected")]
    Rejected(#[from] Rejection),
    #[error("not a number")]
    Number(#[from] ParseIntError),
}

#[resilient(circuit_breaker = "lints")]
fn sync(text: &str) -> Result<u32, Error> {
    let number: u32 = text.parse()?;
    return Ok(number);
}

#[resilient(
    retry(max = 2, base = "0ms"),
    circuit_breaker = "lints",
    bulkhead = "lints",
    rate_limit("lints", rate = "1000/s")
)]
fn several(text: &str, mut more: Vec<u32>) -> Result<u32, Error> {
    if text.is_empty() {
        return Err(Error::Io(io::ErrorKind::NotFound.into()));
    }
    more.push(text.parse()?);
    return more.pop().ok_or_else(|| return Error::Io(io::ErrorKind::NotFound.into()));
}

#[resilient(retry(max = 2, base = "0ms"), timeout = "5s", circuit_breaker = "lints", bulkhead = "lints")]
async fn later(text: &str) -> Result<u32, Error> {
    fn parse(text: &str) -> Result<u32, Error> {
        return Ok(text.parse()?);
    }
    yield_now().await;
    return parse(text);
}

#[resilient(retry(max = 2, base = "0ms"), timeout = "5s", clone(text))]
async fn copied(text: String) -> Result<String, Error> {
    yield_now().await;
    return Ok(text);
}

#[resilient(hedge(after = "1h"), idempotent, coalesce(key = text))]
async fn hedged(text: &str) -> Result<usize, Rejection> {
    yield_now().await;
    return Ok(text.len());
}

#[resilient(circuit_breaker = "lints", fallback = |failure| return Ok(u32::from(failure.rejection().is_some())))]
fn fallback(text: &str) -> Result<u32, Error> {
    return Ok(text.parse()?);
}

#[resilient(bulkhead = "lints", fallback(replica = sync(text), local_cache(max_age = "1m", key = text), default = Ok(7)))]
async fn levels(text: &str) -> Result<u32, Error> {
    yield_now().await;
    return Ok(text.parse()?);
}

#[resilient(idempotent(key = text), load_shed = "lints", priority = high)]
async fn once(text: &str) -> Result<u32, Error> {
    yield_now().await;
    return Ok(text.parse()?);
}

#[resilient(bulkhead("lint threads", threads = 1), timeout = "5s", map_err = |rejection| return rejection.to_string())]
fn threads(number: u32) -> Result<u32, String> {
    return number.checked_add(1).ok_or_else(|| return "too large".to_owned());
}

#[resilient(retry(max = 2, base = "0ms", when = |_error: &Error| return false), failure = |out: &Result<u32, Error>| return matches!(*out, Ok(0)))]
fn judged(text: &str) -> Result<u32, Error> {
    return Ok(text.parse()?);
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "lints")]
fn generic<E, const N: usize>(text: String, (first, second): (u32, u32), more: Option<u32>) -> Result<u32, E>
where
    E: error::Error + From<ParseIntError> + From<Rejection> + 'static,
{
    let number: u32 = text.parse()?;
    let Some(third) = more else { return Ok(number) };
    return number
        .checked_add(first)
        .and_then(|sum| return sum.checked_add(second))
        .and_then(|sum| return sum.checked_add(third))
        .map_or_else(|| return Ok(0), Ok);
}

#[resilient(retry(max = 1, base = "0ms"), hedge(after = "1h"), idempotent)]
async fn hedged_owned(text: String, number: impl Into<u32> + Copy + Send + Sync) -> Result<u32, Error> {
    yield_now().await;
    return Ok(text.parse::<u32>()?.wrapping_add(number.into()));
}

struct Client<T> {
    rates: T,
}

impl<T: AsRef<[u32]> + Sync> Client<T> {
    #[resilient(retry(max = 2, base = "0ms"), fallback = Ok(0))]
    fn first(&self) -> Result<u32, Error> {
        return self
            .rates
            .as_ref()
            .first()
            .copied()
            .ok_or_else(|| return Error::Io(io::ErrorKind::NotFound.into()));
    }

    #[resilient(retry(max = 2, base = "0ms"), timeout = "5s", clone(name))]
    async fn push(&self, name: String, mut more: Vec<u32>) -> Result<(String, usize), Error> {
        more.extend(self.rates.as_ref());
        yield_now().await;
        return Ok((name, more.len()));
    }

    #[resilient(circuit_breaker = "lints")]
    fn boxed(&self) -> Pin<Box<dyn Future<Output = Result<usize, Error>> + Send + '_>> {
        let rates = self.rates.as_ref();
        return Box::pin(async move { return Ok(rates.len()) });
    }
}

#[async_trait::async_trait]
trait Rates {
    async fn rate(&self, name: String) -> Result<u32, Error>;

    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "lints")]
    async fn twice(&self, name: &str) -> Result<u32, Error> {
        return Ok(self.rate(name.to_owned()).await?.wrapping_mul(2));
    }
}

#[async_trait::async_trait]
impl<T: AsRef<[u32]> + Sync> Rates for Client<T> {
    #[resilient(retry(max = 2, base = "0ms"), timeout = "5s")]
    async fn rate(&self, name: String) -> Result<u32, Error> {
        yield_now().await;
        return Ok(name.parse::<u32>()?.wrapping_add(self.first()?));
    }
}

trait Native {
    #[resilient(retry(max = 2, base = "0ms"), bulkhead = "lints")]
    fn count(&self, names: Vec<String>) -> impl Future<Output = Result<usize, Error>> + Send {
        return async move {
            yield_now().await;
            return Ok(names.len());
        };
    }
}

impl<T> Native for Client<T> {}

#[tokio::test]
async fn annotated_functions_under_every_lint_work() {
    assert_eq!(sync("1").unwrap(), 1);
    assert_eq!(several("2", Vec::new()).unwrap(), 2);
    assert_eq!(later("3").await.unwrap(), 3);
    assert_eq!(copied("4".to_owned()).await.unwrap(), "4");
    assert_eq!(hedged("five").await.unwrap(), 4);
    assert_eq!(fallback("6").unwrap(), 6);
    assert_eq!(levels("7").await.unwrap(), 7);
    assert_eq!(once("8").await.unwrap(), 8);
    assert_eq!(threads(8).unwrap(), 9);
    assert_eq!(judged("1").unwrap(), 1);
    assert_eq!(generic::<Error, 1>("1".to_owned(), (2, 3), Some(4)).unwrap(), 10);
    assert_eq!(hedged_owned("1".to_owned(), 2_u32).await.unwrap(), 3);
    let client = Client { rates: vec![1, 2] };
    assert_eq!(client.first().unwrap(), 1);
    assert_eq!(client.push("name".to_owned(), vec![3]).await.unwrap().1, 3);
    assert_eq!(client.boxed().await.unwrap(), 2);
    assert_eq!(client.twice("1").await.unwrap(), 4);
    assert_eq!(client.count(vec!["a".to_owned()]).await.unwrap(), 1);
}
