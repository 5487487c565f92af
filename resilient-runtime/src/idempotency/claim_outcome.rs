//! The outcome of a claim, and stored results.

use super::ended::{Mark, mark};
use super::{Idempotency, Lease};
use crate::observe::{EventKind, log_limited};
use crate::rejection::{Rejection, RejectionKind};
use crate::replay::{self, Codec};
use crate::stored::Unreadable;

/// Whether a call must be executed or a stored result replayed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
///
/// let once = Registry::new().idempotency("refund");
/// match once.claim("order 7", Fingerprint::NONE).await.unwrap() {
///     ClaimOutcome::Run(lease) => assert!(lease.unwrap().complete(&995).await),
///     ClaimOutcome::Replay(_) => unreachable!("the key is new"),
/// }
/// assert!(matches!(once.claim("order 7", Fingerprint::NONE).await, Ok(ClaimOutcome::Replay(_))));
/// # }
/// ```
#[derive(Debug)]
pub enum ClaimOutcome<'a> {
    /// Execute the call.
    ///
    /// Without a lease, the call has no record, because the store failed and `on_store_failure = open`.
    Run(Option<Lease<'a>>),
    /// Do not execute the call; replay this result.
    Replay(Stored<'a>),
}

/// The stored result of an earlier call.
///
/// ```
/// # use resilient_runtime::{Registry, Rejection, idempotency::{Fingerprint, ClaimOutcome}};
/// # let once = Registry::new().idempotency("invoice");
/// assert_eq!(once.call("order 7", Fingerprint::NONE, || Some(995)), Some(995));
/// let stored = once.claim_blocking("order 7", Fingerprint::NONE).unwrap();
/// assert!(matches!(stored, ClaimOutcome::Replay(_)));
/// ```
#[derive(Debug)]
pub struct Stored<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) operation: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Stored<'_> {
    /// Reads the value that was passed to [`Lease::complete`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Registry, RejectionKind, idempotency::{Fingerprint, ClaimOutcome}};
    /// # let once = Registry::new().idempotency("ticket");
    /// if let ClaimOutcome::Run(Some(lease)) = once.claim("seat 7", Fingerprint::NONE).await.unwrap() {
    ///     lease.complete("row A").await;
    /// }
    /// if let ClaimOutcome::Replay(stored) = once.claim("seat 7", Fingerprint::NONE).await.unwrap() {
    ///     assert_eq!(stored.read::<String>().unwrap(), "row A");
    ///     assert_eq!(stored.read::<u32>().unwrap_err().kind(), RejectionKind::StoredValueMismatch);
    /// }
    /// # assert!(resilient_runtime::Component::stats(&*once).replayed == 1);
    /// # }
    /// ```
    ///
    /// The value is serialized again and compared with the stored one, so a type that has changed since causes an error
    /// instead of a partial read.
    ///
    /// # Errors
    /// Returns an error if the stored value has another type, or if another operation stored it.
    pub fn read<T: serde::Serialize + serde::de::DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.replayed(replay::read(&self.bytes, self.operation))
    }

    /// Reads the stored outcome.
    pub(crate) fn outcome<R>(&self, codec: Codec<R>) -> Result<R, Rejection> {
        self.replayed(codec.read(&self.bytes, self.operation))
    }

    fn replayed<R>(&self, read: Result<R, Unreadable>) -> Result<R, Rejection> {
        let idempotency = self.idempotency;
        match read {
            Ok(outcome) => {
                mark(Mark::Replayed);
                idempotency.counters.replayed.count();
                idempotency.publish(EventKind::Replayed);
                Ok(outcome)
            }
            Err(Unreadable::Operation(by)) => Err(idempotency.other_operation(&by, self.operation)),
            Err(Unreadable::Value(why)) => {
                // The message can contain parts of the stored value.
                let why = idempotency.core.environment.texts().clean(&why);
                log_limited!(
                    idempotency.log_limits.unreadable, idempotency.core.clock(), ERROR,
                    target: "resilient_runtime::idempotency",
                    idempotency = %idempotency.core.name, why, "a stored result cannot be read"
                );
                let refusal = idempotency.refuse(RejectionKind::StoredValueMismatch, None);
                Err(match why {
                    Some(why) => refusal.explained(why),
                    None => refusal,
                })
            }
        }
    }
}
