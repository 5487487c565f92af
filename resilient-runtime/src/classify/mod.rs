//! What an error means for retry and circuit breaker.

#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "http")]
mod response;
#[cfg(feature = "tonic")]
mod tonic;

#[cfg(feature = "http")]
pub use response::{HttpResponse, StatusError, checked};

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::rejection::{Mark, Rejection, RejectionKind};

/// What kind of failure an error is.
///
/// | class | retried | the circuit breaker sees | fallback |
/// |---|---|---|---|
/// | `Transient` | yes | a failure | yes |
/// | `Uncertain` | only where the function is `idempotent` | a failure | yes |
/// | `Overload` | yes, after its hint | a failure, the hint lengthens the open period | yes |
/// | `Permanent` | no | a failure | yes |
/// | `Ignored` | no | nothing | no |
/// | `NotExecuted` | only after its hint | nothing | yes |
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use resilient::{Class, Classify};
///
/// let broken_on_the_way = Error::from(ErrorKind::ConnectionReset);
/// assert_eq!(broken_on_the_way.classify(), Class::Uncertain { retry_after: None });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Another attempt may succeed, and this one had no effect.
    Transient {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// Another attempt may succeed, but this one may have had its effect: the connection broke after the
    /// request was sent, or time ran out.
    Uncertain {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// The other side has too much to do.
    Overload {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// The dependency failed, and would fail again.
    Permanent,
    /// The caller's own mistake: an answer like any other, and no evidence against the dependency.
    Ignored,
    /// Refused on this side before anything was sent.
    NotExecuted {
        /// When another call has a chance.
        retry_after: Option<Duration>,
    },
}

impl Class {
    /// A transient failure without a hint.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };

    /// An uncertain failure without a hint.
    pub const UNCERTAIN: Self = Self::Uncertain { retry_after: None };

    /// What is known of the first error in a chain that is one of the network, or a refusal of a stage further in.
    ///
    /// ```
    /// use std::io;
    /// use resilient::Class;
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("no rates today")]
    /// struct NoRates(#[source] io::Error);
    ///
    /// let error = NoRates(io::ErrorKind::ConnectionRefused.into());
    /// assert_eq!(Class::found_in(&error), Some(Class::TRANSIENT));
    /// assert_eq!(Class::found_in(&NoRates(io::Error::other("a riddle"))), None);
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        chain.find_map(|error| match error.downcast_ref::<Rejection>() {
            Some(rejection) => Some(rejection.classify()),
            None => {
                #[cfg(feature = "http")]
                if let Some(answer) = error.downcast_ref::<response::Answer>() {
                    return Some(answer.class);
                }
                let error = error.downcast_ref::<io::Error>()?;
                let class = error.classify();
                // One of no kind says nothing, but may hold one that does.
                (error.kind() != io::ErrorKind::Other || class != Self::Permanent).then_some(class)
            }
        })
    }

    /// Whether another attempt, made at the same time, may do better.
    pub(crate) const fn is_worth_another(self) -> bool {
        matches!(self, Self::Transient { retry_after: None } | Self::Uncertain { retry_after: None })
    }

    /// The other side's wish, where it gave one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient::Class;
    ///
    /// let busy = Class::Overload { retry_after: Some(Duration::from_secs(3)) };
    /// assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
    /// assert_eq!(Class::Permanent.retry_after(), None);
    /// ```
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after }
            | Self::Uncertain { retry_after }
            | Self::Overload { retry_after }
            | Self::NotExecuted { retry_after } => retry_after,
            Self::Permanent | Self::Ignored => None,
        }
    }
}

/// An error that says what it is. Implement it for your error type, and retry and circuit breaker follow.
///
/// Without it every error is [`Class::TRANSIENT`], except that a [`Rejection`] in the error's `source()`
/// chain is recognised.
///
/// ```
/// use resilient::{Class, Classify};
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
    /// use resilient::{Class, Classify, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert_eq!(refused.classify(), Class::NotExecuted { retry_after: None });
    /// ```
    fn classify(&self) -> Class;
}

impl<E: Classify + ?Sized> Classify for &E {
    fn classify(&self) -> Class {
        (**self).classify()
    }
}

impl<E: Classify + ?Sized> Classify for Box<E> {
    fn classify(&self) -> Class {
        (**self).classify()
    }
}

impl Classify for Rejection {
    fn classify(&self) -> Class {
        self.mark().classify()
    }
}

impl Classify for Mark {
    fn classify(&self) -> Class {
        match self.kind {
            RejectionKind::TotalTimeout | RejectionKind::AttemptTimeout | RejectionKind::ReadTimeout => {
                Class::UNCERTAIN
            }
            // Nothing was sent yet.
            // Or the call ran, and what it returned counts as failed.
            RejectionKind::ConnectTimeout | RejectionKind::FallbackFailed => Class::TRANSIENT,
            // It would be refused again and again.
            RejectionKind::WeightExceedsLimit => Class::Permanent,
            // A retry would not wait for the circuit, nor add to an overload: whoever holds it knows better.
            // And another attempt would meet the same record of an idempotency key.
            RejectionKind::CircuitOpen
            | RejectionKind::Shed
            | RejectionKind::QueueTimeout
            | RejectionKind::KeyReused
            | RejectionKind::InvalidKey
            | RejectionKind::StoredValueMismatch
            | RejectionKind::InProgress
            | RejectionKind::NoStore
            | RejectionKind::OutcomeUnknown => Class::NotExecuted { retry_after: None },
            RejectionKind::BulkheadFull
            | RejectionKind::RateLimited
            | RejectionKind::StoreUnavailable
            | RejectionKind::NoTimer => Class::NotExecuted { retry_after: self.retry_after },
        }
    }
}

impl Classify for io::Error {
    /// Not sent: transient. Broken on the way: uncertain. A [`Rejection`] inside: as it says. Else: permanent.
    fn classify(&self) -> Class {
        use io::ErrorKind;
        if let Some(rejection) = self.get_ref().and_then(|inner| inner.downcast_ref::<Rejection>()) {
            return rejection.classify();
        }
        match self.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NotConnected
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::ResourceBusy => Class::TRANSIENT,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::UnexpectedEof => Class::UNCERTAIN,
            _ => Class::Permanent,
        }
    }
}

#[cfg(feature = "http")]
impl Classify for http::StatusCode {
    /// 5xx, 408 and 425 are transient, but what the server will never do (501, 505) is permanent; 429 is overload; every
    /// other code is an answer.
    ///
    /// A server may have done what it was asked before it failed with 5xx, and a status knows nothing of the request: where
    /// that must not be done twice, give the server a key, or use what goes by the method (`ClientLayer::http` and
    /// `ReqwestMiddleware` of `resilient-http`), or say `retry(when = ..)`.
    fn classify(&self) -> Class {
        match self.as_u16() {
            429 => Class::Overload { retry_after: None },
            501 | 505 => Class::Permanent,
            408 | 425 | 500..=599 => Class::TRANSIENT,
            _ => Class::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_tells_what_was_surely_not_sent_from_what_may_have_been() {
        // T33
        use std::io::{Error, ErrorKind};
        assert_eq!(Error::from(ErrorKind::ConnectionRefused).classify(), Class::TRANSIENT);
        assert_eq!(Error::from(ErrorKind::ConnectionReset).classify(), Class::UNCERTAIN);
        assert_eq!(Error::from(ErrorKind::PermissionDenied).classify(), Class::Permanent);
        let open = Rejection::new(RejectionKind::CircuitOpen, "db");
        assert_eq!(Error::from(open).classify(), Class::NotExecuted { retry_after: None });
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_status_code_is_retried_when_the_server_failed_and_not_when_the_caller_did() {
        let class = |code: u16| http::StatusCode::from_u16(code).unwrap().classify();
        for code in [500, 502, 503, 504, 408, 425] {
            assert_eq!(class(code), Class::TRANSIENT, "{code}");
        }
        for code in [400, 401, 403, 404, 409, 422] {
            assert_eq!(class(code), Class::Ignored, "{code}");
        }
        assert_eq!(class(429), Class::Overload { retry_after: None });
        assert_eq!((class(501), class(505)), (Class::Permanent, Class::Permanent));
    }
}
