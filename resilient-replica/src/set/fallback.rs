//! A replica set as a level of a fallback.

use resilient_runtime::fallback::{NoAnswer, ReplicaSource};

use super::error::Problem;
use super::{ReplicaSet, Resolver, Value};

/// The value of a key as the result of a call that failed. The mode and the level of the set apply: use
/// [`Mode::Ap`](super::Mode::Ap) if an older value is better than none.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::LazyLock;
/// use resilient_replica::{MemoryReplica, Mode, ReplicaSet, resolve::{Actor, HybridClock}};
/// use resilient_runtime::{registry, resilient};
///
/// static NAMES: LazyLock<ReplicaSet<String>> = LazyLock::new(|| {
///     registry().use_store("near", MemoryReplica::new());
///     let clock = HybridClock::new(Actor::named("orders-0"));
///     ReplicaSet::builder("names", clock).member("near").mode(Mode::Ap).build(registry()).unwrap()
/// });
///
/// #[resilient(fallback(replica(NAMES, key = user)))]
/// async fn name(user: u64) -> Option<String> {
///     None // the service that knows the names fails
/// }
///
/// NAMES.write("7", &"Ada".to_owned()).await?;
/// assert_eq!(name(7).await.as_deref(), Some("Ada"));
/// assert_eq!(name(8).await, None);
/// # Ok(()) }
/// ```
impl<T: Value, R: Resolver<T>> ReplicaSource for ReplicaSet<T, R> {
    type Value = T;

    async fn read_replica(&self, key: &str) -> Result<T, NoAnswer> {
        let read = self.read(key).await.map_err(|error| {
            tracing::debug!(target: "resilient_replica", %error, "a fallback could not read a replica set");
            match error.problem {
                Problem::OtherType { .. } | Problem::NotMergeable(_) => NoAnswer::Unreadable,
                _ => NoAnswer::StoreFailed,
            }
        })?;
        read.value.ok_or(NoAnswer::Empty)
    }
}
