//! The decision about a call, with the store.

use std::sync::Arc;
use std::time::Duration;

use super::asking::{Asking, Reserved, give_back};
use super::keeper::LEASE;
use super::pool::Refill;
use super::{Paid, Plan, Shared};
use crate::clock::Instant;
use crate::rate_limit::config::Mode;
use crate::rate_limit::{OnStoreFailure, RateKey, Request};
use crate::store::rate::{RateRequest, RateRule, ReturnedTokens, Taken};
use crate::store::{Guard, StoreError, wait};
use crate::sync::Ordering;

/// How long a call can wait.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Patience {
    /// For its tokens, once the store has decided.
    pub(in crate::rate_limit) max_wait: Duration,
    /// For everything.
    pub(in crate::rate_limit) deadline: Instant,
    pub(in crate::rate_limit) how: wait::Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit) enum Verdict {
    /// With the mark of its token.
    Admitted(Instant),
    /// With the time until its tokens are available, if known.
    Refused(Option<Duration>),
    /// The store failed, and the limiter rejects calls without it.
    Unavailable,
    NoTimer,
    /// The store failed, and the local limiter decides.
    Local,
}

/// A verdict, and the state of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit) struct Outcome {
    pub(in crate::rate_limit) verdict: Verdict,
    pub(in crate::rate_limit) remaining: u32,
    pub(in crate::rate_limit) reset_after: Duration,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, remaining: 0, reset_after: Duration::ZERO }
    }
}

impl Outcome {
    fn of(verdict: Verdict, taken: &Taken) -> Self {
        Self { verdict, remaining: taken.remaining, reset_after: taken.reset_after }
    }
}

impl Plan {
    /// The verdict if the store fails.
    fn without_store(&self) -> Verdict {
        match self.on_failure {
            OnStoreFailure::Local => Verdict::Local,
            OnStoreFailure::Open => Verdict::Admitted(Paid::Nothing.mark()),
            OnStoreFailure::Closed => Verdict::Unavailable,
        }
    }
}

impl Shared {
    /// Decides about a call. It waits for the store for at most the timeout of the store, and for tokens as long as
    /// `patience` allows.
    ///
    /// # Cancel safety
    /// Dropping the future returns tokens that were taken, in the background.
    pub(in crate::rate_limit) async fn decide(
        self: Arc<Self>,
        request: Request,
        patience: Patience,
    ) -> Outcome {
        let Some(plan) = self.plan() else { return Verdict::Local.into() };
        match plan.mode {
            Mode::Observe => {
                self.observe(request);
                let outcome = Outcome::from(Verdict::Admitted(Paid::Nothing.mark()));
                Outcome { remaining: self.counters.remaining(), ..outcome }
            }
            Mode::Lease if request.key == 0 && request.weight > 0 => {
                self.decide_by_lease(&plan, request, patience).await
            }
            Mode::Exact | Mode::Lease => self.decide_exactly(&plan, request, patience).await,
        }
    }

    async fn decide_exactly(self: &Arc<Self>, plan: &Plan, request: Request, patience: Patience) -> Outcome {
        let clock = &self.environment.clock;
        let until = clock.now().after(patience.max_wait).min(patience.deadline);
        loop {
            let now = clock.now();
            let wait = match self.refused.wait(request, now) {
                Some(wait) => wait,
                None => {
                    // A bucket can promise tokens. A window is asked again.
                    let promised = if plan.rule.is_bucket() && self.may_wait(plan) {
                        until.since(now)
                    } else {
                        Duration::ZERO
                    };
                    let taken = match self.ask(plan, request, promised, patience).await {
                        Ok(taken) => taken,
                        Err(verdict) => return verdict.into(),
                    };
                    if taken.granted >= request.weight {
                        return self.admitted(plan, request, taken, patience).await;
                    }
                    let outcome = Outcome::of(Verdict::Refused(Some(taken.wait)), &taken);
                    self.refused.note(request, now, taken.wait, promised);
                    if now.after(taken.wait) > until || plan.rule.is_bucket() {
                        return outcome;
                    }
                    taken.wait
                }
            };
            if let Some(refused) = self.pause(plan, wait, until, patience).await {
                return refused.into();
            }
        }
    }

    /// Waits until a token can be available. Returns the verdict if that is too late.
    async fn pause(
        &self,
        plan: &Plan,
        wait: Duration,
        until: Instant,
        patience: Patience,
    ) -> Option<Verdict> {
        let clock = &self.environment.clock;
        if clock.now().after(wait) > until || !self.may_wait(plan) {
            return Some(Verdict::Refused(Some(wait)));
        }
        let _waiting = Waiting::of(self);
        let has_paused = patience.how.pause((clock, self.name), wait.max(Duration::from_micros(1))).await;
        (!has_paused).then_some(Verdict::NoTimer)
    }

    fn may_wait(&self, plan: &Plan) -> bool {
        self.waiting.load(Ordering::Relaxed) < plan.max_queue
    }

    /// Waits until the tokens may be used.
    async fn admitted(&self, plan: &Plan, request: Request, taken: Taken, patience: Patience) -> Outcome {
        self.charge(request);
        if !taken.wait.is_zero() {
            let reserved = Reserved { shared: self, tokens: Some(self.returned(plan, request, taken.mark)) };
            let clock = &self.environment.clock;
            let _waiting = Waiting::of(self);
            if !patience.how.pause((clock, self.name), taken.wait).await {
                return Outcome::of(Verdict::NoTimer, &taken);
            }
            reserved.used();
        }
        Outcome::of(Verdict::Admitted(Paid::ToStore(taken.mark).mark()), &taken)
    }

    async fn decide_by_lease(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        request: Request,
        patience: Patience,
    ) -> Outcome {
        let clock = &self.environment.clock;
        let until = clock.now().after(patience.max_wait).min(patience.deadline);
        let mut refills = self.pool.refills.subscribe();
        // The store has this time for all refills that the call waits for.
        let mut answered_by = None;
        loop {
            let now = clock.now();
            if self.pool.take(request.weight) {
                let paid = Paid::FromLease(now.as_nanos());
                let remaining = self
                    .counters
                    .remaining()
                    .saturating_add(u32::try_from(self.pool.tokens()).unwrap_or(u32::MAX));
                return Outcome { remaining, ..Verdict::Admitted(paid.mark()).into() };
            }
            if let Some(wait) = self.refused.wait(request, now) {
                if let Some(refused) = self.pause(plan, wait, until, patience).await {
                    return refused.into();
                }
                answered_by = None;
                continue;
            }
            if now.as_nanos() < self.failed_until.load(Ordering::Relaxed) {
                return plan.without_store().into();
            }
            let guard = match self.guard(plan).and_then(|guard| self.keep(&guard).map(|()| guard)) {
                Ok(guard) => guard,
                Err(error) => {
                    self.failed(&error);
                    return plan.without_store().into();
                }
            };
            refills.mark_unchanged();
            self.pool.want(request.weight);
            let refilled = async { refills.changed().await.map_err(|_| StoreError::TimedOut) };
            let is_first = answered_by.is_none();
            let answer_by = *answered_by.get_or_insert_with(|| now.after(guard.timeout()));
            let left = answer_by.min(patience.deadline).since(now);
            let refilled = patience.how.answer((clock, self.name), left, refilled).await;
            match refilled {
                Ok(()) if !matches!(&*refills.borrow(), Refill::Failed) => {}
                // Other calls took the tokens, or the call is out of time.
                Err(_) if !is_first || clock.now() >= patience.deadline => {
                    return Verdict::Refused(None).into();
                }
                // The keeper reports the failure.
                _ => return plan.without_store().into(),
            }
        }
    }

    /// Asks the store. The error is the verdict without it.
    async fn ask(
        &self,
        plan: &Plan,
        request: Request,
        promised: Duration,
        patience: Patience,
    ) -> Result<Taken, Verdict> {
        let asked = match self.guard(plan) {
            Ok(guard) => {
                let sent = self.rate_request(plan, request.key, (request.weight, request.weight), promised);
                self.counters.requests.count();
                let clock = &self.environment.clock;
                let mut asking = Asking::new(&guard, sent);
                let left = patience.deadline.since(clock.now());
                let answer =
                    patience.how.answer((clock, self.name), left.min(guard.timeout()), &mut asking).await;
                if answer == Err(StoreError::TimedOut) {
                    if left < guard.timeout() {
                        // The call is out of time, not the store.
                        return Err(Verdict::Refused(None));
                    }
                    asking.abandon();
                }
                answer.map(|taken| (guard, taken))
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok((guard, taken)) => {
                self.heard(&guard, plan, &taken);
                Ok(taken)
            }
            Err(error) => {
                self.failed(&error);
                Err(plan.without_store())
            }
        }
    }

    pub(super) fn heard(&self, guard: &Arc<Guard>, plan: &Plan, taken: &Taken) {
        guard.announce();
        if !self.is_current(plan) {
            // An answer about earlier settings.
            return;
        }
        self.works(guard, plan);
        self.counters.set_remaining(taken.remaining);
        if taken.is_other_rule {
            self.differs();
        }
    }

    pub(super) fn rate_request(
        &self,
        plan: &Plan,
        key: RateKey,
        (tokens, at_least): (u32, u32),
        max_wait: Duration,
    ) -> RateRequest {
        RateRequest {
            limit: self.limit(key),
            rule: RateRule::from_rule(plan.rule),
            tokens,
            at_least,
            max_wait,
        }
    }

    /// The name of a limit in the store.
    pub(super) fn limit(&self, key: RateKey) -> String {
        let name = self.name;
        if key == 0 { format!("{name}\0") } else { format!("{name}\0{key:016x}") }
    }

    /// Asks the store in the background, and counts what it would have refused.
    #[cold]
    pub(super) fn observe(self: &Arc<Self>, request: Request) {
        let Some(plan) = self.plan() else { return };
        let guard = match self.guard(&plan) {
            Ok(guard) => guard,
            Err(error) => return self.failed(&error),
        };
        let (shared, asker) = (Arc::clone(self), Arc::clone(&guard));
        let is_started = self.spawn(&guard, async move {
            let sent =
                shared.rate_request(&plan, request.key, (request.weight, request.weight), Duration::ZERO);
            shared.counters.requests.count();
            let mut asking = Asking::new(&asker, sent);
            let answer = asker.in_time(&mut asking).await;
            asking.abandon();
            match answer {
                Ok(taken) => {
                    shared.heard(&asker, &plan, &taken);
                    if taken.granted < request.weight {
                        shared.counters.would_reject.count();
                    }
                }
                Err(error) => shared.failed(&error),
            }
        });
        if !is_started {
            self.failed(&StoreError::Unavailable("too many calls wait for the store".to_owned()));
        }
    }

    fn returned(&self, plan: &Plan, request: Request, mark: u64) -> ReturnedTokens {
        let (limit, rule) = (self.limit(request.key), RateRule::from_rule(plan.rule));
        ReturnedTokens { limit, rule, tokens: request.weight, mark }
    }

    /// Returns the tokens of a call that did not run.
    pub(in crate::rate_limit) fn give_back(&self, request: Request, mark: u64) {
        if let Some(plan) = self.plan() {
            self.return_tokens(self.returned(&plan, request, mark));
        }
        // The key may have tokens again.
        self.refused.forget(request.key);
    }

    /// Returns leased tokens that were taken at this time, in nanoseconds, to the pool. If that is long ago, the store has
    /// granted others since, and they are lost.
    pub(in crate::rate_limit) fn give_back_leased(&self, request: Request, taken_at: u64) {
        let age = self.environment.clock.now().as_nanos().saturating_sub(taken_at);
        if age <= LEASE {
            self.pool.put(request.weight);
        }
    }

    pub(super) fn return_tokens(&self, returned: ReturnedTokens) {
        let Some(guard) = self.plan().and_then(|plan| self.guard(&plan).ok()) else { return };
        let sender = Arc::clone(&guard);
        // Otherwise the tokens are lost, which admits fewer calls and never more.
        let _ = self.spawn(&guard, async move { give_back(&sender, returned).await });
    }
}

/// Counts a call that waits for tokens.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn of(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        shared.counters.waited.count();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
