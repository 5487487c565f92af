//! The causes that are known, searched for in errors of any type.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::time::error::Elapsed;

use super::io::ByKind;
use super::{Class, Classify, Judgement};
use crate::error_chain::{chain, held_error};
use crate::error_text::Words;
use crate::outcome::{FallbackFailed, Outcome};
use crate::rejection::{Mark, Rejection};

/// How many known errors that look for a cause among their own sources are entered one in another.
const NESTED: u32 = 8;

thread_local! {
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// One search inside another, until it is dropped.
struct Nested;

impl Nested {
    fn enter() -> Option<Self> {
        let nesting = NESTING.get();
        (nesting < NESTED).then(|| {
            NESTING.set(nesting + 1);
            Self
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTING.set(NESTING.get().saturating_sub(1));
    }
}

/// What the first known cause says, from the error itself inwards. A known error that says nothing is passed over, as
/// long as one further in says more.
#[cold]
pub(crate) fn found(error: &(dyn Error + 'static)) -> Option<Judgement> {
    let _nested = Nested::enter()?;
    let mut otherwise = None;
    for error in chain(error) {
        let judgement = match held_error::<io::Error>(error) {
            // What it holds comes next.
            Some(error) => match ByKind::of(error) {
                ByKind::Known(class) if !error.get_ref().is_some_and(|held| holds_refusal(held)) => {
                    class.into()
                }
                ByKind::Known(_) => continue,
                ByKind::Otherwise(Class::UNKNOWN) => Judgement::UNKNOWN,
                ByKind::Otherwise(class) => {
                    otherwise = Some(class.into());
                    continue;
                }
            },
            None => match known(error) {
                Some(judgement) => judgement,
                None => continue,
            },
        };
        if judgement != Judgement::UNKNOWN {
            return Some(judgement);
        }
        otherwise.get_or_insert(judgement);
    }
    otherwise
}

fn holds_refusal(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(<dyn Error>::is::<Mark>)
}

/// Passes every type of error that is known to the macro `$each`.
macro_rules! known_errors {
    ($each:ident) => {
        $each!(Rejection);
        $each!(io::Error);
        $each!(Elapsed);
        #[cfg(feature = "http")]
        $each!(http::Error);
        #[cfg(feature = "http")]
        $each!(super::response::StatusError);
        #[cfg(feature = "http")]
        $each!(super::response::Answer);
        #[cfg(feature = "reqwest")]
        $each!(reqwest::Error);
        #[cfg(feature = "tonic")]
        $each!(tonic::Status);
        #[cfg(feature = "sqlx")]
        $each!(sqlx::Error);
        #[cfg(feature = "redis")]
        $each!(redis::RedisError);
    };
}

/// Likewise, also those that hold an error of any type, and what is no `Error`.
macro_rules! known_values {
    ($each:ident) => {
        known_errors!($each);
        $each!(Box<dyn Error + Send + Sync>);
        $each!(Box<dyn Error + Send>);
        $each!(Box<dyn Error>);
        $each!(Arc<dyn Error + Send + Sync>);
        $each!(Arc<dyn Error>);
        #[cfg(feature = "anyhow")]
        $each!(anyhow::Error);
        #[cfg(feature = "eyre")]
        $each!(eyre::Report);
        #[cfg(feature = "http")]
        $each!(http::StatusCode);
    };
}

impl Classify for Elapsed {
    /// Cut off: uncertain.
    fn classify(&self) -> Class {
        Class::UNCERTAIN
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<Judgement> {
    if let Some(mark) = error.downcast_ref::<Mark>() {
        return Some(mark.__judged());
    }
    #[cfg(feature = "sqlx")]
    if let Some(error) = error.downcast_ref::<Box<dyn sqlx::error::DatabaseError>>() {
        return Some(super::sqlx::of_database(&**error).into());
    }
    macro_rules! look {
        ($known:ty) => {
            if let Some(judgement) = as_error::<$known>(error) {
                return Some(judgement);
            }
        };
    }
    known_errors!(look);
    None
}

fn as_error<E: Error + Classify + 'static>(error: &(dyn Error + 'static)) -> Option<Judgement> {
    held_error::<E>(error).map(Classify::__judged)
}

/// The judgement found in an error whose type is known to this crate, or which wraps an error of any type.
#[inline]
pub(crate) fn found_in_value<E: 'static>(error: &E) -> Option<Judgement> {
    // By constants: a type that is not known costs nothing.
    if is_known::<E>() { look_into(error) } else { None }
}

#[inline]
fn is_known<E: 'static>() -> bool {
    macro_rules! look {
        ($known:ty) => {
            if is_of::<E, $known>() {
                return true;
            }
        };
    }
    known_values!(look);
    is_of::<E, FallbackFailed>()
}

#[inline]
fn is_of<E: 'static, K: 'static>() -> bool {
    let id = TypeId::of::<E>();
    id == TypeId::of::<K>() || id == TypeId::of::<Arc<K>>() || id == TypeId::of::<Box<K>>()
}

#[cold]
fn look_into(error: &dyn Any) -> Option<Judgement> {
    macro_rules! look {
        ($known:ty) => {
            if let Some(judgement) = as_value::<$known>(error) {
                return Some(judgement);
            }
        };
    }
    known_values!(look);
    found(error.downcast_ref::<FallbackFailed>()?)
}

fn as_value<E: Classify + 'static>(error: &dyn Any) -> Option<Judgement> {
    held_value::<E>(error).map(Classify::__judged)
}

fn held_value<E: 'static>(value: &dyn Any) -> Option<&E> {
    value
        .downcast_ref::<E>()
        .or_else(|| value.downcast_ref::<Arc<E>>().map(|value| &**value))
        .or_else(|| value.downcast_ref::<Box<E>>().map(|value| &**value))
}

/// Puts an error in words whose type is known to this crate, which wraps an error of any type, or which is a string. Whether
/// it is one of these.
#[cold]
fn describe_value<E: 'static>(error: &E, words: &mut Words) -> bool {
    let error: &dyn Any = error;
    macro_rules! look {
        ($known:ty) => {
            look!($known, |error| words.error(error));
        };
        ($known:ty, |$error:ident| $say:expr) => {
            if let Some($error) = held_value::<$known>(error) {
                $say;
                return true;
            }
        };
    }
    known_errors!(look);
    look!(FallbackFailed);
    look!(Box<dyn Error + Send + Sync>, |error| words.error(&**error));
    look!(Box<dyn Error + Send>, |error| words.error(&**error));
    look!(Box<dyn Error>, |error| words.error(&**error));
    look!(Arc<dyn Error + Send + Sync>, |error| words.error(&**error));
    look!(Arc<dyn Error>, |error| words.error(&**error));
    #[cfg(feature = "anyhow")]
    look!(anyhow::Error, |error| words.error(error.as_ref()));
    #[cfg(feature = "eyre")]
    look!(eyre::Report, |error| words.error(error.as_ref()));
    #[cfg(feature = "http")]
    look!(http::StatusCode, |status| words.display(status));
    look!(String, |text| words.display(text));
    look!(&'static str, |text| words.display(text));
    false
}

impl Words {
    /// The error of a failed outcome, where its type is known or a string; else the name of its type.
    #[cold]
    pub(crate) fn outcome<R: Outcome<Error: 'static>>(&mut self, outcome: &R) {
        if !self.known_error(outcome) {
            self.type_of::<R>();
        }
    }

    /// The error of a failed outcome, where its type is known or a string; else nothing, and `false`.
    #[cold]
    pub(crate) fn known_error<R: Outcome<Error: 'static>>(&mut self, outcome: &R) -> bool {
        outcome.error().is_some_and(|error| describe_value(error, self))
    }
}
