//! The work of a call whose answer others may wait for.

use std::future::Future;

use crate::coalesce::{Lead, Led};

/// Makes the call.
#[inline]
pub fn lead<R>(lead: &Option<Lead<'_>>, work: impl FnOnce() -> R) -> R {
    match lead {
        Some(lead) => lead.lead(work),
        None => work(),
    }
}

/// Makes the call.
#[inline]
pub fn lead_async<F: Future>(lead: &Option<Lead<'_>>, work: F) -> Led<F> {
    Led::of(lead.as_ref(), work)
}
