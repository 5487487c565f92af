//! The rate limit: each attempt pays for a token, and gets it back if a stage further in refuses it.

use std::hash::Hash;

use crate::clock::Instant;
use crate::pipeline::Call;
use crate::pipeline::admission::Wait;
use crate::rate_limit::Request;
use crate::rejection::Rejection;

/// The token of an attempt, by the mark under which the limit finds what was paid. One word: it is a part of the future of
/// every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct RateToken(u64);

/// The body has begun, and may have ended. The token goes back only if that says that nothing was executed.
const SPENT: u64 = 1 << 63;

impl Default for RateToken {
    fn default() -> Self {
        Self::NONE
    }
}

impl RateToken {
    pub(in crate::pipeline) const NONE: Self = Self(u64::MAX);

    /// The body has not begun. Dropped now, the token goes back.
    #[inline]
    fn paid(mark: Instant) -> Self {
        Self(mark.as_nanos() & !SPENT)
    }

    #[inline]
    pub(in crate::pipeline) fn is_paid(self) -> bool {
        self.0 & SPENT == 0
    }

    /// Nothing refuses the attempt any more. None stays none.
    #[inline]
    pub(in crate::pipeline) fn spend(&mut self) {
        self.0 |= SPENT;
    }

    /// It turns out that the body may never begin.
    pub(in crate::pipeline) fn unspend(&mut self) {
        if *self != Self::NONE {
            self.0 &= !SPENT;
        }
    }

    /// What was paid.
    fn mark(self) -> Option<Instant> {
        (self != Self::NONE).then(|| Instant::from_nanos(self.0 & !SPENT))
    }
}

impl<'p> Call<'p> {
    /// By whose rate limit the call goes.
    #[inline]
    pub fn set_rate_key<K: Hash + ?Sized>(&mut self, key: &K) {
        if let Some(limiter) = &self.pipeline.stages.rate_limit {
            self.rate_key = limiter.request(key).key();
        }
    }

    /// How many calls this one counts for, in whatever kind of integer; what is no `u32` is more than any limit.
    #[inline]
    pub fn set_weight(&mut self, weight: impl TryInto<u32>) {
        self.weight = weight.try_into().unwrap_or(u32::MAX);
    }

    /// What it asks of the rate limit.
    #[inline]
    fn rate_request(&self) -> Request {
        Request::of(self.rate_key, self.weight)
    }

    /// Pays if there is a token and nobody waits; counts nothing if not.
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

    /// Its turn, where it has not been paid yet.
    pub(in crate::pipeline) fn rate_limit_turn(&self, until: Instant) -> Option<Wait<'p>> {
        let limiter = self.pipeline.stages.rate_limit.as_deref().filter(|_| !self.held.token.is_paid())?;
        Some(Wait::Turn(limiter.turn(self.rate_request(), until)))
    }

    /// Back from its turn.
    pub(in crate::pipeline) fn had_turn(
        &mut self,
        paid: Result<Instant, Rejection>,
        has_waited: bool,
    ) -> Result<(), Rejection> {
        let mark = self.back_from_queue(paid, has_waited)?;
        self.held.token = RateToken::paid(mark);
        Ok(())
    }

    /// The attempt was not made: what was paid for it goes back.
    #[cold]
    pub(in crate::pipeline) fn pay_back(&mut self) {
        let paid = std::mem::take(&mut self.held.token);
        if let (Some(mark), Some(limiter)) = (paid.mark(), &self.pipeline.stages.rate_limit) {
            limiter.give_back(self.rate_request(), mark);
        }
    }
}
