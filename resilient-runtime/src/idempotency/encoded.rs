//! The stored form of results, for stores with an interface of their own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Owner;
use crate::random::Random;
use crate::replay;
use crate::stored;
use crate::stored::Unreadable;

/// A result cannot be stored or read. The text names the type and the reason.
///
/// ```
/// use resilient_runtime::idempotency::{decode_result, encode_result};
///
/// let stored = encode_result(&995_u32).unwrap();
/// let problem = decode_result::<String>(&stored).unwrap_err().to_string();
/// assert!(problem.contains("String"), "{problem}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResultError(String);

/// Serializes a result in the form that [`Lease::complete`](super::Lease::complete) stores.
///
/// Use it in a store that offers more than [`IdempotencyStore`](super::IdempotencyStore), such as records in the
/// transaction of the caller. The attribute stores results in another form, which also contains the operation.
///
/// ```
/// use resilient_runtime::idempotency::{decode_result, encode_result};
///
/// let stored = encode_result(&("L-0007", 995)).unwrap();
/// assert_eq!(decode_result::<(String, i32)>(&stored).unwrap(), ("L-0007".to_owned(), 995));
/// ```
///
/// # Errors
/// Returns an error if the value cannot be serialized.
pub fn encode_result<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ResultError> {
    stored::write(value).map_err(ResultError)
}

/// Reads a result that [`encode_result`] or [`Lease::complete`](super::Lease::complete) has written.
///
/// ```
/// use resilient_runtime::idempotency::decode_result;
///
/// assert!(decode_result::<u32>(b"something else").is_err());
/// ```
///
/// # Errors
/// Returns an error if the bytes are not a stored result, or if the type has changed since.
pub fn decode_result<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, ResultError> {
    replay::read(bytes, "").map_err(|unreadable| match unreadable {
        Unreadable::Operation(by) => ResultError(format!("the operation `{by}` stored this result")),
        Unreadable::Value(why) => ResultError(why),
    })
}

impl Owner {
    /// Creates an owner that no other call has: 128 random bits.
    ///
    /// ```
    /// use resilient_runtime::idempotency::Owner;
    ///
    /// assert_ne!(Owner::unique(), Owner::unique());
    /// ```
    #[must_use]
    pub fn unique() -> Self {
        Self(Random::new(None).unique())
    }
}
