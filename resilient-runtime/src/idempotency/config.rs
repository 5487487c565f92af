//! The settings of idempotency and their defaults.

use std::borrow::Cow;
use std::time::Duration;

use crate::settings::{ConfigError, Parameter, Value, settings};

/// What becomes of a call whose predecessor with the same key was lost while it ran: it may have had its effect or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnUnknown {
    /// It is refused, until the record is over: carried out at most once.
    #[default]
    Reject,
    /// It is carried out, perhaps for the second time: at least once.
    Reexecute,
}

/// What becomes of a call when the store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OnStoreFailure {
    /// It is refused.
    #[default]
    Closed,
    /// It is carried out without a record, perhaps for the second time.
    Open,
}

macro_rules! words {
    ($type:ident: $($word:literal = $value:ident),*) => {
        impl Parameter for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $(Value::Text(text) if text == $word => Some(Self::$value),)*
                    _ => None,
                }
            }
            fn to_value(&self) -> Value {
                Value::Text(Cow::Borrowed(match self { $(Self::$value => $word),* }))
            }
            fn expected() -> Cow<'static, str> {
                concat!("one of", $(" ", $word),*).into()
            }
        }
    };
}

words!(OnUnknown: "reject" = Reject, "reexecute" = Reexecute);
words!(OnStoreFailure: "closed" = Closed, "open" = Open);

settings! {
    /// The settings of an [`Idempotency`](crate::Idempotency).
    pub struct Config {
        /// How long an answer is kept, and a key is taken; up to 31 days. 0: not at all, once the call has ended.
        pub ttl: Duration = Duration::from_hours(1),
        /// How long a call that does not show any more holds its key. Renewed each third of it while the call runs;
        /// 10 ms to 24 h, at most `ttl` where that is not 0.
        pub lease: Duration = Duration::from_secs(30),
        /// What becomes of a call whose predecessor was lost.
        pub on_unknown: OnUnknown = OnUnknown::Reject,
        /// How long a call waits for one with the same key that runs; at most 24 h, and until its own deadline. 0: it
        /// does not.
        pub max_wait: Duration = Duration::from_secs(10),
        /// What becomes of a call when the store does not answer.
        pub on_store_failure: OnStoreFailure = OnStoreFailure::Closed,
        /// How long the store may take; more than 0, at most 1 h.
        pub store_timeout: Duration = Duration::from_secs(1),
        /// The largest answer that is kept, in bytes; a call with a larger one is recorded as lost.
        pub max_value: u32 = 64 * 1024,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        error.require(self.ttl <= DAY * 31, "ttl", self.ttl, "0 to 31 days");
        let lease = (Duration::from_millis(10)..=DAY).contains(&self.lease);
        error.require(lease, "lease", self.lease, "10 ms to 24 h");
        let lasts = self.ttl.is_zero() || self.lease <= self.ttl;
        error.require(lasts, "lease", self.lease, format!("at most ttl = {:?}", self.ttl));
        error.require(self.max_wait <= DAY, "max_wait", self.max_wait, "0 to 24 h");
        let timeout = !self.store_timeout.is_zero() && self.store_timeout <= Duration::from_hours(1);
        error.require(timeout, "store_timeout", self.store_timeout, "more than 0, at most 1 h");
        error.require(self.max_value > 0, "max_value", self.max_value, "at least 1 byte");
    }
}
