//! Chooses the best error text that the type of an outcome permits. The compiler chooses by autoref specialization, as
//! in `judge`.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use crate::error_text::{NOTHING, Words};
use crate::outcome::Outcome;

/// The type of an outcome.
#[derive(Debug)]
pub struct Describing<R>(PhantomData<fn() -> R>);

impl<R> Describing<R> {
    /// Takes the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// Writes the error text of an outcome.
pub trait Wording<R> {
    /// Writes the text of the failure.
    fn describe(self, outcome: &R, words: &mut Words);
}

/// The traits to have in scope.
pub mod describing {
    pub use super::{
        HasDebug, HasDisplay, HasErrorReference, HasLocalErrorReference, HasSources, HasType, IsNothing,
    };
}

/// The text for a value that counts as failed.
const UNACCEPTABLE: &str = "it returned a value that counts as failed";

fn describe<R: Outcome>(outcome: &R, words: &mut Words, describe: impl FnOnce(&R::Error, &mut Words)) {
    match outcome.error() {
        Some(error) => describe(error, words),
        None => words.display(&UNACCEPTABLE),
    }
}

/// The failure has no error.
pub trait IsNothing<T> {
    /// How it is described.
    fn how(&self) -> NothingWords {
        NothingWords
    }
}

impl<T> IsNothing<T> for &&&&&&Describing<Option<T>> {}

/// The wording of [`IsNothing`].
#[derive(Clone, Copy, Debug)]
pub struct NothingWords;

#[allow(clippy::ref_option)] // the outcome of a call
impl<T> Wording<Option<T>> for NothingWords {
    fn describe(self, outcome: &Option<T>, words: &mut Words) {
        words.display(if outcome.is_none() { &NOTHING } else { &UNACCEPTABLE });
    }
}

/// The error is an `Error`, with sources.
pub trait HasSources<R> {
    /// How it is described.
    fn how(&self) -> SourcesWords {
        SourcesWords
    }
}

impl<R: Outcome<Error: Error>> HasSources<R> for &&&&&Describing<R> {}

/// The wording of [`HasSources`].
#[derive(Clone, Copy, Debug)]
pub struct SourcesWords;

impl<R: Outcome<Error: Error>> Wording<R> for SourcesWords {
    fn describe(self, outcome: &R, words: &mut Words) {
        describe(outcome, words, |error, words| words.error(error));
    }
}

/// The error dereferences to an `Error`: `Box<dyn Error + Send + Sync>`, `anyhow::Error` and similar types.
pub trait HasErrorReference<R> {
    /// How it is described.
    fn how(&self) -> ErrorReferenceWords {
        ErrorReferenceWords
    }
}

impl<'a, R: Outcome<Error: AsRef<dyn Error + Send + Sync + 'a>>> HasErrorReference<R> for &&&&Describing<R> {}

/// The wording of [`HasErrorReference`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorReferenceWords;

impl<'a, R: Outcome<Error: AsRef<dyn Error + Send + Sync + 'a>>> Wording<R> for ErrorReferenceWords {
    fn describe(self, outcome: &R, words: &mut Words) {
        describe(outcome, words, |error, words| words.error(error.as_ref()));
    }
}

/// The same, for `Box<dyn Error>`.
pub trait HasLocalErrorReference<R> {
    /// How it is described.
    fn how(&self) -> LocalErrorReferenceWords {
        LocalErrorReferenceWords
    }
}

impl<'a, R: Outcome<Error: AsRef<dyn Error + 'a>>> HasLocalErrorReference<R> for &&&Describing<R> {}

/// The wording of [`HasLocalErrorReference`].
#[derive(Clone, Copy, Debug)]
pub struct LocalErrorReferenceWords;

impl<'a, R: Outcome<Error: AsRef<dyn Error + 'a>>> Wording<R> for LocalErrorReferenceWords {
    fn describe(self, outcome: &R, words: &mut Words) {
        describe(outcome, words, |error, words| words.error(error.as_ref()));
    }
}

/// The error implements `Display`.
pub trait HasDisplay<R> {
    /// How it is described.
    fn how(&self) -> DisplayWords {
        DisplayWords
    }
}

impl<R: Outcome<Error: Display>> HasDisplay<R> for &&Describing<R> {}

/// The wording of [`HasDisplay`].
#[derive(Clone, Copy, Debug)]
pub struct DisplayWords;

impl<R: Outcome<Error: Display>> Wording<R> for DisplayWords {
    fn describe(self, outcome: &R, words: &mut Words) {
        describe(outcome, words, |error, words| words.display(error));
    }
}

/// The error implements `Debug`.
pub trait HasDebug<R> {
    /// How it is described.
    fn how(&self) -> DebugWords {
        DebugWords
    }
}

impl<R: Outcome<Error: Debug>> HasDebug<R> for &Describing<R> {}

/// The wording of [`HasDebug`].
#[derive(Clone, Copy, Debug)]
pub struct DebugWords;

impl<R: Outcome<Error: Debug>> Wording<R> for DebugWords {
    fn describe(self, outcome: &R, words: &mut Words) {
        describe(outcome, words, |error, words| words.debug(error));
    }
}

/// Only the name of the error type is known.
pub trait HasType<R> {
    /// How it is described.
    fn how(&self) -> TypeWords {
        TypeWords
    }
}

impl<R> HasType<R> for Describing<R> {}

/// The wording of [`HasType`].
#[derive(Clone, Copy, Debug)]
pub struct TypeWords;

impl<R> Wording<R> for TypeWords {
    fn describe(self, _: &R, words: &mut Words) {
        words.type_of::<R>();
    }
}
