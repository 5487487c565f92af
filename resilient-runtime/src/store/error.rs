//! The result of a store operation.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The future that a store operation returns.
///
/// ```
/// use resilient_runtime::store::{Answer, StoreError};
///
/// fn at_once<'a>(stored: bool) -> Answer<'a, bool> {
///     Box::pin(async move { if stored { Ok(true) } else { Err(StoreError::TimedOut) } })
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(at_once(true).await, Ok(true));
/// # }
/// ```
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A failure of a store.
///
/// ```
/// use resilient_runtime::store::StoreError;
///
/// let full = StoreError::Full { records: 10, retry_after: None };
/// assert_eq!(full.to_string(), "the store is full with 10 live records");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The limit for all records or for one client is reached, and no record has expired.
    #[error("the store is full with {records} live records")]
    Full {
        /// The number of live records.
        records: usize,
        /// The time until the next record expires, if known.
        retry_after: Option<Duration>,
    },
    /// The store cannot be reached, read or written.
    #[error("{0}")]
    Unavailable(String),
    /// The store works, but refuses this operation, for example because another program uses its key.
    ///
    /// It does not count as a failure of the store.
    #[error("{0}")]
    Refused(String),
    /// The request was not sent, because the store is degraded or has too many requests.
    #[error("{0}")]
    NotSent(String),
    /// The store did not respond in time.
    #[error("the store did not respond in time")]
    TimedOut,
    /// The store panicked with this message.
    #[error("the store panicked: {0}")]
    Panicked(String),
    /// A fault makes the store fail. It is treated like [`Unavailable`](Self::Unavailable).
    #[cfg(feature = "chaos")]
    #[error("{0}")]
    Injected(crate::rejection::InjectedBy),
}

impl StoreError {
    /// Whether the store does not work, so that the next operation will probably fail too.
    pub(super) fn is_outage(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::Refused(_) | Self::NotSent(_))
    }
}

/// A future that is ready at once.
pub(crate) fn ready<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}
