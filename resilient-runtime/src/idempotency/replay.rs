//! Which part of an outcome is kept, and how it becomes one again.

use std::cell::Cell;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An outcome whose success can be kept and given again.
///
/// ```
/// use resilient::idempotency::Replay;
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
    /// use resilient::idempotency::Replay;
    ///
    /// assert_eq!(Some(7).value(), Some(&7));
    /// assert_eq!(Err::<u32, _>("refused").value(), None, "nothing to keep");
    /// ```
    fn value(&self) -> Option<&Self::Value>;

    /// The outcome that gave this value.
    ///
    /// ```
    /// use resilient::idempotency::Replay;
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

/// What is in a record: `{"ok": ..}` or `{"err": ..}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept<V, E> {
    Ok(V),
    Err(E),
}

/// Of an outcome whose errors are not kept.
#[derive(Serialize, Deserialize)]
enum Never {}

/// How an outcome is kept and given again, as JSON. What JSON does not tell apart is not told apart either: for
/// `Option<Option<T>>` inside of an answer, `Some(None)` comes back as `None`.
///
/// ```
/// use resilient::{Registry, Verdict, idempotency::{Codec, Fingerprint}};
///
/// let once = Registry::new().idempotency("quote");
/// let quote = |cents: u32| {
///     once.call_judged("7", Fingerprint::NONE, Codec::answers(), || Some(cents), Verdict::of)
/// };
/// assert_eq!((quote(995), quote(1)), (Some(995), Some(995)));
/// ```
pub struct Codec<R> {
    keep: fn(&R) -> Option<serde_json::Result<Vec<u8>>>,
    read: fn(&[u8]) -> serde_json::Result<R>,
    has_errors: bool,
}

impl<R: Replay> Codec<R> {
    /// Keeps the answer of a success.
    ///
    /// ```
    /// use resilient::{Component, Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("answers");
    /// let ask = |answer: Option<u32>| {
    ///     once.call_judged("7", Fingerprint::NONE, Codec::answers(), || answer, Verdict::of)
    /// };
    /// assert_eq!((ask(None), ask(Some(7)), ask(Some(8))), (None, Some(7), Some(7)));
    /// ```
    pub fn answers() -> Self {
        Self {
            keep: |outcome| outcome.value().map(|value| serde_json::to_vec(&Kept::<_, Never>::Ok(value))),
            read: |bytes| match serde_json::from_slice(bytes)? {
                Kept::<_, Never>::Ok(value) => Ok(R::replay(value)),
                Kept::Err(never) => match never {},
            },
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
    /// use resilient::{Class, Registry, Rejection, Verdict, idempotency::{Codec, Config, Fingerprint}};
    /// # use resilient::{Component, FromRejection};
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
            keep: |outcome| {
                Some(serde_json::to_vec(&match outcome {
                    Ok(value) => Kept::Ok(value),
                    Err(error) => Kept::Err(error),
                }))
            },
            read: |bytes| {
                Ok(match serde_json::from_slice(bytes)? {
                    Kept::Ok(value) => Ok(value),
                    Kept::Err(error) => Err(error),
                })
            },
            has_errors: true,
        }
    }
}

impl<R: Serialize + DeserializeOwned> Codec<R> {
    /// Keeps a plain value, of a function that cannot fail.
    ///
    /// ```
    /// # use resilient::idempotency::Codec;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static DRAWN: AtomicU32 = AtomicU32::new(0);
    /// /// The attribute takes this codec where the answer is a plain value.
    /// #[resilient::resilient(idempotent(key = visitor), fallback(default = 0))]
    /// fn number(visitor: &str) -> u32 {
    ///     DRAWN.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    /// assert_eq!((number("ada"), number("bob"), number("ada")), (1, 2, 1));
    /// # let _: Codec<u32> = Codec::plain();
    /// ```
    pub fn plain() -> Self {
        Self {
            keep: |value| Some(serde_json::to_vec(&Kept::<_, Never>::Ok(value))),
            read: |bytes| match serde_json::from_slice(bytes)? {
                Kept::<_, Never>::Ok(value) => Ok(value),
                Kept::Err(never) => match never {},
            },
            has_errors: false,
        }
    }
}

impl<R> Codec<R> {
    pub(super) fn keep(self, outcome: &R) -> Option<serde_json::Result<Vec<u8>>> {
        (self.keep)(outcome)
    }

    pub(super) fn read(self, bytes: &[u8]) -> serde_json::Result<R> {
        (self.read)(bytes)
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

/// A value as [`Codec::answers`] keeps it.
pub(super) fn keep<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Kept::<_, Never>::Ok(value))
}

/// And as it reads it.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    match serde_json::from_slice(bytes)? {
        Kept::<_, Never>::Ok(value) => Ok(value),
        Kept::Err(never) => match never {},
    }
}

thread_local! {
    static REPLAYED: Cell<bool> = const { Cell::new(false) };
}

/// How the last idempotent call on this thread ended.
pub(super) fn mark(replayed: bool) {
    REPLAYED.set(replayed);
}

/// Whether the idempotent call that ended last on this thread was not carried out, but got the answer of an earlier one
/// with its key. Ask right behind the call: behind the next `.await`, other calls may have ended here.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient::{Registry, Rejection, idempotency::Fingerprint};
///
/// let once = Registry::new().idempotency("charge");
/// let charge = async || once.call_async("order 7", Fingerprint::NONE, async || Ok::<_, Rejection>(995)).await;
/// assert_eq!(charge().await, Ok(995));
/// assert!(!resilient::replayed());
/// assert_eq!(charge().await, Ok(995));
/// assert!(resilient::replayed());
/// # }
/// ```
pub fn replayed() -> bool {
    REPLAYED.get()
}
