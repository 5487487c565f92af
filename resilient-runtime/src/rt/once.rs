//! What idempotency by key needs to know of types: how an outcome is kept, and how arguments are told apart. Chosen by
//! the compiler, with the same trick as in `judge`.

use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::idempotency::{Codec, Fingerprint, Printer};

/// Stands for the type of an outcome.
#[derive(Debug)]
pub struct Codecs<R>(PhantomData<fn() -> R>);

impl<R> Codecs<R> {
    /// Of this type.
    #[allow(clippy::new_without_default)] // named in expanded code alone
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

/// Answers and errors can be kept.
pub trait KeepsErrors<R> {
    /// How.
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

/// Answers can be kept, or rustc says why not.
pub trait KeepsAnswers<T, R> {
    /// How.
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

/// A plain value, likewise.
pub trait KeepsValues<R> {
    /// How.
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

/// Outcomes can be compared: what reads back must be equal to what is saved.
pub trait ComparesOutcomes<R> {
    /// The codec that does so.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<R: PartialEq> ComparesOutcomes<R> for &&Codecs<R> {
    fn compared(&self, codec: Codec<R>) -> Codec<R> {
        codec.compared()
    }
}

/// Answers can be compared, though errors cannot.
pub trait ComparesAnswers<R> {
    /// The codec that does so.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<T: PartialEq, E> ComparesAnswers<Result<T, E>> for &Codecs<Result<T, E>> {
    fn compared(&self, codec: Codec<Result<T, E>>) -> Codec<Result<T, E>> {
        codec.answers_compared()
    }
}

/// Nothing can be compared but what is written.
pub trait ComparesNothing<R> {
    /// The codec as it is.
    fn compared(&self, codec: Codec<R>) -> Codec<R>;
}

impl<R> ComparesNothing<R> for Codecs<R> {
    fn compared(&self, codec: Codec<R>) -> Codec<R> {
        codec
    }
}

/// What can be kept and given again.
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot keep an answer of type `{Self}`, to give it again",
    label = "the answer must be `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for `{Self}`"
)]
pub trait Storable: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Storable for T {}

/// What can be told apart from another of its type.
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot tell one `{Self}` from another, to refuse a key that is used for something else",
    label = "not `Hash`",
    note = "derive `Hash` for it, or say what tells payloads apart: `fingerprint = (id, cents)`, or `fingerprint = none` where the key says it all"
)]
pub trait Print: Hash {}

impl<T: Hash + ?Sized> Print for T {}

/// The arguments of a call, as far as they were looked at.
#[derive(Clone, Copy, Debug)]
pub struct Prints(Option<Printer>);

impl Prints {
    /// Nothing is told apart.
    pub const NONE: Self = Self(None);
}

impl From<Prints> for Fingerprint {
    fn from(prints: Prints) -> Self {
        prints.0.map_or(Self::NONE, Printer::fingerprint)
    }
}

/// With one more argument.
pub fn print<T: Print + ?Sized>(prints: Prints, argument: &T) -> Prints {
    let mut printer = prints.0.unwrap_or_default();
    argument.hash(&mut printer);
    Prints(Some(printer))
}
