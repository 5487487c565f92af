//! How the last idempotent call on this thread ended.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

/// Why the result of a call was not stored, so that it cannot be replayed.
///
/// ```
/// use resilient_runtime::{Component, Registry, idempotency::{Config, Fingerprint, Unsaved}};
///
/// let once = Registry::new().idempotency("letter");
/// once.reconfigure(Config::default().max_value(1000)).unwrap();
/// once.call("7", Fingerprint::NONE, || Some("x".repeat(2000)));
/// assert_eq!(resilient_runtime::unsaved(), Some(Unsaved::TooLarge));
/// assert_eq!(Unsaved::TooLarge.as_str(), "too_large");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unsaved {
    /// The result is larger than `max_value`.
    TooLarge,
    /// The result cannot be serialized, or would read back as a different value.
    NotKeepable,
    /// The lease expired and another call took over the key.
    TakenOver,
    /// The store rejected the result, failed, panicked or timed out.
    StoreFailed,
    /// The store failed, and the call ran without a record (`on_store_failure = open`).
    NoRecord,
}

impl Unsaved {
    /// Returns the name used in events, logs and headers.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::idempotency::Unsaved::StoreFailed.as_str(), "store_failed");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotKeepable => "not_keepable",
            Self::TakenOver => "taken_over",
            Self::StoreFailed => "store_failed",
            Self::NoRecord => "no_record",
        }
    }
}

impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an idempotent call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was executed, or it was rejected.
    Fresh,
    Replayed,
    Unsaved(Unsaved),
}

thread_local! {
    static MARK: Cell<Mark> = const { Cell::new(Mark::Fresh) };
}

/// Sets how the last idempotent call on this thread ended.
pub(crate) fn mark(mark: Mark) {
    MARK.set(mark);
}

/// Returns why the result of the last idempotent call on this thread was not stored.
///
/// Returns `None` if it was stored, or if there was no result to store. The call itself was executed and its result is
/// valid. Once the lease has expired, a later call with the same key is rejected with an unknown outcome, or executed
/// again with `on_unknown = reexecute`. This does not apply to [`Unsaved::NoRecord`] and [`Unsaved::TakenOver`], where
/// the call no longer has a record.
///
/// Call this right after the idempotent call, as for [`replayed`].
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Component, Registry, Rejection, idempotency::{Config, Fingerprint, Unsaved}};
///
/// let once = Registry::new().idempotency("charge");
/// once.reconfigure(Config::default().max_value(64)).unwrap();
/// let charge = |receipt: String| once.call("order 7", Fingerprint::NONE, || Ok::<_, Rejection>(receipt));
/// assert!(charge("x".repeat(100)).is_ok());
/// assert_eq!(resilient_runtime::unsaved(), Some(Unsaved::TooLarge));
/// ```
pub fn unsaved() -> Option<Unsaved> {
    match MARK.get() {
        Mark::Unsaved(why) => Some(why),
        _ => None,
    }
}

/// Whether the last idempotent call on this thread returned a stored result.
///
/// Call this right after the idempotent call: after the next `.await`, other calls might have ended on this thread.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, Rejection, idempotency::Fingerprint};
///
/// let once = Registry::new().idempotency("charge");
/// let charge = async || once.call_async("order 7", Fingerprint::NONE, async || Ok::<_, Rejection>(995)).await;
/// assert_eq!(charge().await, Ok(995));
/// assert!(!resilient_runtime::replayed());
/// assert_eq!(charge().await, Ok(995));
/// assert!(resilient_runtime::replayed());
/// # }
/// ```
pub fn replayed() -> bool {
    MARK.get() == Mark::Replayed
}
