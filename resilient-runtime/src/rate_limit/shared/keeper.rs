//! The task that keeps tokens of the store in the pool.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::asking::{Asking, give_back};
use super::pool::{Lease, Refill};
use super::{Plan, Shared};
use crate::clock::{BoxedTimer, Instant, nanos};
use crate::rate_limit::Request;
use crate::store::rate::{RateRule, ReturnedTokens};
use crate::store::{Guard, StoreError};
use crate::sync::Ordering;

/// After this time without a call, the tokens in the pool are returned.
const IDLE: Duration = Duration::from_millis(250);
/// How long a lease lasts at the recent rate of calls.
pub(super) const LEASE: u64 = 20_000_000;
/// The share of the limit that all instances together lease at most.
const MOST: u64 = 50_000_000;
/// How long the keeper waits after a failure.
const RETRY: Duration = Duration::from_millis(50);

/// The use of the pool since the last lease.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// Tokens that were in the pool then.
    tokens: u64,
}

impl Shared {
    /// Starts the keeper, if it does not run.
    pub(super) fn keep(self: &Arc<Self>, guard: &Arc<Guard>) -> Result<(), StoreError> {
        if !self.is_kept.load(Ordering::Relaxed) && !self.is_kept.swap(true, Ordering::Relaxed) {
            let (keeping, wake) = (Keeping(Arc::downgrade(self)), Arc::clone(&self.pool.wake));
            let started = guard.start(async move { keep(&keeping.0, &wake).await });
            if let Err(problem) = started {
                return Err(StoreError::Unavailable(problem));
            }
        }
        Ok(())
    }

    /// Takes a lease. Returns when the store can be asked again, if it has granted nothing.
    async fn refill(self: &Arc<Self>, pace: &mut Pace) -> Option<Instant> {
        let wanted = self.pool.take_wanted();
        let plan = self.plan()?;
        let clock = &self.environment.clock;
        let now = clock.now();
        let guard = match self.guard(&plan) {
            Ok(guard) => guard,
            Err(error) => return Some(self.not_refilled(&error)),
        };
        let size = self.size(&plan, &guard, pace, now);
        let tokens = size.max(wanted).min(plan.rule.burst);
        let at_least = wanted.max(size.div_ceil(2)).clamp(1, tokens);
        let request = self.rate_request(&plan, 0, (tokens, at_least), Duration::ZERO);
        self.counters.requests.count();
        let mut asking = Asking::new(&guard, request);
        let taken = match guard.in_time(&mut asking).await {
            Ok(taken) => taken,
            Err(error) => {
                asking.abandon();
                return Some(self.not_refilled(&error));
            }
        };
        self.heard(&guard, &plan, &taken);
        let lease = Lease { tokens: taken.granted, mark: taken.mark };
        if !self.lease(&plan, lease) {
            // The settings have changed: these are tokens of another rule or store.
            return_leases(&guard, RateRule::from_rule(plan.rule), self.limit(0), vec![lease]).await;
            self.pool.refills.send_replace(Refill::None);
            return None;
        }
        self.failed_until.store(0, Ordering::Relaxed);
        if taken.granted == 0 {
            // Lighter calls than the one that asked for so many tokens ask again. The size becomes smaller with the time
            // since the last lease, so that an instance that needs many tokens gets some beside others.
            let weight = if at_least > wanted { 1 } else { at_least };
            self.refused.note(Request::ONE.with_weight(weight), now, taken.wait, Duration::ZERO);
            // Calls that wait find the refusal. A call that comes later asks again.
            self.pool.take_wanted();
            self.pool.refills.send_replace(Refill::Refused);
            return Some(now.after(taken.wait));
        }
        *pace = Pace { since: clock.now(), tokens: self.pool.tokens() };
        self.charge(Request::ONE.with_weight(taken.granted));
        self.pool.refills.send_replace(Refill::Granted);
        None
    }

    /// Adds a lease to the pool. Returns false if the settings have changed.
    fn lease(&self, plan: &Plan, lease: Lease) -> bool {
        // Locked, so that a change of the settings returns the tokens.
        let current = self.plan.lock();
        let is_current = current.as_deref() == Some(plan);
        if is_current && lease.tokens > 0 {
            self.pool.add(lease);
        }
        is_current
    }

    fn not_refilled(&self, error: &StoreError) -> Instant {
        let until = self.environment.clock.now().after(RETRY);
        self.failed(error);
        self.failed_until.store(until.as_nanos(), Ordering::Relaxed);
        self.pool.refills.send_replace(Refill::Failed);
        until
    }

    /// The number of tokens for the next lease.
    fn size(&self, plan: &Plan, guard: &Guard, pace: &Pace, now: Instant) -> u32 {
        let used = pace.tokens.saturating_sub(self.pool.tokens());
        let elapsed = nanos(now.since(pace.since)).max(1);
        let recent = u128::from(used) * u128::from(LEASE) / u128::from(elapsed);
        let most = MOST / plan.rule.interval.max(1) / u64::from(guard.live_instances());
        let size = u64::try_from(recent).unwrap_or(u64::MAX).min(most);
        u32::try_from(size).unwrap_or(u32::MAX).clamp(1, plan.rule.burst)
    }

    /// Returns the tokens in the pool, in the background.
    pub(super) fn return_lease(&self, plan: &Plan) {
        let leases = self.pool.drain();
        let Ok(guard) = self.guard(plan) else { return };
        if leases.is_empty() {
            return;
        }
        let (rule, limit, sender) = (RateRule::from_rule(plan.rule), self.limit(0), Arc::clone(&guard));
        guard.spawn(async move { return_leases(&sender, rule, limit, leases).await });
    }

    /// Returns the tokens in the pool.
    pub(in crate::rate_limit) async fn end_lease(&self) {
        let Some(plan) = self.plan() else { return };
        let Ok(guard) = self.guard(&plan) else { return };
        return_leases(&guard, RateRule::from_rule(plan.rule), self.limit(0), self.pool.drain()).await;
    }
}

/// Waits for the first of two futures.
async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if first.as_mut().poll(cx).is_ready() || second.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

async fn return_leases(guard: &Guard, rule: RateRule, limit: String, leases: Vec<Lease>) {
    for Lease { tokens, mark } in leases.into_iter().filter(|lease| lease.tokens > 0) {
        give_back(guard, ReturnedTokens { limit: limit.clone(), rule, tokens, mark }).await;
    }
}

/// The task of the keeper. If it ends, the next call that needs it starts it again.
struct Keeping(Weak<Shared>);

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.is_kept.store(false, Ordering::Relaxed);
        }
    }
}

/// Runs until the limiter is dropped.
async fn keep(shared: &Weak<Shared>, wake: &tokio::sync::Notify) {
    let mut pace = Pace { since: Instant::from_nanos(0), tokens: 0 };
    let mut seen = None;
    loop {
        let is_idle = if seen == Some(0) {
            wake.notified().await;
            false
        } else {
            tokio::time::timeout(IDLE, wake.notified()).await.is_err()
        };
        let Some(strong) = shared.upgrade() else { return };
        if is_idle {
            // No call since the last look.
            if seen == Some(strong.pool.tokens()) {
                strong.end_lease().await;
            }
            seen = Some(strong.pool.tokens());
            continue;
        }
        seen = None;
        if !strong.pool.is_asked() {
            // An earlier refill was enough.
            continue;
        }
        let mut next = Some(strong);
        while let Some(strong) = next.take() {
            let paused_until = strong.refill(&mut pace).await;
            let clock = strong.environment.clock.clone();
            drop(strong);
            if let Some(until) = paused_until
                && let Ok(timer) = BoxedTimer::armed(&clock, until)
            {
                // A call asks earlier only if the reason for the pause is gone, after a change of the settings for example.
                either(timer, wake.notified()).await;
            }
            let Some(strong) = shared.upgrade() else { return };
            strong.pool.listen();
            next = strong.pool.is_wanted().then_some(strong);
        }
    }
}
