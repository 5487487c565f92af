//! The right to run, as long as it is held.

use super::Bulkhead;
use crate::classify::{Judgement, Verdict};
use crate::clock::Instant;
use crate::context;

/// A permit of a [`Bulkhead`]; dropped, it goes back, also in a panic.
///
/// An adaptive bulkhead learns from permits that are [settled](Self::settle), and from no others.
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
#[must_use = "a permit that is dropped at once protects nothing"]
pub struct Permit<'a> {
    bulkhead: &'a Bulkhead,
    /// When it was taken; [`Instant::NEVER`] where nobody wants to know.
    started: Instant,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(bulkhead: &'a Bulkhead) -> Self {
        let started = if bulkhead.needs_time() { Self::now(bulkhead) } else { Instant::NEVER };
        Self { bulkhead, started }
    }

    /// Out of the way of bulkheads whose limit is fixed.
    #[cold]
    fn now(bulkhead: &Bulkhead) -> Instant {
        bulkhead.core.clock().now()
    }

    /// Gives the permit back and says how the call ended, from which an adaptive bulkhead learns. To any other it is the
    /// same as dropping it.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("gateway");
    /// bulkhead.reconfigure(Config::default().adaptive(true)).unwrap();
    /// let permit = bulkhead.try_acquire().unwrap();
    /// // ... send, and hear of the answer elsewhere ...
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

    /// Whether it ended only because the deadline of the calls around is over.
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
