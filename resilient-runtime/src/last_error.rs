//! Stores the last error with its time, attempt and correlation id.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Instant;
use crate::correlation::CorrelationId;
use crate::seconds::seconds;

/// The most recent error of an operation or a component.
///
/// ```
/// use std::io::Error;
/// use resilient_runtime::{Registry, Verdict, observe::LastError};
///
/// let pipeline = Registry::new().pipeline("order").build();
/// let fails = || Err::<u32, _>(Error::other("connection refused"));
/// pipeline.request().judge(Verdict::of).describe(|error: &Error, words| words.error(error)).call(fails).unwrap_err();
/// let LastError { text, attempt, .. } = pipeline.stats().last_error.unwrap();
/// assert_eq!((&*text, attempt), ("connection refused", 1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// The text of the error and its sources, at most [`ERROR_TEXT_BYTES`](crate::observe::ERROR_TEXT_BYTES) long.
    pub text: String,
    /// How long ago the error occurred. Serialized in seconds.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// The number of the attempt that failed, counted from 1.
    pub attempt: u32,
    /// The correlation id of the request that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
}

/// The text of an error, and the attempt that failed with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'t> {
    pub(crate) text: &'t str,
    pub(crate) attempt: u32,
}

/// Stores the last error. A lock is cheap enough, because only failed calls take it.
#[derive(Debug, Default)]
pub(crate) struct ErrorSlot(Mutex<Option<Box<StoredError>>>);

#[derive(Debug)]
struct StoredError {
    text: String,
    at: Instant,
    attempt: u32,
    correlation_id: Option<CorrelationId>,
}

impl ErrorSlot {
    pub(crate) fn set(&self, Cause { text, attempt }: Cause<'_>, at: Instant) {
        let correlation_id = CorrelationId::current();
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(kept) => {
                kept.text.clear();
                kept.text.push_str(text);
                (kept.at, kept.attempt, kept.correlation_id) = (at, attempt, correlation_id);
            }
            None => {
                *slot = Some(Box::new(StoredError { text: text.to_owned(), at, attempt, correlation_id }));
            }
        }
    }

    pub(crate) fn get(&self, now: Instant) -> Option<LastError> {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map(|kept| LastError {
            text: kept.text.clone(),
            age: now.since(kept.at),
            attempt: kept.attempt,
            correlation_id: kept.correlation_id.clone(),
        })
    }

    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
