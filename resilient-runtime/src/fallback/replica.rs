//! The level that reads a replica set.

use std::future::Future;
use std::sync::{Arc, LazyLock};

use super::NoAnswer;

/// Replicated values that a fallback level reads: `fallback(replica(set, key = id))`.
///
/// `ReplicaSet` of the crate `resilient-replica` implements it, and so do `&S`, `Arc<S>` and `LazyLock<S>` of a set `S`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::collections::BTreeMap;
/// use resilient_runtime::{Rejection, fallback::{NoAnswer, ReplicaSource}, resilient};
///
/// struct Copy(BTreeMap<String, f64>);
/// impl ReplicaSource for Copy {
///     type Value = f64;
///     async fn read_replica(&self, key: &str) -> Result<f64, NoAnswer> {
///         self.0.get(key).copied().ok_or(NoAnswer::Empty)
///     }
/// }
///
/// #[resilient(fallback(replica(copy, key = currency)))]
/// async fn rate(copy: &Copy, currency: &str) -> Option<f64> {
///     None // the source of the rates fails
/// }
///
/// let copy = Copy([("EUR".to_owned(), 1.1)].into());
/// assert_eq!(rate(&copy, "EUR").await, Some(1.1));
/// assert_eq!(rate(&copy, "CHF").await, None);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a replica set",
    label = "expected a `ReplicaSet` of the crate `resilient-replica`",
    note = "implement `resilient_runtime::fallback::ReplicaSource` for a set of your own"
)]
pub trait ReplicaSource {
    /// The type of the values: the one that the function returns in its `Ok` or `Some`.
    type Value;

    /// Reads the value of a key.
    ///
    /// # Errors
    /// Returns [`NoAnswer::Empty`] if there is no value, [`NoAnswer::Unreadable`] if it has another type, and
    /// [`NoAnswer::StoreFailed`] if it cannot be read.
    fn read_replica(&self, key: &str) -> impl Future<Output = Result<Self::Value, NoAnswer>> + Send;
}

impl<S: ReplicaSource + ?Sized> ReplicaSource for &S {
    type Value = S::Value;

    fn read_replica(&self, key: &str) -> impl Future<Output = Result<Self::Value, NoAnswer>> + Send {
        S::read_replica(self, key)
    }
}

impl<S: ReplicaSource + ?Sized> ReplicaSource for Arc<S> {
    type Value = S::Value;

    fn read_replica(&self, key: &str) -> impl Future<Output = Result<Self::Value, NoAnswer>> + Send {
        S::read_replica(self, key)
    }
}

impl<S: ReplicaSource> ReplicaSource for LazyLock<S> {
    type Value = S::Value;

    fn read_replica(&self, key: &str) -> impl Future<Output = Result<Self::Value, NoAnswer>> + Send {
        S::read_replica(self, key)
    }
}
