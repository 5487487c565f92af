//! Conformance checks for stores of your own. Needs the feature `testing`.
//!
//! | role | check | stores of this project that pass it |
//! |---|---|---|
//! | [`IdempotencyStore`] | [`check_idempotency_store`] | [`MemoryStore`](crate::idempotency::MemoryStore), `DurableStore`, `RedisStore`, `PostgresStore` |
//! | [`RateStore`] | [`check_rate_store`] | [`MemoryStore`](crate::rate_limit::MemoryStore), `RedisStore` |
//! | [`CircuitStore`] | [`check_circuit_store`] | [`MemoryCircuits`](crate::circuit_breaker::shared::MemoryCircuits), `RedisStore` |
//! | [`LoginStore`] | [`check_login_store`] | [`MemoryLogins`](crate::store::MemoryLogins), `RedisStore` |
//! | [`ReplicaStore`] | [`check_replica_store`] | `MemoryReplica`, `FileReplica`, `RedisStore`, `PostgresStore` |
//! | [`CacheStore`] | [`check_cache_store`] | [`MemoryCache`](crate::fallback::MemoryCache), `RedisStore` |

mod cache_rules;
mod circuit_rules;
mod login_rules;
mod race;
mod rate_rules;
mod replica_rules;
mod store_rules;

use std::time::Duration;

use crate::circuit_breaker::shared::CircuitStore;
use crate::fallback::CacheStore;
use crate::idempotency::IdempotencyStore;
use crate::rate_limit::RateStore;
use crate::store::{LoginStore, ReplicaStore};
use rate_rules::RateBench;
use store_rules::Bench;

/// A store broke a rule.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::idempotency::{Answer, Claim, Claimed, IdempotencyStore, Owner};
/// use resilient_runtime::testing::check_idempotency_store;
///
/// #[derive(Debug)]
/// struct Forgetful;
/// impl IdempotencyStore for Forgetful {
///     fn claim(&self, _: Claim) -> Answer<'_, Claimed> { Box::pin(async { Ok(Claimed::Acquired) }) }
///     fn renew<'a>(&'a self, _: &'a str, _: Owner, _: std::time::Duration) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
///     fn complete<'a>(&'a self, _: &'a str, _: Owner, _: Vec<u8>, _: std::time::Duration) -> Answer<'a, bool> {
///         Box::pin(async { Ok(true) })
///     }
///     fn abandon<'a>(&'a self, _: &'a str, _: Owner) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
/// }
/// let broken = check_idempotency_store(&Forgetful, async |_| ()).await.unwrap_err();
/// assert!(broken.to_string().starts_with("the store broke the rule \"a claimed key is in progress\""), "{broken}");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store broke the rule \"{rule}\": {what}: expected {expected}, found {found}")]
#[non_exhaustive]
pub struct BrokenRule {
    /// The rule, as a statement about a correct store.
    pub rule: &'static str,
    /// The step that had an unexpected result.
    pub what: &'static str,
    /// The result of a correct store.
    pub expected: String,
    /// The result of the store.
    pub found: String,
}

/// Checks every rule of [`IdempotencyStore`].
///
/// `pass` lets time pass on the clock of the store: it advances a manual clock, or waits. The checks do not depend on
/// the speed of the machine: a period either ends within `pass`, or lasts an hour or longer. With a real clock, the
/// checks take about 2 s.
///
/// The checks use keys that no earlier run used, so the store may contain other records. They write about 100 records,
/// and one result of 64 KiB.
///
/// | rules | about |
/// |---|---|
/// | claims | a key has one owner; keys differ in every byte; one of many concurrent claims succeeds |
/// | results | are replayed unchanged until their `ttl` ends; a `ttl` of zero removes the record |
/// | checks | another payload or operation gets no replay and does not wait, in every state |
/// | fencing | only the owner changes a record, until it completes or another owner takes over |
/// | leases | are extended and never shortened; after the end of one, `takes_over` decides; lost records expire |
/// | limits | the longest durations and all 128 bits of owners and fingerprints |
/// | clients | records of a client and of the program are independent of each other |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{clock::ManualClock, idempotency::MemoryStore, testing::check_idempotency_store};
///
/// let time = ManualClock::new();
/// let store = MemoryStore::new(time.clock(), 1000);
/// check_idempotency_store(&store, async |span| { time.advance(span); }).await.unwrap();
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves records in the store, which expire after an hour or later.
pub async fn check_idempotency_store<S: IdempotencyStore + ?Sized>(
    store: &S,
    pass: impl AsyncFn(Duration),
) -> Result<(), BrokenRule> {
    let bench = Bench::new(store, &pass);
    bench.claims().await?;
    bench.results().await?;
    bench.checks().await?;
    bench.fencing().await?;
    bench.leases().await?;
    bench.limits().await?;
    bench.clients().await
}

/// Checks every rule of [`CircuitStore`], except that a change is reported to listeners.
///
/// `pass` lets time pass on the clock of the store: it advances a manual clock, or waits. The checks do not depend on the
/// speed of the machine. With a real clock, they take about 2 s.
///
/// The checks use circuits that no earlier run used, and leave about 40 records.
///
/// | rules | about |
/// |---|---|
/// | votes | a quorum opens the circuit; an instance that is alone does not; a withdrawn vote does not count |
/// | quorums | numbers and shares of the instances |
/// | expiry | instances that do not report, and openings without renewal |
/// | resets | close the circuit; votes from before do not count |
/// | slots | their number is limited, also for concurrent requests; idle and expired slots go to other instances |
/// | outcomes | most of the probes decide; only results of the current period count |
/// | limits | the longest durations, all 128 bits of instances, all bytes of names |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{circuit_breaker::shared::MemoryCircuits, clock::ManualClock, testing::check_circuit_store};
///
/// let time = ManualClock::new();
/// let store = MemoryCircuits::new(time.clock());
/// check_circuit_store(&store, async |span| { time.advance(span); }).await.unwrap();
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves records in the store, which expire after an hour or later.
pub async fn check_circuit_store<S: CircuitStore + ?Sized>(
    store: &S,
    pass: impl AsyncFn(Duration),
) -> Result<(), BrokenRule> {
    let bench = circuit_rules::Bench::new(store, &pass);
    bench.votes().await?;
    bench.quorums().await?;
    bench.expiry().await?;
    bench.resets().await?;
    bench.slots().await?;
    bench.outcomes().await?;
    bench.limits().await
}

/// Checks every rule of [`CacheStore`].
///
/// `pass` lets time pass on the clock of the store, as for [`check_idempotency_store`]. The checks use keys that no earlier
/// run used. They write about 30 values, one of 64 KiB.
///
/// | rules | about |
/// |---|---|
/// | values | all bytes are returned unchanged; a later value replaces an earlier one; a removed value is gone |
/// | keys | keys differ in every byte |
/// | ages | the age grows with the clock of the store, from the latest put and the age that it had then |
/// | ends | a value ends with its `ttl`; the longest durations; a `ttl` of zero removes the value |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{clock::ManualClock, fallback::MemoryCache, testing::check_cache_store};
///
/// let time = ManualClock::new();
/// let store = MemoryCache::new(time.clock(), 1000);
/// check_cache_store(&store, async |span| { time.advance(span); }).await.unwrap();
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves values in the store.
pub async fn check_cache_store<S: CacheStore + ?Sized>(
    store: &S,
    pass: impl AsyncFn(Duration),
) -> Result<(), BrokenRule> {
    let bench = cache_rules::Bench::new(store, &pass);
    bench.values().await?;
    bench.keys().await?;
    bench.ages().await?;
    bench.ends().await
}

/// Checks every rule of [`LoginStore`].
///
/// `pass` lets time pass on the clock of the store, as for [`check_idempotency_store`]. The checks use keys that no earlier
/// run used, about 15. They cannot wait for the decay of failures.
///
/// | rules | about |
/// |---|---|
/// | locks | the limit, doubling up to an hour, judged failures of a locked key, the end of a lock |
/// | successes | a success removes failures and makes the key known |
/// | subtractions | a key below the limit is unlocked |
/// | keys | keys differ in every byte; failures that are counted at the same time |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{clock::ManualClock, store::MemoryLogins, testing::check_login_store};
///
/// let time = ManualClock::new();
/// let store = MemoryLogins::new(time.clock());
/// check_login_store(&store, async |span| { time.advance(span); }).await.unwrap();
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves failures in the store, which are forgotten after 30 days.
pub async fn check_login_store<S: LoginStore + ?Sized>(
    store: &S,
    pass: impl AsyncFn(Duration),
) -> Result<(), BrokenRule> {
    let bench = login_rules::Bench::new(store, &pass);
    bench.locks().await?;
    bench.successes().await?;
    bench.subtractions().await?;
    bench.keys().await
}

/// Checks every rule of [`ReplicaStore`].
///
/// The clock of the store must be within 30 s of the one of this program. The checks use replica sets that no earlier run
/// used. They leave about 100 records, one of them with 64 KiB.
///
/// | rules | about |
/// |---|---|
/// | records | all bytes and tombstones are returned unchanged; keys and sets differ in every byte |
/// | versions | all 128 bits; older versions, equal versions, conditions; versions ahead of the clock |
/// | removals | only a tombstone with a certain version is forgotten |
/// | ranges | digests and lists have all records of a range, and no others |
/// | races | concurrent writes with and without a condition |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::store::{Answer, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite, Written};
/// use resilient_runtime::testing::check_replica_store;
///
/// struct Forgetful;
/// impl ReplicaStore for Forgetful {
///     fn read(&self, _: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> { Box::pin(async { Ok(None) }) }
///     fn write(&self, _: ReplicaWrite) -> Answer<'_, Written> { Box::pin(async { Ok(Written::Applied) }) }
///     fn forget(&self, _: ReplicaKey, _: ReplicaVersion) -> Answer<'_, bool> { Box::pin(async { Ok(false) }) }
///     fn digest(&self, _: &str, _: u16) -> Answer<'_, u64> { Box::pin(async { Ok(0) }) }
///     fn list(&self, _: &str, _: u16, _: Option<String>, _: u32) -> Answer<'_, ReplicaPage> {
///         Box::pin(async { Ok(ReplicaPage::default()) })
///     }
/// }
/// let broken = check_replica_store(&Forgetful).await.unwrap_err();
/// assert_eq!(broken.rule, "a record is returned unchanged");
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves records in the store.
pub async fn check_replica_store<S: ReplicaStore + ?Sized>(store: &S) -> Result<(), BrokenRule> {
    let bench = replica_rules::Bench::new(store);
    bench.records().await?;
    bench.versions().await?;
    bench.removals().await?;
    bench.ranges().await?;
    bench.races().await
}

/// Checks every rule of [`RateStore`].
///
/// `pass` lets time pass on the clock of the store, as in [`check_idempotency_store`].
///
/// | rules | about |
/// |---|---|
/// | buckets | the burst, refill, parts of a burst, the time until tokens are available |
/// | schedules | tokens that are promised for later, in order, and returned turns |
/// | windows | the limit of a window, and when it is forgotten |
/// | returns | returned tokens can be taken again, and never raise the burst |
/// | rules | another rule for the same limit |
/// | limits | the extremes of all settings; limits differ in every byte |
/// | races | concurrent requests |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{clock::ManualClock, rate_limit::MemoryStore, testing::check_rate_store};
///
/// let time = ManualClock::new();
/// let store = MemoryStore::new(time.clock(), 1000);
/// check_rate_store(&store, async |span| { time.advance(span); }).await.unwrap();
/// # }
/// ```
///
/// # Errors
/// Returns the first rule that the store broke. An error of the store breaks the rule that was being checked.
///
/// # Cancel safety
/// Dropping the future leaves limits in the store, which expire after up to 100 years. The store should be empty
/// otherwise, or be removed afterwards.
pub async fn check_rate_store<S: RateStore + ?Sized>(
    store: &S,
    pass: impl AsyncFn(Duration),
) -> Result<(), BrokenRule> {
    let bench = RateBench::new(store, &pass);
    bench.buckets().await?;
    bench.schedules().await?;
    bench.windows().await?;
    bench.returns().await?;
    bench.rules().await?;
    bench.limits().await?;
    bench.races().await
}

#[cfg(all(test, not(resilient_loom)))]
mod rate_tests;
#[cfg(all(test, not(resilient_loom)))]
mod replica_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
