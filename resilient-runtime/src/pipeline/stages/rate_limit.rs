//! The rate limit stage: each attempt pays with a token, which is refunded if an inner stage rejects the attempt.

use std::hash::Hash;

use crate::clock::Instant;
use crate::pipeline::Call;
use crate::pipeline::admission::Wait;
use crate::rate_limit::Request;
use crate::rejection::Rejection;

/// The token of an attempt: the mark that identifies the payment in the rate limiter. One word, because it is part of
/// the future of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct RateToken(u64);

/// The body has begun. The token is refunded only if the outcome says that nothing was executed.
const SPENT: u64 = 1 << 63;

impl Default for RateToken {
    fn default() -> Self {
        Self::NONE
    }
}

impl RateToken {
    pub(in crate::pipeline) const NONE: Self = Self(u64::MAX);

    /// A token of an attempt whose body has not begun. It is refunded if the attempt is dropped.
    #[inline]
    fn paid(mark: Instant) -> Self {
        Self(mark.as_nanos() & !SPENT)
    }

    #[inline]
    pub(in crate::pipeline) fn is_paid(self) -> bool {
        self.0 & SPENT == 0
    }

    /// Marks the token as used: every stage admitted the attempt. `NONE` stays `NONE`.
    #[inline]
    pub(in crate::pipeline) fn spend(&mut self) {
        self.0 |= SPENT;
    }

    /// Marks the token as refundable again: the body may never begin.
    pub(in crate::pipeline) fn unspend(&mut self) {
        if *self != Self::NONE {
            self.0 &= !SPENT;
        }
    }

    /// Returns the mark of the payment.
    fn mark(self) -> Option<Instant> {
        (self != Self::NONE).then(|| Instant::from_nanos(self.0 & !SPENT))
    }
}

impl<'p> Call<'p> {
    /// Sets the key whose rate limit applies.
    #[inline]
    pub fn set_rate_key<K: Hash + ?Sized>(&mut self, key: &K) {
        if let Some(limiter) = &self.pipeline.stages.rate_limit {
            self.rate_key = limiter.request(key).key();
        }
    }

    /// Sets how many calls this one counts for. Accepts any integer; a value outside of `u32` exceeds every limit.
    #[inline]
    pub fn set_weight(&mut self, weight: impl TryInto<u32>) {
        self.weight = weight.try_into().unwrap_or(u32::MAX);
    }

    /// Returns the request for the rate limiter.
    #[inline]
    fn rate_request(&self) -> Request {
        Request::of(self.rate_key, self.weight)
    }

    /// Pays if a token is available and no call is waiting. Otherwise counts nothing.
    #[inline]
    pub(in crate::pipeline) fn pay_plainly(&mut self) -> bool {
        let Some(limiter) = &self.pipeline.stages.rate_limit else { return true };
        match limiter.try_enter(self.rate_request(), self.clock.now.or_never()) {
            Some(mark) => {
                self.held.token = RateToken::paid(mark);
                true
            }
            None => false,
        }
    }

    /// Waits for a turn, unless the attempt has already paid.
    pub(in crate::pipeline) fn rate_limit_turn(&self, until: Instant) -> Option<Wait<'p>> {
        let limiter = self.pipeline.stages.rate_limit.as_deref().filter(|_| !self.held.token.is_paid())?;
        Some(Wait::Turn(limiter.turn(self.rate_request(), until)))
    }

    /// Continues after the wait for a turn.
    pub(in crate::pipeline) fn had_turn(
        &mut self,
        paid: Result<Instant, Rejection>,
        has_waited: bool,
    ) -> Result<(), Rejection> {
        let mark = self.back_from_queue(paid, has_waited)?;
        self.held.token = RateToken::paid(mark);
        Ok(())
    }

    /// Refunds the token of an attempt that was not executed.
    #[cold]
    pub(in crate::pipeline) fn pay_back(&mut self) {
        let paid = std::mem::take(&mut self.held.token);
        if let (Some(mark), Some(limiter)) = (paid.mark(), &self.pipeline.stages.rate_limit) {
            limiter.give_back(self.rate_request(), mark);
        }
    }
}
