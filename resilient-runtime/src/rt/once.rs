//! Finds out what types permit for idempotency: how an outcome is stored, and how payloads are compared.
//!
//! The compiler chooses by autoref specialization, as in `judge`.

use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::idempotency::{Codec, Fingerprint, Printer};

/// The type of an outcome.
#[derive(Debug)]
pub struct Codecs<R>(PhantomData<fn() -> R>);

impl<R> Codecs<R> {
    /// Makes it for the type `R`.
    #[allow(clippy::new_without_default)] // used only in generated code
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// The traits to have in scope.
pub mod keeping {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{
        ComparesAnswers as _, ComparesNothing as _, ComparesOutcomes as _, KeepsAnswers as _,
        KeepsErrors as _, KeepsValues as _,
    };
}

/// Both success values and errors can be stored.
pub trait KeepsErrors<R> {
    /// Returns the codec.
    fn codec(&self) -> Codec<R>;
}

impl<T, E> KeepsErrors<Result<T, E>> for &&Codecs<Result<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    fn codec(&self) -> Codec<Result<T, E>> {
        Codec::answers_and_errors()
    }
}

/// Success values can be stored; otherwise rustc reports why not.
pub trait KeepsAnswers<T, R> {
    /// Returns the codec.
    fn codec(&self) -> Codec<R>
    where
        T: Storable;
}

impl<T, E> KeepsAnswers<T, Result<T, E>> for &Codecs<Result<T, E>> {
    fn codec(&self) -> Codec<Result<T, E>>
    where
        T: Storable,
    {
        Codec::answers()
    }
}

impl<T> KeepsAnswers<T, Option<T>> for &Codecs<Option<T>> {
    fn codec(&self) -> Codec<Option<T>>
    where
        T: Storable,
    {
        Codec::answers()
    }
}

/// The same, for a plain value.
pub trait KeepsValues<R> {
    /// Returns the codec.
    fn codec(&self) -> Codec<R>
    where
        R: Storable;
}

impl<R> KeepsValues<R> for Codecs<R> {
    fn codec(&self) -> Codec<R>
    where
        R: Storable,
    {
        Codec::plain()
    }
}

/// Outcomes implement `PartialEq`: the value that is read back must equal the stored value.
pub trait ComparesOutcomes<R> {
    /// Returns the codec with the comparison.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<R: PartialEq> ComparesOutcomes<R> for &&Codecs<R> {
    fn compared(&self, codec: Codec<R>) -> Codec<R> {
        codec.compared()
    }
}

/// Success values implement `PartialEq`, but errors do not.
pub trait ComparesAnswers<R> {
    /// Returns the codec with the comparison.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<T: PartialEq, E> ComparesAnswers<Result<T, E>> for &Codecs<Result<T, E>> {
    fn compared(&self, codec: Codec<Result<T, E>>) -> Codec<Result<T, E>> {
        codec.answers_compared()
    }
}

/// Only the serialized form can be compared.
pub trait ComparesNothing<R> {
    /// Returns the codec unchanged.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<R> ComparesNothing<R> for Codecs<R> {
    fn compared(&self, codec: Codec<R>) -> Codec<R> {
        codec
    }
}

/// A value that can be stored and replayed.
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot store a result of type `{Self}`",
    label = "the result must be `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for `{Self}`"
)]
pub trait Storable: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Storable for T {}

/// A value that can be part of a fingerprint.
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot compare payloads of type `{Self}` to detect a reused key",
    label = "not `Hash`",
    note = "derive `Hash` for it, or set the fingerprint: `fingerprint = (id, cents)`, or `fingerprint = none` if the key identifies the payload"
)]
pub trait Print: Hash {}

impl<T: Hash + ?Sized> Print for T {}

/// A hasher of the arguments of a call.
#[derive(Clone, Copy, Debug)]
pub struct Prints(Option<Printer>);

impl Prints {
    /// No fingerprint: payloads are not compared.
    pub const NONE: Self = Self(None);
}

impl From<Prints> for Fingerprint {
    fn from(prints: Prints) -> Self {
        prints.0.map_or(Self::NONE, Printer::fingerprint)
    }
}

/// Adds an argument.
pub fn print<T: Print + ?Sized>(prints: Prints, argument: &T) -> Prints {
    let mut printer = prints.0.unwrap_or_default();
    argument.hash(&mut printer);
    Prints(Some(printer))
}
