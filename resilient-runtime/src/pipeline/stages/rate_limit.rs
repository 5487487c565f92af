//! The rate limit: each attempt pays for a token, and gets it back if a stage further in refuses it.

use std::hash::Hash;

use crate::clock::Instant;
use crate::pipeline::Call;
use crate::pipeline::admission::Wait;
use crate::rate_limit::Request;
use crate::rejection::Rejection;

/// The token of an attempt. The limit finds what was paid by its mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum RateToken {
    #[default]
    None,
    /// Paid; the body has not begun. Dropped now, it goes back.
    Paid(Instant),
    /// The body has begun. It goes back only if the body says that it was not executed.
    Spent(Instant),
}

impl RateToken {
    #[inline]
    pub(in crate::pipeline) fn is_paid(self) -> bool {
        matches!(self, Self::Paid(_))
    }

    /// Nothing refuses the attempt any more.
    #[inline]
    pub(in crate::pipeline) fn spend(&mut self) {
        if let Self::Paid(mark) = *self {
            *self = Self::Spent(mark);
        }
    }

    /// It turns out that the body may never begin.
    pub(in crate::pipeline) fn unspend(&mut self) {
        if let Self::Spent(mark) = *self {
            *self = Self::Paid(mark);
        }
    }
}

impl<'p> Call<'p> {
    /// By whose rate limit the call goes.
    #[inline]
    pub fn set_rate_key<K: Hash + ?Sized>(&mut self, key: &K) {
        if let Some(limiter) = &self.pipeline.rate_limit {
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
        let Some(limiter) = &self.pipeline.rate_limit else { return true };
        match limiter.try_enter(self.rate_request(), self.clock.now.or_never()) {
            Some(mark) => {
                self.held.token = RateToken::Paid(mark);
                true
            }
            None => false,
        }
    }

    /// Its turn, where it has not been paid yet.
    pub(in crate::pipeline) fn rate_limit_turn(&self, until: Instant) -> Option<Wait<'p>> {
        let limiter = self.pipeline.rate_limit.as_deref().filter(|_| !self.held.token.is_paid())?;
        Some(Wait::Turn(limiter.turn(self.rate_request(), until)))
    }

    /// Back from its turn.
    pub(in crate::pipeline) fn had_turn(
        &mut self,
        paid: Result<Instant, Rejection>,
        has_waited: bool,
    ) -> Result<(), Rejection> {
        let mark = self.back_from_queue(paid, has_waited)?;
        self.held.token = RateToken::Paid(mark);
        Ok(())
    }

    /// The attempt that has paid was not made: what was paid goes back.
    #[cold]
    pub(in crate::pipeline) fn pay_back(&mut self, mark: Instant) {
        if let Some(limiter) = &self.pipeline.rate_limit {
            limiter.give_back(self.rate_request(), mark);
        }
    }
}
