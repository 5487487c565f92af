//! The record that a statement found, and what follows from it.

use std::time::Duration;

use resilient_runtime::idempotency::{Claim, Claimed};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::sql::unhex;

/// The state of a record after an attempt to claim it.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whether it exists and has not expired.
    is_live: bool,
    operation: String,
    is_same_payload: bool,
    is_mine: bool,
    /// Microseconds until the lease ends; negative after its end.
    lease: i64,
    result: Option<Vec<u8>>,
}

/// The result of an attempt to claim a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Ended(Claimed),
    /// The record was free when it was read, but was not claimed: it changed in between, or the claim was too late.
    Missed,
}

impl Found {
    pub(crate) fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let result: Option<String> = row.try_get("result")?;
        let unreadable = || sqlx::Error::Decode("the result is not in hexadecimal digits".into());
        Ok(Self {
            is_live: row.try_get("is_live")?,
            operation: row.try_get("operation")?,
            is_same_payload: row.try_get("is_same_payload")?,
            is_mine: row.try_get("is_mine")?,
            lease: row.try_get("lease")?,
            result: result.map(|result| unhex(&result).ok_or_else(unreadable)).transpose()?,
        })
    }

    /// `was_sent`: an earlier copy of the claim may have been executed.
    pub(crate) fn answer(self, claim: &Claim, is_acquired: bool, was_sent: bool) -> Attempt {
        if is_acquired {
            return Attempt::Ended(Claimed::Acquired);
        }
        if !self.is_live {
            return Attempt::Missed;
        }
        let asks = claim.operation.escape_default().to_string();
        Attempt::Ended(if !self.operation.is_empty() && !asks.is_empty() && self.operation != asks {
            Claimed::OtherOperation(self.operation)
        } else if !self.is_same_payload {
            Claimed::KeyReused
        } else if let Some(result) = self.result {
            Claimed::Done(result)
        } else if was_sent && self.is_mine {
            Claimed::Acquired
        } else if let Some(left) = u64::try_from(self.lease).ok().filter(|left| *left > 0) {
            Claimed::InProgress { retry_after: Duration::from_micros(left) }
        } else if claim.takes_over {
            return Attempt::Missed;
        } else {
            Claimed::Lost
        })
    }
}
