//! What a status of gRPC means, for `tonic::Status` and for responses of any HTTP client alike.

use std::time::Duration;

use super::Class;
use crate::classify::Judgement;

impl Judgement {
    /// The judgement on a [code](https://grpc.io/docs/guides/status-codes/) of gRPC and on the value of
    /// `grpc-retry-pushback-ms`, [where there is one](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback):
    ///
    /// | code | class |
    /// |---|---|
    /// | `OK` | success |
    /// | `ABORTED` | transient |
    /// | `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `CANCELLED`, `UNKNOWN`, `INTERNAL`, `DATA_LOSS`, and codes that do not exist | uncertain: it is no proof that nothing was done |
    /// | `RESOURCE_EXHAUSTED` | overload |
    /// | `UNIMPLEMENTED` | permanent |
    /// | others | ignored: the caller's own mistake |
    ///
    /// A pushback is the server's wish when to try again. If it is negative or no number, the call is not retried; whether it
    /// had an effect is for the code to say.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement};
    ///
    /// const UNAVAILABLE: i32 = 14;
    /// let stop = Judgement::of_grpc(UNAVAILABLE, Some(b"-1"));
    /// assert_eq!(stop.class(), Some(Class::UNCERTAIN), "it may have been carried out");
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
