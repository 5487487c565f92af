//! Classifies errors for retry, circuit breaker, idempotency and fallback.

mod class;
#[cfg(any(feature = "http", feature = "tonic"))]
mod grpc;
#[cfg(feature = "chaos")]
mod injected;
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

/// An error that has a [`Class`].
///
/// Implement it for your error type to control retry and circuit breaker.
///
/// An error without `Classify` is classified by the first known cause in its `source()` chain ([`Class::found_in`]). If
/// there is none, it is [`Class::Unknown`].
///
/// The class is not verified: an error that is `Transient`, `Overload`, `Permanent` or `Ignored` frees an idempotency
/// key.
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
    /// Returns the class of the error.
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

    /// Returns the class, and whether it is evidence. A rejection by an inner component is not.
    #[doc(hidden)]
    fn __judged(&self) -> Judgement {
        self.classify().into()
    }
}

/// Implements `Classify` for pointers to an error that implements it.
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

/// Implements `Classify` for errors of any type by the first known cause in the chain.
macro_rules! classify_by_chain {
    ($($(#[$about:meta])* $error:ty => |$this:ident| $first:expr;)*) => {$(
        $(#[$about])*
        impl Classify for $error {
            /// Returns the class of the first known cause in the `source()` chain ([`Class::found_in`]), or unknown.
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

/// Whether the `source()` chain that starts at `first` contains a rejection made before anything was attempted.
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
            // A body that needed a timer has begun. An earlier call with the same key may have had an effect.
            RejectionKind::TotalTimeout
            | RejectionKind::AttemptTimeout
            | RejectionKind::ReadTimeout
            | RejectionKind::NoTimer
            | RejectionKind::OutcomeUnknown => Class::UNCERTAIN,
            // Nothing was sent yet.
            RejectionKind::ConnectTimeout => Class::TRANSIENT,
            #[cfg(feature = "chaos")]
            RejectionKind::Injected => self.injected_class(),
            #[cfg(not(feature = "chaos"))]
            RejectionKind::Injected => Class::UNKNOWN,
            // The call returned a value that counts as failed.
            RejectionKind::FallbackFailed => Class::UNKNOWN,
            // Every repetition would be rejected: for its weight, its key, or the calling method.
            RejectionKind::WeightExceedsLimit
            | RejectionKind::KeyReused
            | RejectionKind::InvalidKey
            | RejectionKind::StoredValueMismatch
            | RejectionKind::Unsupported => Class::Permanent,
            // No hint: a retry must not wait for the circuit or add to an overload; the outer caller decides.
            // Another attempt would find the same idempotency record.
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
    /// Classifies a status code.
    ///
    /// | status | class |
    /// |---|---|
    /// | 408, 425 | transient |
    /// | 429 | overload |
    /// | 501, 505 | permanent |
    /// | other 5xx | unknown |
    /// | all others | ignored |
    ///
    /// A server that returns 5xx may have executed the request before it failed. A retry repeats such a request. The
    /// idempotency key of the call, if any, stays claimed. If the request must not be sent twice, send an idempotency key
    /// to the server, use a client that considers the method (`ClientLayer::http` or `ReqwestMiddleware` of
    /// `resilient-http`), or set `retry(when = ..)`.
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
    /// Returns [`Class::Ignored`]: the request could not be built, so nothing was sent.
    fn classify(&self) -> Class {
        Class::Ignored
    }
}

#[cfg(test)]
mod tests;
