//! How the idempotent call that ended last on this thread did.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

/// Why the answer of a call was not saved: a call with the same key does not get it.
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
    /// It is larger than `max_value`.
    TooLarge,
    /// It cannot be written, or would read back as another value.
    NotKeepable,
    /// The lease was over, and another call has taken the key.
    TakenOver,
    /// The store refused, failed, panicked or did not answer in time.
    StoreFailed,
    /// The call was carried out without a record, because the store did not answer and `on_store_failure = open`.
    NoRecord,
}

impl Unsaved {
    /// The name used in events, logs and headers.
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
    /// It was carried out, or refused.
    Fresh,
    Replayed,
    Unsaved(Unsaved),
}

thread_local! {
    static MARK: Cell<Mark> = const { Cell::new(Mark::Fresh) };
}

/// How the last idempotent call on this thread ended.
pub(crate) fn mark(mark: Mark) {
    MARK.set(mark);
}

/// Why the answer of the idempotent call that ended last on this thread was not saved; `None` if it was, or if there was
/// none to save. The answer itself is good, and the call was carried out: a call with the same key is refused as unknown
/// when the lease is over, or carried out again with `on_unknown = reexecute`. Ask right behind the call, as for
/// [`replayed`].
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

/// Whether the idempotent call that ended last on this thread was not carried out, but got the answer of an earlier one
/// with its key. Ask right behind the call: behind the next `.await`, other calls may have ended here.
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
