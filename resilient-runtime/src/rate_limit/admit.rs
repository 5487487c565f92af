//! Admits and rejects calls, for the public methods, the queue and the pipeline.

use std::time::Duration;

use super::rule::Rule;
use super::shared::{Known, LATER, Paid, Verdict};
use super::state::State;
use super::{RateLimiter, Request, Turn};
use crate::clock::Instant;
use crate::component::Component;
use crate::observe::EventKind;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::Ordering;

impl RateLimiter {
    /// Takes a token if there is one now and no call waits for one.
    ///
    /// A failure is not counted as a rejection. The returned mark is needed for [`give_back`](Self::give_back).
    #[inline]
    pub(crate) fn try_enter(&self, request: Request, now: Instant) -> Option<Instant> {
        self.try_take(request, now).ok()
    }

    /// Returns a future that takes a token and waits for it until `deadline`. It can also be blocked on.
    pub(crate) fn turn(&self, request: Request, deadline: Instant) -> Turn<'_> {
        Turn::new(self, request, deadline)
    }

    /// Returns the token that was taken with this mark, because the call did not run.
    #[cold]
    pub(crate) fn give_back(&self, request: Request, mark: Instant) {
        let now = self.core.clock().now();
        let (state, rule) = self.local();
        let (mut request, mut at) = (request, mark.as_nanos());
        // Also if the settings name no store any more.
        if let Some(shared) = self.shared.get() {
            match Paid::of(mark) {
                Paid::Locally(mark) => at = mark,
                Paid::ToStore(mark) => return shared.give_back(request, mark),
                Paid::FromLease(taken_at) => return shared.give_back_leased(request, taken_at),
                Paid::Nothing => return,
            }
        }
        if let Some(shared) = self.shared() {
            request = shared.local_request(request);
        }
        state.give_back(rule, now, request, at);
        self.queue.wake(request.key, now);
    }

    /// Takes a token. The error is the time until there is one, or `None` if waiting does not help.
    #[inline]
    pub(super) fn try_take(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        match self.take_cell(request, now) {
            Some(taken) => taken.map_err(Some),
            None => self.try_take_slowly(request, now),
        }
    }

    /// Takes the token of a call of weight 1 from a bucket of this process. `None` in all other cases, and if calls wait.
    #[inline]
    pub(super) fn take_cell(&self, request: Request, now: Instant) -> Option<Result<Instant, Duration>> {
        if request.weight != 1 || self.queue.len() != 0 {
            return None;
        }
        let pace = self.rule.pace()?;
        let taken = match request.key {
            0 => self.state.take_cell(pace, now, pace.interval).map(|_| now.as_nanos()),
            key => self.state.take_keyed_cell(pace, now, key),
        };
        Some(taken.map(Instant::from_nanos).map_err(Duration::from_nanos))
    }

    /// Like `try_take`, without `take_cell`.
    #[inline(never)]
    pub(super) fn try_take_slowly(
        &self,
        request: Request,
        now: Instant,
    ) -> Result<Instant, Option<Duration>> {
        // A call does not overtake those that wait for the same key.
        if self.queue.len() > 0 && self.shared().is_none() {
            return self.take_behind(request, now);
        }
        self.take_by_rule(request, now)
    }

    /// Takes a token of the limiter in this process, unless a call waits for one. `request` is a local one.
    pub(super) fn take_behind(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        let ahead = self.queue.weight(request.key, now);
        if ahead == 0 {
            return self.take_locally(request, now);
        }
        let (_, rule) = self.local();
        if request.weight > rule.burst {
            return Err(None);
        }
        Err(Some(Duration::from_nanos(self.wait_behind(rule, request, now, ahead))))
    }

    /// Returns how long a call would have to wait behind those that already wait.
    pub(super) fn wait_behind(&self, rule: Rule, request: Request, now: Instant, ahead: u64) -> u64 {
        self.local().0.wait(rule, now, request).saturating_add(rule.interval.saturating_mul(ahead))
    }

    fn take_by_rule(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        let rule = self.rule.get();
        let Some(shared) = self.shared() else { return self.take_from(&self.state, rule, request, now) };
        if request.weight == 0 {
            return Ok(Paid::Nothing.mark());
        }
        if request.weight > rule.burst {
            return Err(None);
        }
        match shared.known(request, now) {
            Known::Admitted(mark) => Ok(mark),
            Known::Refused(wait) => Err(Some(wait)),
            Known::Nothing => Err(None),
        }
    }

    /// Takes a token of the limiter in this process.
    pub(super) fn take_locally(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        let (state, rule) = self.local();
        self.take_from(state, rule, request, now)
    }

    #[inline]
    fn take_from(
        &self,
        state: &State,
        rule: Rule,
        request: Request,
        now: Instant,
    ) -> Result<Instant, Option<Duration>> {
        if rule.is_unlimited() {
            self.limits_nothing();
            return Ok(now);
        }
        if request.weight == 0 {
            return Ok(now);
        }
        if request.weight > rule.burst {
            return Err(None);
        }
        let taken = state.take(rule, now, request);
        taken.map(Instant::from_nanos).map_err(|wait| Some(Duration::from_nanos(wait)))
    }

    /// Returns the time until which a call that arrives now can wait.
    pub(super) fn patience(&self, now: Instant) -> Instant {
        now.after(Duration::from_nanos(self.max_wait.load(Ordering::Relaxed)))
    }

    pub(super) fn limits_nothing(&self) {
        if self.untold.load(Ordering::Relaxed) {
            self.warn();
        }
    }

    /// Logs once that the limiter has no rate.
    #[cold]
    fn warn(&self) {
        if self.untold.swap(false, Ordering::Relaxed) {
            let name = self.core.name;
            tracing::warn!(
                target: "resilient_runtime::rate_limit",
                rate_limit = %name,
                "the rate limiter has no rate and limits nothing; set one, as in `rate_limit(\"{name}\", rate = \"100/s\")` or \
                 in the settings file"
            );
        }
    }

    /// Whether it is enabled but limits nothing because it has no rate.
    pub(crate) fn lacks_rate(&self) -> bool {
        let config = self.core.config();
        config.enabled && config.rate.is_none()
    }

    /// Rejects a call. A `retry_after` of [`Duration::MAX`] carries no information and is left out.
    #[cold]
    pub(super) fn refuse(&self, request: Request, retry_after: Option<Duration>) -> Rejection {
        let rule = self.rule.get();
        if !rule.is_unlimited() && request.weight > rule.burst {
            let refused = self.refuse_for(RejectionKind::WeightExceedsLimit, None);
            return refused.weighing(request.weight, rule.burst);
        }
        self.refuse_for(RejectionKind::RateLimited, retry_after.filter(|span| *span != Duration::MAX))
    }

    /// The result of a call that the store decided. `None` if the limiter in this process decides.
    pub(super) fn settled(&self, request: Request, verdict: Verdict) -> Option<Result<Instant, Rejection>> {
        Some(match verdict {
            Verdict::Admitted(mark) => Ok(mark),
            Verdict::Refused(wait) => Err(self.refuse(request, wait)),
            Verdict::Unavailable => Err(self.refuse_for(RejectionKind::StoreUnavailable, Some(LATER))),
            Verdict::NoTimer => Err(self.refuse_for(RejectionKind::NoTimer, None)),
            Verdict::Local => return None,
        })
    }

    #[cold]
    pub(super) fn refuse_for(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        self.counters.refused();
        tracing::debug!(target: "resilient_runtime::rate_limit", rate_limit = %self.core.name, kind = kind.as_str(), "call rejected");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, self.core.name, retry_after)
    }
}
