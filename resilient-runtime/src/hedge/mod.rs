//! Sends a second attempt where the first is slower than most, and takes the answer that comes first: cuts the
//! tail of the latencies for a few per cent more load.
//!
//! - Only for what may run twice with the effect of once. The attribute asks for `idempotent` (T84).
//! - Another attempt is sent after `after`, or after as long as `percentile` of the attempts take; the percentile is
//!   of all attempts, for as long as they ran: those that lost, and those that were given up, included. Until enough
//!   were seen there is none.
//! - An attempt that fails brings the next at once (T77), and does not end the call as long as another runs (T76).
//!   What will fail again, or is the caller's own mistake, ends it.
//! - In a pipeline with a retry a call is carried out at most `1 + max` of the retry `+ max` of the hedge times: an attempt
//!   that is sent because another failed is one of the retry's `max`, and in all rounds of the retry together no
//!   more than `max` of the hedge are sent beside slow attempts. The body finds out by [`is_hedge`](crate::is_hedge) and
//!   [`attempt`](crate::attempt) which of them it is.
//! - The losers are dropped, and not waited for (T78). To a circuit breaker they are neither success nor failure.
//! - The attempts are paid from a budget, in a pipeline from that of its retry: in an outage everything is slow, and
//!   everything would be sent twice (T81).
//!
//! After J. Dean and L. A. Barroso, *The Tail at Scale*, CACM 56(2), 2013, and gRPC's proposal A6.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::{cell::Cell, time::Duration};
//! use resilient_runtime::{Component, Registry, clock::Clock, hedge::Config};
//!
//! let hedge = Registry::with_clock(Clock::tokio()).hedge("search");
//! hedge.reconfigure(Config::default().after(Duration::from_millis(50))).unwrap();
//! let attempts = Cell::new(0);
//! let answer: Result<u32, &str> = hedge
//!     .call_async(|| {
//!         attempts.set(attempts.get() + 1);
//!         let number = attempts.get();
//!         async move {
//!             // The first takes long for once.
//!             tokio::time::sleep(Duration::from_millis(if number == 1 { 900 } else { 5 })).await;
//!             Ok(number)
//!         }
//!     })
//!     .await;
//! assert_eq!(answer, Ok(2));
//! # }
//! ```

mod config;
mod delay;
mod race;
mod stats;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pub use config::Config;
pub(crate) use race::{Left, Race, RaceOutcome, Sent};
pub use stats::Stats;

use crate::budget::{self, RetryBudget};
use crate::classify::{Class, Judgement};
use crate::clock::{Clock, Instant};
use crate::component::{Component, Core, Create, Kind};
use crate::context::Scope;
use crate::observe::EventKind;
use crate::outcome::Outcome;
use crate::sync::{AtomicU32, Ordering};
use delay::Estimate;
use stats::Counters;

/// Sends further attempts after slow ones. See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Component, Hedge, hedge::Config};
///
/// let hedge = Hedge::new(Config::default().after(Duration::from_millis(50)))?;
/// assert_eq!(hedge.stats().delay, Some(Duration::from_millis(50)));
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Hedge {
    core: Core<Config>,
    /// Used where there is no retry.
    budget: RetryBudget,
    estimate: Estimate,
    /// Relaxed: a setting.
    max: AtomicU32,
    counters: Counters,
}

impl Hedge {
    /// Makes an attempt with `work`, and others where that is slow or fails, judged by [`Verdict::of`](crate::Verdict::of).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let hedge = Registry::new().hedge("replicas");
    /// let mut replicas = [None, Some("row")].into_iter();
    /// let row = hedge.call_async(|| std::future::ready(replicas.next().flatten())).await;
    /// assert_eq!((row, hedge.stats().sent), (Some("row"), 1), "a failure brings the next at once");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts.
    pub async fn call_async<R: Outcome<Error: 'static>, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> R {
        self.call_judged_async(work, Judgement::of).await
    }

    /// Like [`call_async`](Self::call_async), with a judge of your own, such as [`Verdict::by_class`](crate::Verdict::by_class).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let hedge = Registry::new().hedge("disks");
    /// let read = async || std::fs::read("/no/such/file");
    /// assert!(hedge.call_judged_async(read, Verdict::by_class).await.is_err());
    /// assert_eq!(hedge.stats().sent, 0, "another would fail as well");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_judged_async<R, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
    ) -> R {
        self.budget.deposit();
        let clock = self.core.clock();
        let judge = |outcome: &mut R| RaceOutcome::of(judge(outcome).into());
        let send = |sent| HedgeAttempt { body: work(), is_hedge: sent != Sent::First };
        let (outcome, _) =
            Race::new(self, &self.budget, clock, clock.now(), Left::UNBOUNDED, send, judge).await;
        outcome
    }

    /// The budget it draws on where there is no retry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let hedge = Registry::new().hedge("shards");
    /// hedge.call_async(async || Some(7)).await;
    /// assert_eq!((hedge.budget().stats().calls, hedge.budget().stats().withdrawn), (1, 0));
    /// # }
    /// ```
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    pub(crate) fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    #[cold]
    fn sent(&self, attempt: u32) {
        self.counters.sent();
        tracing::debug!(target: "resilient_runtime::hedge", hedge = %self.core.name, attempt, "attempt is slow, sent another");
        self.core.publish(Self::KIND, EventKind::Hedged { attempt });
    }

    /// An attempt ended, or lost; one that was not made says nothing.
    #[inline]
    fn took(&self, clock: &Clock, started: Instant, worth: RaceOutcome) {
        if worth != RaceOutcome::Refused && self.estimate.is_wanted() {
            self.estimate.record(clock.now().nanos_since(started));
        }
    }
}

pin_project! {
    /// An attempt of a call by hand, whose body can tell that it is a hedge.
    struct HedgeAttempt<F> {
        #[pin]
        body: F,
        is_hedge: bool,
    }
}

impl<F: Future> Future for HedgeAttempt<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.is_hedge.then(|| Scope::current().hedged(true).enter());
        this.body.poll(cx)
    }
}

impl RaceOutcome {
    /// What will not get better by another attempt decides.
    pub(crate) fn of(judgement: Judgement) -> Self {
        match judgement.class() {
            _ if judgement.is_worth_another() => Self::Failed,
            // Refused further in, in no time.
            Some(Class::NotExecuted { .. }) => Self::Refused,
            _ => Self::Decides,
        }
    }
}

impl Create for Hedge {
    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let budget = RetryBudget::standing_alone(
            core.name,
            core.environment.clone(),
            config.budget_config(budget::Config::default()),
        );
        let (estimate, max) = (Estimate::new(&config), AtomicU32::new(config.max));
        Self { core, budget, estimate, max, counters: Counters::default() }
    }
}

impl Component for Hedge {
    const KIND: Kind = Kind::Hedge;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        self.max.store(if config.enabled { config.max } else { 0 }, Ordering::Relaxed);
        self.estimate.apply(config);
        let own = budget::Config::clone(&self.budget.config());
        self.budget.follow(config.budget_config(own));
    }

    fn stats(&self) -> Stats {
        let now = self.core.clock().now();
        let delay = self.estimate.delay(now);
        self.counters.snapshot(delay, self.estimate.stats(now), self.budget.stats())
    }

    /// Zeroes the counts and fills the budget; what is known of the attempts' time stays.
    fn reset(&self) {
        self.counters.reset();
        self.budget.begin_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
