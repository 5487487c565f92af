//! Iterates over an error, its sources, and the errors inside an `io::Error`, an `Arc` or a `Box`.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// Maximum number of errors visited. An error can be its own source.
const DEEPEST: usize = 128;

/// Iterates over `error` and the errors inside it, outermost first, up to [`DEEPEST`].
///
/// `source()` of an [`io::Error`] or an `Arc` skips the error that it holds; this iterator includes it.
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

/// Returns `error` as an `E` if it is an `E`, an `Arc<E>` or a `Box<E>`.
pub(crate) fn held_error<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Arc<E>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<E>>().map(|error| &**error))
}
