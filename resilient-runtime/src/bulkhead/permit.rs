//! A permit of a bulkhead.

use super::Bulkhead;
use crate::classify::{Judgement, Verdict};
use crate::clock::Instant;
use crate::context;

/// A permit of a [`Bulkhead`]. Dropping it releases it, also in a panic.
///
/// An adaptive bulkhead measures only permits that are [settled](Self::settle).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let gateway = Registry::new().bulkhead("gateway");
/// let (one, two) = (gateway.try_acquire().unwrap(), gateway.try_acquire().unwrap());
/// assert_eq!(gateway.stats().in_use, 2);
/// drop(one);
/// assert_eq!(gateway.stats().in_use, 1);
/// # drop(two);
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct Permit<'a> {
    bulkhead: &'a Bulkhead,
    /// When the permit was taken. [`Instant::NEVER`] if the time is not needed.
    started: Instant,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(bulkhead: &'a Bulkhead) -> Self {
        let started = if bulkhead.needs_time() { Self::now(bulkhead) } else { Instant::NEVER };
        Self { bulkhead, started }
    }

    /// Out of line, because bulkheads with a fixed limit do not need it.
    #[cold]
    fn now(bulkhead: &Bulkhead) -> Instant {
        bulkhead.core.clock().now()
    }

    /// Releases the permit and records how the call ended.
    ///
    /// An adaptive bulkhead uses the result to adjust its limit. For other bulkheads this is the same as dropping the
    /// permit.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("gateway");
    /// bulkhead.reconfigure(Config::default().adaptive(true)).unwrap();
    /// let permit = bulkhead.try_acquire().unwrap();
    /// // ... send the request, and receive the response elsewhere ...
    /// permit.settle(Verdict::Success);
    /// assert_eq!(bulkhead.stats().in_use, 0);
    /// ```
    #[inline]
    pub fn settle(self, judgement: impl Into<Judgement>) {
        let verdict = judgement.into().verdict();
        if self.started != Instant::NEVER && !self.is_cut_short(verdict) {
            self.bulkhead.learn(verdict, self.started, || self.bulkhead.core.clock().now());
        }
    }

    /// Whether the call ended only because an enclosing deadline passed.
    fn is_cut_short(&self, verdict: Verdict) -> bool {
        verdict != Verdict::Success && context::is_cut_short(verdict, self.bulkhead.core.clock())
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.bulkhead.release();
    }
}
