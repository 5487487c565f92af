//! The errors in an error: its sources, and what an `io::Error`, an `Arc` or a `Box` holds.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// How many sources are looked at: an error can be made so that it is its own source.
const DEEPEST: usize = 128;

/// An error and what is in it, from the outside inwards, bounded. An [`io::Error`] and an `Arc` return the source of what
/// they hold as their own; here what they hold comes itself.
pub(crate) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| inner(error)).take(DEEPEST)
}

fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(held) = held_error::<io::Error>(error).and_then(io::Error::get_ref) {
        return Some(held);
    }
    match error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        Some(shared) => Some(&**shared),
        None => error.source(),
    }
}

/// The error, where it is one of this type, perhaps in an `Arc` or a `Box`.
pub(crate) fn held_error<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Arc<E>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<E>>().map(|error| &**error))
}
