//! Finds known causes in errors of any type.

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

/// Maximum nesting of known errors that search their own sources for a cause.
const NESTED: u32 = 8;

thread_local! {
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// Counts a nested search until it is dropped.
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

/// Returns the judgement of the first known cause, starting with the error itself. A known error of class `Unknown` is
/// skipped if an inner error has a class.
#[cold]
pub(crate) fn found(error: &(dyn Error + 'static)) -> Option<Judgement> {
    let _nested = Nested::enter()?;
    let mut otherwise = None;
    for error in chain(error) {
        let judgement = match held_error::<io::Error>(error) {
            // The error inside it comes next in the chain.
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

/// Calls the macro `$each` with every known error type.
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

/// Like `known_errors`, with types that can contain any error, and with types that are not an `Error`.
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
    /// Returns [`Class::Uncertain`], because the work may have had an effect before it timed out.
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

/// Returns the judgement of an error whose type is known, or that can contain any error.
#[inline]
pub(crate) fn found_in_value<E: 'static>(error: &E) -> Option<Judgement> {
    // Decided at compile time, so an unknown type costs nothing.
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

/// Writes the text of an error if its type is known, can contain any error, or is a string. Returns whether it did.
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
    /// Writes the error of a failed outcome if its type is known or a string, and otherwise the name of its type.
    #[cold]
    pub(crate) fn outcome<R: Outcome<Error: 'static>>(&mut self, outcome: &R) {
        if !self.known_error(outcome) {
            self.type_of::<R>();
        }
    }

    /// Writes the error of a failed outcome if its type is known or a string. Returns whether it did.
    #[cold]
    pub(crate) fn known_error<R: Outcome<Error: 'static>>(&mut self, outcome: &R) -> bool {
        outcome.error().is_some_and(|error| describe_value(error, self))
    }
}
