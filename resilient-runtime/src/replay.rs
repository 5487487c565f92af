//! Codecs: which part of an outcome is stored and how the outcome is rebuilt.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::stored::{self, Side, Stored, Unreadable};

/// An outcome whose success can be stored and replayed.
///
/// ```
/// use resilient_runtime::idempotency::Replay;
///
/// let outcome: Result<u32, String> = Ok(7);
/// assert_eq!(<Result<u32, String>>::replay(*outcome.value().unwrap()), outcome);
/// ```
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot store the result of a function that returns `{Self}`",
    label = "expected `Result<T, _>` or `Option<T>` with `T: Serialize + DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for the type of the result"
)]
pub trait Replay: Sized {
    /// The type of the stored value.
    type Value: Serialize + DeserializeOwned;

    /// Returns the value to store, or `None` if the outcome is a failure.
    ///
    /// ```
    /// use resilient_runtime::idempotency::Replay;
    ///
    /// assert_eq!(Some(7).value(), Some(&7));
    /// assert_eq!(Err::<u32, _>("refused").value(), None, "nothing to store");
    /// ```
    fn value(&self) -> Option<&Self::Value>;

    /// Rebuilds the outcome from its stored value.
    ///
    /// ```
    /// use resilient_runtime::idempotency::Replay;
    ///
    /// assert_eq!(<Option<u32>>::replay(7), Some(7));
    /// ```
    fn replay(value: Self::Value) -> Self;
}

impl<T: Serialize + DeserializeOwned, E> Replay for Result<T, E> {
    type Value = T;

    fn value(&self) -> Option<&T> {
        self.as_ref().ok()
    }

    fn replay(value: T) -> Self {
        Ok(value)
    }
}

impl<T: Serialize + DeserializeOwned> Replay for Option<T> {
    type Value = T;

    fn value(&self) -> Option<&T> {
        self.as_ref()
    }

    fn replay(value: T) -> Self {
        Some(value)
    }
}

/// The JSON form that an earlier version stored: `{"ok": ..}` or `{"err": ..}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Json<V, E> {
    Ok(V),
    Err(E),
}

/// The error type of an outcome whose errors are not stored.
#[derive(Serialize, Deserialize)]
enum Never {}

/// Whether two outcomes are equal.
type Same<R> = fn(&R, &R) -> bool;

/// Serializes outcomes for the store and rebuilds them.
///
/// The binary form preserves everything that serde can tell apart, for example NaN and `Some(None)`.
///
/// Each result is read back before it is stored. A result that would read back as a different value is not stored, and
/// [`unsaved`](crate::unsaved) reports it to the first caller. A field with `#[serde(skip)]` is not stored; this is
/// only detected if the outcomes are [`compared`](Self::compared). The attribute compares every type that is
/// `PartialEq`.
///
/// A stored result is only replayed to a call with the same operation and type. The type is identified by its name
/// without modules, the names of the types and fields in it, and their shape. Adding or renaming a field or renaming
/// the type makes stored results unreadable ([`StoredValueMismatch`](crate::RejectionKind::StoredValueMismatch));
/// moving the type to another module does not.
///
/// ```
/// use resilient_runtime::{Registry, Verdict, idempotency::{Codec, Fingerprint}};
///
/// let once = Registry::new().idempotency("quote");
/// let quote = |cents: u32| {
///     once.call_judged("7", Fingerprint::NONE, Codec::answers(), || Some(cents), Verdict::of)
/// };
/// assert_eq!((quote(995), quote(1)), (Some(995), Some(995)));
/// ```
pub struct Codec<R> {
    keep: fn(&R, &str, Option<Same<R>>) -> Option<Saved>,
    read: fn(&[u8], &str) -> Result<R, Unreadable>,
    same: Option<Same<R>>,
    has_errors: bool,
}

/// The bytes to store, or why the value cannot be stored.
pub(super) type Saved = Result<Vec<u8>, String>;

/// Serializes a part of an outcome, if it can be rebuilt exactly.
fn save<R, V: Serialize + DeserializeOwned>(
    (side, operation, value): (Side, &str, &V),
    outcome: &R,
    again: fn(V) -> R,
    same: Option<Same<R>>,
) -> Saved {
    let (bytes, value) = stored::keep(side, operation, value)?;
    let Some(same) = same else { return Ok(bytes) };
    // A value that is not equal to itself, such as a NaN, was already compared by its bytes.
    let compare = || !same(outcome, outcome) || same(outcome, &again(value));
    match catch_unwind(AssertUnwindSafe(compare)) {
        Ok(true) => Ok(bytes),
        Ok(false) => Err(format!(
            "a value of type `{}` cannot be saved: the value read back is not equal to it",
            stored::type_name::<V>()
        )),
        Err(_) => Err(format!("comparing a value of type `{}` panicked", stored::type_name::<V>())),
    }
}

/// Reads an outcome whose errors are not stored.
fn read_ok<V: Serialize + DeserializeOwned>(bytes: &[u8], operation: &str) -> Result<V, Unreadable> {
    match Stored::of(bytes, operation)? {
        Stored::Value(value) if value.side == Side::Ok => value.read(),
        Stored::Value(value) => Err(value.mismatch(&stored::type_name::<V>(), ", not an error")),
        Stored::Json(bytes) => match stored::from_json(bytes)? {
            Json::<V, Never>::Ok(value) => Ok(value),
            Json::Err(never) => match never {},
        },
    }
}

impl<R: Replay> Codec<R> {
    /// Creates a codec that stores successful results.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("answers");
    /// // `None` means that nothing was done, so the key is free again.
    /// let judge = |answer: &Option<u32>| answer.map_or(Verdict::Failure(Class::Permanent), |_| Verdict::Success);
    /// let ask = |answer: Option<u32>| {
    ///     once.call_judged("7", Fingerprint::NONE, Codec::answers(), || answer, judge)
    /// };
    /// assert_eq!((ask(None), ask(Some(7)), ask(Some(8))), (None, Some(7), Some(7)));
    /// ```
    pub fn answers() -> Self {
        Self {
            keep: |outcome, operation, same| {
                let value = outcome.value()?;
                Some(save((Side::Ok, operation, value), outcome, R::replay, same))
            },
            read: |bytes, operation| read_ok(bytes, operation).map(R::replay),
            same: None,
            has_errors: false,
        }
    }
}

impl<T, E> Codec<Result<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// Creates a codec that stores successful results and permanent errors.
    ///
    /// Errors are only stored if the `keep_errors` setting is on.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Rejection, Verdict, idempotency::{Codec, Config, Fingerprint}};
    /// # use resilient_runtime::{Component, FromRejection};
    /// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// # enum PayError { NoFunds, Refused }
    /// # impl From<Rejection> for PayError { fn from(_: Rejection) -> Self { Self::Refused } }
    ///
    /// let once = Registry::new().idempotency("pay");
    /// once.reconfigure(Config::default().keep_errors(true)).unwrap();
    /// let permanent = |paid: &Result<u32, PayError>| match paid {
    ///     Ok(_) => Verdict::Success,
    ///     Err(_) => Verdict::Failure(Class::Permanent),
    /// };
    /// let pay = |answer| once.call_judged("7", Fingerprint::NONE, Codec::answers_and_errors(), || answer, permanent);
    /// assert_eq!(pay(Err(PayError::NoFunds)), Err(PayError::NoFunds));
    /// assert_eq!(pay(Ok(995)), Err(PayError::NoFunds));
    /// ```
    pub fn answers_and_errors() -> Self {
        Self {
            keep: |outcome, operation, same| {
                Some(match outcome {
                    Ok(value) => save((Side::Ok, operation, value), outcome, Ok, same),
                    Err(error) => save((Side::Err, operation, error), outcome, Err, same),
                })
            },
            read: |bytes, operation| match Stored::of(bytes, operation)? {
                Stored::Value(value) if value.side == Side::Ok => value.read().map(Ok),
                Stored::Value(value) => value.read().map(Err),
                Stored::Json(bytes) => Ok(match stored::from_json(bytes)? {
                    Json::Ok(value) => Ok(value),
                    Json::Err(error) => Err(error),
                }),
            },
            same: None,
            has_errors: true,
        }
    }
}

impl<R: Serialize + DeserializeOwned> Codec<R> {
    /// Creates a codec for the plain result of a function that cannot fail.
    ///
    /// ```
    /// # use resilient_runtime::idempotency::Codec;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static DRAWN: AtomicU32 = AtomicU32::new(0);
    /// /// The attribute uses this codec for a plain result.
    /// #[resilient_runtime::resilient(idempotent(key = visitor), fallback(default = 0))]
    /// fn number(visitor: &str) -> u32 {
    ///     DRAWN.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    /// assert_eq!((number("ada"), number("bob"), number("ada")), (1, 2, 1));
    /// # let _: Codec<u32> = Codec::plain();
    /// ```
    pub fn plain() -> Self {
        Self {
            keep: |value, operation, same| {
                Some(save((Side::Ok, operation, value), value, std::convert::identity, same))
            },
            read: read_ok,
            same: None,
            has_errors: false,
        }
    }
}

impl<R: PartialEq> Codec<R> {
    /// Stores a result only if the value read back is equal to it.
    ///
    /// This detects fields that the type does not serialize (`#[serde(skip)]`), unless they have their default value.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, idempotency::{Codec, Fingerprint, Unsaved}};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    /// struct Receipt { number: u32, #[serde(skip)] note: String }
    ///
    /// let once = Registry::new().idempotency("receipts");
    /// let receipt = Receipt { number: 7, note: "gift".into() };
    /// let codec = Codec::answers().compared();
    /// let result = once.call_judged("7", Fingerprint::NONE, codec, || Some(receipt.clone()), Verdict::of);
    /// assert_eq!(result, Some(receipt));
    /// assert_eq!(resilient_runtime::unsaved(), Some(Unsaved::NotKeepable), "a replay would lack the note");
    /// ```
    #[must_use]
    pub fn compared(self) -> Self {
        Self { same: Some(|one, other| one == other), ..self }
    }
}

impl<T: PartialEq, E> Codec<Result<T, E>> {
    /// Like [`compared`](Self::compared), for successful results only.
    pub(crate) fn answers_compared(self) -> Self {
        let same = |one: &Result<T, E>, other: &Result<T, E>| match (one, other) {
            (Ok(one), Ok(other)) => one == other,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        Self { same: Some(same), ..self }
    }
}

impl<R> Codec<R> {
    pub(super) fn keep(self, outcome: &R, operation: &str) -> Option<Saved> {
        (self.keep)(outcome, operation, self.same)
    }

    pub(super) fn read(self, bytes: &[u8], operation: &str) -> Result<R, Unreadable> {
        (self.read)(bytes, operation)
    }

    pub(super) fn has_errors(self) -> bool {
        self.has_errors
    }
}

impl<R> Clone for Codec<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Codec<R> {}

impl<R> fmt::Debug for Codec<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("has_errors", &self.has_errors).finish_non_exhaustive()
    }
}

/// Reads a value that was passed to [`Lease::complete`](crate::idempotency::Lease::complete). Its type name is not compared, because
/// the value may have been borrowed.
pub(super) fn read<T: Serialize + DeserializeOwned>(bytes: &[u8], operation: &str) -> Result<T, Unreadable> {
    match Stored::of(bytes, operation)? {
        Stored::Value(value) if value.side == Side::Ok => value.read_alike(),
        Stored::Value(value) => Err(value.mismatch(&stored::type_name::<T>(), ", not an error")),
        Stored::Json(bytes) => match stored::from_json(bytes)? {
            Json::<T, Never>::Ok(value) => Ok(value),
            Json::Err(never) => match never {},
        },
    }
}
