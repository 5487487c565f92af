//! Handles the value of `key = ..`: a key, or an `Option` of one, in which `None` means that the call has no key.
//!
//! The compiler chooses by autoref specialization, as in `judge`.

use std::fmt::Display;
use std::hash::Hash;

use crate::coalesce::Lead;
use crate::fallback::Seen;
use crate::outcome::Outcome;
use crate::pipeline::Call;
use crate::pipeline::stages::coalesce::Shared;
use crate::rejection::Rejection;

/// A value given as a key.
#[derive(Debug)]
pub struct KeyOf<'k, K: ?Sized>(pub &'k K);

/// The traits to have in scope.
pub mod keying {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{IsBorrowedOption as _, IsKey as _, IsOption as _};
}

/// The value is an `Option`.
pub trait IsOption<'k, K> {
    /// Returns the key, if there is one.
    fn key(&self) -> Option<&'k K>;
}

impl<'k, K> IsOption<'k, K> for &&KeyOf<'k, Option<K>> {
    #[inline]
    fn key(&self) -> Option<&'k K> {
        self.0.as_ref()
    }
}

/// The same, for an argument passed by reference.
pub trait IsBorrowedOption<'k, K> {
    /// Returns the key, if there is one.
    fn key(&self) -> Option<&'k K>;
}

impl<'k, K> IsBorrowedOption<'k, K> for &KeyOf<'k, &Option<K>> {
    #[inline]
    fn key(&self) -> Option<&'k K> {
        self.0.as_ref()
    }
}

/// The value is the key.
pub trait IsKey<'k, K: ?Sized> {
    /// Returns the key.
    fn key(&self) -> Option<&'k K>;
}

impl<'k, K: ?Sized> IsKey<'k, K> for KeyOf<'k, K> {
    #[inline]
    fn key(&self) -> Option<&'k K> {
        Some(self.0)
    }
}

/// A value that can be formatted as an idempotency key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of `idempotent`: it is not `Display`",
    label = "not `Display`",
    note = "name what identifies the call, as in `key = order.id`, or `key = format_args!(\"{{}}/{{}}\", account, order)`. The \
            key can be an `Option`: with `None` the call has no key"
)]
pub trait Shown {
    /// Returns the key for formatting.
    fn shown(&self) -> &dyn Display;
}

#[diagnostic::do_not_recommend]
impl<K: Display> Shown for K {
    #[inline]
    fn shown(&self) -> &dyn Display {
        self
    }
}

/// Returns the key for formatting.
#[inline]
pub fn shown<K: Shown>(key: &K) -> &dyn Display {
    key.shown()
}

/// A result that several callers can share.
#[diagnostic::on_unimplemented(
    message = "`coalesce` shares one result with several callers, but `{Self}` cannot be cloned for them",
    label = "the return type must be `Clone`, `Send`, `Sync` and `'static`",
    note = "`coalesce` clones the value and the error: derive `Clone` for both, or hold what cannot be cloned in an `Arc`, as in \
            `Result<T, Arc<Error>>`"
)]
pub trait Shareable: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<R: Clone + Send + Sync + 'static> Shareable for R {}

/// Calls [`Call::share`].
#[inline]
pub fn share<'p, V: Shareable + Outcome, K: Hash + ?Sized>(
    call: &mut Call<'p>,
    key: &K,
) -> impl Future<Output = Result<Shared<'p, V>, Rejection>> {
    call.share(key)
}

/// Calls [`Call::share_blocking`].
///
/// # Errors
/// The errors of [`Call::share_blocking`].
#[inline]
pub fn share_blocking<'p, V: Shareable + Outcome, K: Hash + ?Sized>(
    call: &mut Call<'p>,
    key: &K,
) -> Result<Shared<'p, V>, Rejection> {
    call.share_blocking(key)
}

/// Calls [`Call::publish`].
#[inline]
pub fn publish<'p, V: Shareable + Outcome>(
    call: &Call<'p>,
    lead: Option<Lead<'p>>,
    answer: &V,
    seen: Option<Seen>,
) {
    call.publish(lead, answer, seen);
}
