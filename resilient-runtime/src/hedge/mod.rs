//! Hedging: sends a second attempt if the first is slow, and returns the first result.
//!
//! Hedging reduces tail latency and adds a few percent of load.
//!
//! - Use it only for idempotent calls. The attribute requires `idempotent`.
//! - Another attempt is sent after the delay `after`, or after the `percentile` of the durations of past attempts. The
//!   percentile includes attempts that lost or were cancelled, with the time that they ran. No attempt is sent until
//!   enough durations are recorded.
//! - If an attempt fails, the next one is sent immediately, and the call continues while another attempt runs. A
//!   failure that is [`Class::Permanent`], [`Class::Ignored`] or [`Class::Overload`], or that has a `retry_after`, ends
//!   the call.
//! - In a pipeline with a retry, a call is executed at most `1 + r + h` times, where `r` is the `max` of the retry and
//!   `h` the `max` of the hedge. An attempt that is sent because another failed counts towards `r`. At most `h`
//!   attempts of the call are sent in parallel with slow ones, in all rounds of the retry together. The body can call
//!   [`is_hedge`](crate::is_hedge) and [`attempt`](crate::attempt) to find out which attempt it is.
//! - Attempts that lose are dropped immediately. A circuit breaker does not count them.
//! - Each further attempt withdraws from a retry budget. In a pipeline with a retry it is the budget of that retry.
//!   Without a budget, an outage that slows all calls down would double the load.
//!
//! Sources: J. Dean and L. A. Barroso, *The Tail at Scale*, CACM 56(2), 2013, and gRPC proposal A6.
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
//!             // The first attempt is slow.
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

/// Sends another attempt when one is slow. See the [module](self).
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
    /// Used if the pipeline has no retry.
    budget: RetryBudget,
    estimate: Estimate,
    /// Relaxed: a setting.
    max: AtomicU32,
    counters: Counters,
}

impl Hedge {
    /// Calls `work`, and calls it again if the attempt is slow or fails.
    ///
    /// Results are judged by [`Verdict::of`](crate::Verdict::of).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let hedge = Registry::new().hedge("replicas");
    /// let mut replicas = [None, Some("row")].into_iter();
    /// let row = hedge.call_async(|| std::future::ready(replicas.next().flatten())).await;
    /// assert_eq!((row, hedge.stats().sent), (Some("row"), 1), "a failure sends the next attempt immediately");
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

    /// Like [`call_async`](Self::call_async), with a custom judge such as
    /// [`Verdict::by_class`](crate::Verdict::by_class).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let hedge = Registry::new().hedge("disks");
    /// let read = async || std::fs::read("/no/such/file");
    /// assert!(hedge.call_judged_async(read, Verdict::by_class).await.is_err());
    /// assert_eq!(hedge.stats().sent, 0, "another attempt would also fail");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
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

    /// Returns the budget that limits further attempts if the pipeline has no retry.
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
        tracing::debug!(target: "resilient_runtime::hedge", hedge = %self.core.name, attempt, "sent another attempt");
        self.core.publish(Self::KIND, EventKind::Hedged { attempt });
    }

    /// Records the duration of an attempt that ended or lost. A rejected attempt is not recorded.
    #[inline]
    fn took(&self, clock: &Clock, started: Instant, worth: RaceOutcome) {
        if worth != RaceOutcome::Refused && self.estimate.is_wanted() {
            self.estimate.record(clock.now().nanos_since(started));
        }
    }
}

pin_project! {
    /// An attempt of a call without a pipeline. It sets [`is_hedge`](crate::is_hedge) for the body.
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
    /// A result that another attempt would not improve decides the call.
    pub(crate) fn of(judgement: Judgement) -> Self {
        match judgement.class() {
            _ if judgement.is_worth_another() => Self::Failed,
            // Rejected by an inner component before it was executed.
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

    /// Resets the counters and refills the budget. Recorded durations are kept.
    fn reset(&self) {
        self.counters.reset();
        self.budget.begin_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
