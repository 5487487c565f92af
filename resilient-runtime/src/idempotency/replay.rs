//! Which part of an outcome is kept, and how it becomes one again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stored::{self, Side, Stored, Unreadable};

/// An outcome whose success can be kept and given again.
///
/// ```
/// use resilient_runtime::idempotency::Replay;
///
/// let answer: Result<u32, String> = Ok(7);
/// assert_eq!(<Result<u32, String>>::replay(*answer.value().unwrap()), answer);
/// ```
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot keep the answer of a function that returns `{Self}`",
    label = "expected `Result<T, _>` or `Option<T>` with `T: Serialize + DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for the type of the answer"
)]
pub trait Replay: Sized {
    /// What is kept.
    type Value: Serialize + DeserializeOwned;

    /// It, where there is one.
    ///
    /// ```
    /// use resilient_runtime::idempotency::Replay;
    ///
    /// assert_eq!(Some(7).value(), Some(&7));
    /// assert_eq!(Err::<u32, _>("refused").value(), None, "nothing to keep");
    /// ```
    fn value(&self) -> Option<&Self::Value>;

    /// The outcome that gave this value.
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

/// What an earlier version kept: `{"ok": ..}` or `{"err": ..}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Json<V, E> {
    Ok(V),
    Err(E),
}

/// For an outcome whose errors are not kept.
#[derive(Serialize, Deserialize)]
enum Never {}

/// Whether two outcomes are equal.
type Same<R> = fn(&R, &R) -> bool;

/// How an outcome is saved and given again: in a binary form that keeps all that serde tells apart, NaN and
/// `Some(None)` included.
///
/// Each answer is read back when it is saved. One that would come back as another value is not saved, and the first
/// caller is told by [`unsaved`](crate::unsaved). A field with `#[serde(skip)]` is not stored. This is
/// noticed only where the outcome can be [`compared`](Self::compared). The attribute compares each type that is `PartialEq`.
///
/// A saved answer is given to a call of the same operation and type only. The type is known by its name without the
/// modules, the names of the types and fields inside of it, and their shape: adding a field, renaming one, or renaming
/// the type makes earlier answers unreadable ([`StoredValueMismatch`](crate::RejectionKind::StoredValueMismatch)), moving
/// it to another module does not.
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

/// What is to be saved, or why it cannot be.
pub(super) type Saved = Result<Vec<u8>, String>;

/// Saves a part of an outcome, if it gives the same outcome again.
fn save<R, V: Serialize + DeserializeOwned>(
    (side, operation, value): (Side, &str, &V),
    outcome: &R,
    again: fn(V) -> R,
    same: Option<Same<R>>,
) -> Saved {
    let (bytes, value) = stored::keep(side, operation, value)?;
    let Some(same) = same else { return Ok(bytes) };
    // What is not equal to itself, as a NaN is not, was compared by its bytes already.
    let compare = || !same(outcome, outcome) || same(outcome, &again(value));
    match catch_unwind(AssertUnwindSafe(compare)) {
        Ok(true) => Ok(bytes),
        Ok(false) => Err(format!(
            "a value of type `{}` cannot be saved: what reads back is not equal to it",
            stored::type_name::<V>()
        )),
        Err(_) => Err(format!("comparing a value of type `{}` panicked", stored::type_name::<V>())),
    }
}

/// Reads an outcome whose errors are not kept.
fn read_ok<V: Serialize + DeserializeOwned>(bytes: &[u8], operation: &str) -> Result<V, Unreadable> {
    match Stored::of(bytes, operation)? {
        Stored::Value(value) if value.side == Side::Ok => value.read(),
        Stored::Value(value) => Err(value.mismatch(&stored::type_name::<V>(), ", and no error")),
        Stored::Json(bytes) => match stored::from_json(bytes)? {
            Json::<V, Never>::Ok(value) => Ok(value),
            Json::Err(never) => match never {},
        },
    }
}

impl<R: Replay> Codec<R> {
    /// Keeps the answer of a success.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("answers");
    /// // `None` says that nothing was done, so the key is free again.
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
    /// Keeps the answer of a success and, where `keep_errors` is set, the error of a failure that would be met again.
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
    /// Keeps a plain value, of a function that cannot fail.
    ///
    /// ```
    /// # use resilient_runtime::idempotency::Codec;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static DRAWN: AtomicU32 = AtomicU32::new(0);
    /// /// The attribute takes this codec where the answer is a plain value.
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
    /// Saves an answer only if what reads back is equal to it: finds fields that the type leaves out
    /// (`#[serde(skip)]`), unless they have their default.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, idempotency::{Codec, Fingerprint, Unsaved}};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    /// struct Receipt { number: u32, #[serde(skip)] note: String }
    ///
    /// let once = Registry::new().idempotency("receipts");
    /// let receipt = Receipt { number: 7, note: "by hand".into() };
    /// let codec = Codec::answers().compared();
    /// let given = once.call_judged("7", Fingerprint::NONE, codec, || Some(receipt.clone()), Verdict::of);
    /// assert_eq!(given, Some(receipt));
    /// assert_eq!(resilient_runtime::unsaved(), Some(Unsaved::NotKeepable), "a replay would lack the note");
    /// ```
    #[must_use]
    pub fn compared(self) -> Self {
        Self { same: Some(|one, other| one == other), ..self }
    }
}

impl<T: PartialEq, E> Codec<Result<T, E>> {
    /// As [`compared`](Self::compared), for the answers alone.
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

/// A value that [`Lease::complete`](super::Lease::complete) was given, whatever its name: it may have been borrowed.
pub(super) fn read<T: Serialize + DeserializeOwned>(bytes: &[u8], operation: &str) -> Result<T, Unreadable> {
    match Stored::of(bytes, operation)? {
        Stored::Value(value) if value.side == Side::Ok => value.read_alike(),
        Stored::Value(value) => Err(value.mismatch(&stored::type_name::<T>(), ", and no error")),
        Stored::Json(bytes) => match stored::from_json(bytes)? {
            Json::<T, Never>::Ok(value) => Ok(value),
            Json::Err(never) => match never {},
        },
    }
}
