//! What an error means for retry, circuit breaker and idempotency key: the one place that decides it.

mod class;
#[cfg(any(feature = "http", feature = "tonic"))]
mod grpc;
mod io;
mod judgement;
mod known;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "http")]
mod response;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(feature = "tonic")]
mod tonic;
mod verdict;

#[cfg(feature = "http")]
pub use response::{HttpResponse, StatusError, checked};

use std::error::Error;
use std::sync::Arc;

use crate::error_chain::chain;
use crate::rejection::{Mark, Rejection, RejectionKind};

pub use class::Class;
pub use judgement::Judgement;
use known::{found, found_in_value};
pub use verdict::Verdict;

/// An error that says what it is. Implement it for your error type, and retry and circuit breaker follow.
///
/// Without it an error is judged by the first known cause in its `source()` chain ([`Class::found_in`]), and is
/// [`Class::Unknown`] where there is none. What it says is believed: an error that is `Transient`, `Overload`, `Permanent`
/// or `Ignored` frees an idempotency key.
///
/// ```
/// use resilient_runtime::{Class, Classify};
///
/// enum ApiError { Status(u16), Parse(String) }
///
/// impl Classify for ApiError {
///     fn classify(&self) -> Class {
///         match self {
///             ApiError::Status(500..) => Class::TRANSIENT,
///             ApiError::Status(_) => Class::Ignored,
///             ApiError::Parse(_) => Class::Permanent,
///         }
///     }
/// }
/// # assert_eq!(ApiError::Status(503).classify(), Class::TRANSIENT);
/// # assert_eq!(ApiError::Parse(String::new()).classify(), Class::Permanent);
/// ```
pub trait Classify {
    /// What this error is.
    ///
    /// ```
    /// use resilient_runtime::{Class, Classify, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert_eq!(refused.classify(), Class::NotExecuted { retry_after: None });
    /// ```
    fn classify(&self) -> Class;

    /// The class, and whether it is evidence: a refusal further in is none.
    #[doc(hidden)]
    fn __judged(&self) -> Judgement {
        self.classify().into()
    }
}

/// `Classify` for what holds another error that is.
macro_rules! classify_as_inner {
    ($($outer:ty),*) => {$(
        impl<E: Classify + ?Sized> Classify for $outer {
            fn classify(&self) -> Class {
                (**self).classify()
            }

            fn __judged(&self) -> Judgement {
                (**self).__judged()
            }
        }
    )*};
}

classify_as_inner!(&E, Box<E>, Arc<E>);

/// `Classify` for errors of any type: by the first known cause in the chain.
macro_rules! classify_by_chain {
    ($($(#[$about:meta])* $error:ty => |$this:ident| $first:expr;)*) => {$(
        $(#[$about])*
        impl Classify for $error {
            /// The first known cause in the chain, as [`Class::found_in`] finds it; else unknown.
            fn classify(&self) -> Class {
                let $this = self;
                Class::found_in($first).unwrap_or(Class::UNKNOWN)
            }

            fn __judged(&self) -> Judgement {
                let $this = self;
                found($first).unwrap_or(Judgement::UNKNOWN)
            }
        }
    )*};
}

classify_by_chain! {
    dyn Error => |error| error;
    dyn Error + Send => |error| error;
    dyn Error + Send + Sync => |error| error;
    #[cfg(feature = "anyhow")]
    anyhow::Error => |error| AsRef::<dyn Error>::as_ref(error);
    #[cfg(feature = "eyre")]
    eyre::Report => |error| AsRef::<dyn Error>::as_ref(error);
}

impl Classify for Rejection {
    fn classify(&self) -> Class {
        self.mark().classify()
    }

    fn __judged(&self) -> Judgement {
        self.mark().__judged()
    }
}

/// Whether the `source()` chain that starts at `first` contains a refusal that was made before anything was tried.
#[cold]
pub(crate) fn was_refused(first: &(dyn Error + 'static)) -> bool {
    chain(first).find_map(|error| error.downcast_ref::<Mark>()).is_some_and(|mark| mark.is_refusal())
}

impl Classify for Mark {
    fn classify(&self) -> Class {
        if self.is_of_retry {
            return Class::Uncertain { retry_after: self.retry_after };
        }
        match self.kind {
            // A body that needed a timer has begun. And an earlier call with the same key may have had its effect.
            RejectionKind::TotalTimeout
            | RejectionKind::AttemptTimeout
            | RejectionKind::ReadTimeout
            | RejectionKind::NoTimer
            | RejectionKind::OutcomeUnknown => Class::UNCERTAIN,
            // Nothing was sent yet.
            RejectionKind::ConnectTimeout => Class::TRANSIENT,
            // The call ran, and what it returned counts as failed.
            RejectionKind::FallbackFailed => Class::UNKNOWN,
            // It would be refused again and again: for its weight, for the caller's key, or for the way it is called.
            RejectionKind::WeightExceedsLimit
            | RejectionKind::KeyReused
            | RejectionKind::InvalidKey
            | RejectionKind::StoredValueMismatch
            | RejectionKind::Unsupported => Class::Permanent,
            // A retry would not wait for the circuit, nor add to an overload: whoever holds it knows better.
            // And another attempt would meet the same record of an idempotency key.
            RejectionKind::CircuitOpen
            | RejectionKind::Shed
            | RejectionKind::QueueTimeout
            | RejectionKind::InProgress
            | RejectionKind::NoStore => Class::NotExecuted { retry_after: None },
            RejectionKind::BulkheadFull | RejectionKind::RateLimited | RejectionKind::StoreUnavailable => {
                Class::NotExecuted { retry_after: self.retry_after }
            }
        }
    }

    fn __judged(&self) -> Judgement {
        let judgement = Judgement::from(self.classify());
        let judgement = if self.is_refusal() { judgement.refused() } else { judgement };
        match self.kind {
            RejectionKind::NoTimer
            | RejectionKind::OutcomeUnknown
            | RejectionKind::KeyReused
            | RejectionKind::InvalidKey
            | RejectionKind::StoredValueMismatch => judgement.breaker_when(false),
            _ => judgement,
        }
    }
}

#[cfg(feature = "http")]
impl Classify for http::StatusCode {
    /// 5xx is unknown, but what the server will never do (501, 505) is permanent; 408 and 425 are transient; 429 is overload;
    /// every other code is an answer.
    ///
    /// A server may have done what it was asked before it failed with 5xx, and a status knows nothing of the request. It is
    /// retried where `retry` was asked for, but frees no idempotency key; where the request must not be sent twice, give
    /// the server a key, or use what goes by the method (`ClientLayer::http` and `ReqwestMiddleware` of `resilient-http`), or
    /// say `retry(when = ..)`.
    fn classify(&self) -> Class {
        match self.as_u16() {
            429 => Class::Overload { retry_after: None },
            501 | 505 => Class::Permanent,
            408 | 425 => Class::TRANSIENT,
            500..=599 => Class::UNKNOWN,
            _ => Class::Ignored,
        }
    }
}

#[cfg(feature = "http")]
impl Classify for http::Error {
    /// A request that could not be made: ignored, the dependency was not asked.
    fn classify(&self) -> Class {
        Class::Ignored
    }
}

#[cfg(test)]
mod tests;
