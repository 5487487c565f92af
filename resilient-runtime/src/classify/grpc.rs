//! Classifies gRPC status codes, for `tonic::Status` and for responses of any HTTP client.

use std::time::Duration;

use super::Class;
use crate::classify::Judgement;

impl Judgement {
    /// Judges a gRPC [status code](https://grpc.io/docs/guides/status-codes/) and an optional
    /// [pushback](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback).
    ///
    /// | code | class |
    /// |---|---|
    /// | `OK` | success |
    /// | `ABORTED` | transient |
    /// | `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `CANCELLED`, `UNKNOWN`, `INTERNAL`, `DATA_LOSS`, undefined codes | uncertain, because the call may have had an effect |
    /// | `RESOURCE_EXHAUSTED` | overload |
    /// | `UNIMPLEMENTED` | permanent |
    /// | others | ignored, because the caller made a mistake |
    ///
    /// The pushback is the value of `grpc-retry-pushback-ms`: how long the server asks to wait before a retry. If it is
    /// negative or not a number, the call is not retried. The class does not depend on it.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement};
    ///
    /// const UNAVAILABLE: i32 = 14;
    /// let stop = Judgement::of_grpc(UNAVAILABLE, Some(b"-1"));
    /// assert_eq!(stop.class(), Some(Class::UNCERTAIN), "the call may have been executed");
    /// assert_eq!(stop, Judgement::from(Class::UNCERTAIN).retry_when(false));
    /// ```
    pub fn of_grpc(code: i32, pushback: Option<&[u8]>) -> Self {
        let wish = pushback.map(|wish| std::str::from_utf8(wish).ok()?.trim().parse().ok());
        let retry_after = wish.flatten().map(Duration::from_millis);
        let judgement = Self::from(match code {
            0 => return Self::SUCCESS,
            10 => Class::Transient { retry_after },
            8 => Class::Overload { retry_after },
            12 => Class::Permanent,
            // Invalid argument, not found, already exists, permission denied, failed precondition, out of range,
            // unauthenticated.
            3 | 5 | 6 | 7 | 9 | 11 | 16 => Class::Ignored,
            _ => Class::Uncertain { retry_after },
        });
        if wish == Some(None) { judgement.retry_when(false) } else { judgement }
    }
}
