//! Deletes expired records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resilient_runtime::idempotency::StoreError;
use tokio::time::Instant;

use crate::operation::{Outcome, Session};
use crate::sql;

/// Number of records that one transaction deletes.
const BATCH: u32 = 1000;

/// When expired records are deleted.
#[derive(Debug)]
pub(crate) struct Expiry {
    interval: Option<Duration>,
    last: Mutex<Option<Instant>>,
}

impl Expiry {
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    /// Whether the interval has passed since the last deletion. It is due at the first use too, because a program may end
    /// within the interval. Only one caller gets `true`.
    pub(crate) fn is_due(&self) -> bool {
        let Some(interval) = self.interval else { return false };
        let (now, mut last) = (Instant::now(), self.last.lock().unwrap_or_else(PoisonError::into_inner));
        let is_due = last.is_none_or(|before| now.saturating_duration_since(before) >= interval);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// Deletes all records that have expired. Returns their number.
    pub(crate) async fn delete(session: Session) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = session.clone().perform(
                Instant::now(),
                |names, _| sql::expire(names, BATCH),
                |reply, _| Ok(Outcome::Ended(reply.changed)),
            );
            let batch = batch.await?;
            deleted += batch;
            if batch < u64::from(BATCH) {
                return Ok(deleted);
            }
        }
    }

    pub(crate) async fn delete_and_log(self: Arc<Self>, session: Session) {
        match Self::delete(session).await {
            Ok(deleted) => {
                tracing::debug!(target: "resilient_postgres", deleted, "expired idempotency records were deleted");
            }
            Err(error) => tracing::warn!(
                target: "resilient_postgres", %error,
                "expired idempotency records were not deleted, and take up space until the next attempt"
            ),
        }
    }
}
