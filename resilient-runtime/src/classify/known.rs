//! The causes that are known, searched for in errors of any type.

use std::any::{Any, TypeId};
use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::time::error::Elapsed;

use super::Classify;
use crate::fallback::FallbackFailed;
use crate::outcome::Judgement;
use crate::rejection::{Mark, Rejection};

/// How many sources are looked at: an error can be made so that it is its own source.
const DEEPEST: usize = 128;

/// What the first known cause says, from the error itself inwards. A known error that says nothing is passed over, as
/// long as one further in says more.
#[cold]
pub(crate) fn found(error: &(dyn Error + 'static)) -> Option<Judgement> {
    let mut unknown = None;
    for error in std::iter::successors(Some(error), |&error| error.source()).take(DEEPEST) {
        match known(error) {
            Some(Judgement::UNKNOWN) => unknown = Some(Judgement::UNKNOWN),
            Some(judgement) => return Some(judgement),
            None => {}
        }
    }
    unknown
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
    fn classify(&self) -> super::Class {
        super::Class::UNCERTAIN
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<Judgement> {
    if let Some(mark) = error.downcast_ref::<Mark>() {
        return Some(mark.__judged());
    }
    // The source of an `Arc` is that of what it holds.
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return found(&**shared);
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
    error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Arc<E>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<E>>().map(|error| &**error))
        .map(Classify::__judged)
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
    error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Arc<E>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<E>>().map(|error| &**error))
        .map(Classify::__judged)
}
