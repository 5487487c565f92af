//! Bulkhead: limits concurrent calls.
//!
//! This prevents one slow dependency from taking down the whole process.
//!
//! - A call takes a permit or is rejected. With `max_queue`, it can wait for a permit for up to `max_wait`.
//! - The queue is ordered by [`Priority`], then by arrival. Calls of the same class do not overtake each other. A
//!   call of a low class can be overtaken repeatedly, but waits at most `max_wait`.
//! - A waiting future that is not polled does not block other calls. After its `max_wait` it is skipped. A granted
//!   permit that is not picked up within a second passes to the next call; a queued call gets it within two seconds.
//!   The next poll of the skipped future returns a rejection.
//! - `reserve_critical` and `reserve_high` reserve permits for the higher classes.
//! - The limit can be changed while calls run. After lowering it, the calls in flight finish normally. After raising
//!   it, waiting calls are admitted at once.
//! - With `adaptive`, the bulkhead [adjusts the limit](crate::adaptive) to the latency and the results of calls.
//!   Without the attribute, [`call`](Bulkhead::call) and its variants measure calls, and [`Permit::settle`] measures
//!   a permit.
//! - With `threads`, the bulkhead has its own threads for blocking code: see [below](#thread-pool).
//!
//! ```
//! use resilient_runtime::{Component, Registry, RejectionKind, bulkhead::Config};
//!
//! let bulkhead = Registry::new().bulkhead("gateway");
//! bulkhead.reconfigure(Config::default().max_concurrent(1)).unwrap();
//! let permit = bulkhead.try_acquire().unwrap();
//! let refused = bulkhead.try_acquire().unwrap_err();
//! assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
//! drop(permit);
//! assert!(bulkhead.try_acquire().is_ok());
//! ```
//!
//! # Thread pool
//!
//! The design follows Hystrix's thread isolation and resilience4j's `ThreadPoolBulkhead`. The following run blocking
//! work on the threads: [`call_in_threads`](Bulkhead::call_in_threads),
//! [`call_in_threads_async`](Bulkhead::call_in_threads_async), their counterparts on a pipeline's
//! [`Request`](crate::pipeline::Request), and `bulkhead("x", threads = 8)` in the attribute. The caller can stop
//! waiting, which makes timeouts of synchronous code possible.
//!
//! - Up to `threads` calls run and `max_queue` calls wait, by [`Priority`], then by arrival. Further calls are
//!   rejected at once. The timeout of a call limits its wait. A call of a low class can be overtaken indefinitely:
//!   `reserve_*` reserves slots only for the higher classes.
//! - If the caller stops waiting, because of a timeout or a dropped future, work that has not started never runs.
//!   Work that has started continues, because a thread cannot be stopped. It occupies its thread and its permit until
//!   it ends, and is counted in [`abandoned`](PoolStats::abandoned). In that work `deadline::remaining()` reports
//!   that the time is over.
//! - A panic of the work is propagated to the caller, and the thread survives. The deadline, the attempt number, and
//!   the span and subscriber of `tracing` are the same on the thread as around the call.
//! - Work that calls into its own pool, directly or through another pool, runs the inner call on its current thread,
//!   because waiting for a thread could deadlock. The inner call takes a permit as usual, but its caller cannot stop
//!   waiting.
//! - Threads start when there is work for them, and are named `resilient-NAME-NUMBER`. They stay until the settings
//!   ask for fewer threads. They never keep the process alive.
//! - Without `threads` in the settings, the work runs on the caller's thread, and the caller cannot stop waiting. A
//!   permit that is taken directly, and a function without `threads` in its attribute, take a permit of a bulkhead
//!   with threads but do not run on them.
//!
//! ```
//! use resilient_runtime::{Component, Priority, Registry, Rejection, bulkhead::Config};
//!
//! let bulkhead = Registry::new().bulkhead("reports");
//! bulkhead.reconfigure(Config::default().threads(2).max_queue(10)).unwrap();
//! let on = bulkhead.call_in_threads(|| Ok::<_, Rejection>(std::thread::current().name().map(str::to_owned)));
//! assert_eq!(on.unwrap().as_deref(), Some("resilient-reports-1"));
//! assert_eq!(bulkhead.stats().pool.unwrap().running, 0);
//! ```

mod adaptive;
mod admission;
mod config;
mod gate;
#[cfg(feature = "chaos")]
mod holds;
mod permit;
mod pool;
mod queue;
mod stats;

#[cfg(all(test, not(resilient_loom)))]
mod adaptive_tests;
#[cfg(all(test, resilient_loom))]
mod loom_models;
#[cfg(all(test, not(resilient_loom)))]
mod model_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;

pub(crate) use admission::Admission;
pub use config::Config;
pub use permit::Permit;
pub use pool::PoolStats;
pub(crate) use pool::{End, Running, Waiting, beside, in_place};
pub use stats::{ClassLimits, Stats};

use crate::classify::{Judgement, Verdict};
use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::context::Scope;
use crate::observe::EventKind;
use crate::outcome::Reject;
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::rejection::{Rejection, RejectionKind};
use adaptive::Adaptive;
use gate::Gate;
use pool::Pool;
use stats::Counters;

/// Limits concurrent calls. See the [module](self).
///
/// ```
/// use resilient_runtime::{Bulkhead, bulkhead::Config};
///
/// let bulkhead = Bulkhead::new(Config::default().max_concurrent(1))?;
/// let inner = bulkhead.call(|| Some(bulkhead.call(|| Some("both"))));
/// assert_eq!(inner, Some(None), "the inner call is the second one");
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Bulkhead {
    core: Core<Config>,
    gate: Gate,
    counters: Counters,
    /// Created when the settings first ask for threads. The threads start with the first call that runs there.
    pool: OnceCell<Pool>,
    adaptive: Adaptive,
    #[cfg(feature = "chaos")]
    holds: holds::Holds,
}

impl Bulkhead {
    /// Takes a permit for a call of normal priority, if one is free.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let bulkhead = Registry::new().bulkhead("search");
    /// let permit = bulkhead.try_acquire().unwrap();
    /// assert_eq!(bulkhead.stats().in_use, 1);
    /// drop(permit);
    /// assert_eq!(bulkhead.stats().in_use, 0);
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if no permit is free.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.try_acquire_as(Priority::Normal)
    }

    /// Takes a permit for a call of this priority, if one is free.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("ledger");
    /// bulkhead.reconfigure(Config::default().max_concurrent(2).reserve_critical(1)).unwrap();
    /// let report = bulkhead.try_acquire_as(Priority::Low).unwrap();
    /// assert!(bulkhead.try_acquire_as(Priority::High).is_err(), "the last permit is reserved");
    /// assert!(bulkhead.try_acquire_as(Priority::Critical).is_ok());
    /// # drop(report);
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if no permit is free for this priority.
    #[inline]
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        self.admit(priority).map(|()| Permit::new(self))
    }

    /// Takes a permit for a call of normal priority, and waits in the queue if needed.
    ///
    /// It does not wait past the deadline of an enclosing protected call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("index");
    /// let queue = Config::default().max_concurrent(1).max_queue(1).max_wait(Duration::from_secs(9));
    /// bulkhead.reconfigure(queue).unwrap();
    /// let first = bulkhead.acquire().await.unwrap();
    /// let (second, ()) = tokio::join!(bulkhead.acquire(), async { drop(first) });
    /// assert!(second.is_ok());
    /// assert_eq!(bulkhead.stats().waited, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue. A permit that was granted at that moment passes to the next call.
    ///
    /// # Errors
    /// Returns a rejection if the queue is full or `max_wait` has passed.
    pub async fn acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.acquire_as(Priority::Normal).await
    }

    /// Takes a permit for a call of this priority, and waits in the queue if needed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Priority, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("db");
    /// let queue = Config::default().max_concurrent(1).max_queue(9).max_wait(Duration::from_secs(9));
    /// bulkhead.reconfigure(queue).unwrap();
    /// let (held, served) = (bulkhead.try_acquire().unwrap(), std::cell::RefCell::new(Vec::new()));
    /// let call = async |priority| {
    ///     let _permit = bulkhead.acquire_as(priority).await.unwrap();
    ///     served.borrow_mut().push(priority);
    /// };
    /// tokio::join!(call(Priority::Low), call(Priority::High), async { drop(held) });
    /// assert_eq!(*served.borrow(), [Priority::High, Priority::Low]);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// Same as [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        self.queue(priority, self.inherited()).await.map(|()| Permit::new(self))
    }

    /// Like [`acquire`](Self::acquire), but blocks the thread.
    ///
    /// ```
    /// use resilient_runtime::{Component, RejectionKind, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("scanner");
    /// bulkhead.reconfigure(Config::default().max_concurrent(1)).unwrap();
    /// let permit = bulkhead.acquire_blocking().unwrap();
    /// let refused = bulkhead.acquire_blocking().unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::BulkheadFull, "without a queue calls do not wait");
    /// # drop(permit);
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the queue is full or `max_wait` has passed.
    pub fn acquire_blocking(&self) -> Result<Permit<'_>, Rejection> {
        self.acquire_blocking_as(Priority::Normal)
    }

    /// Like [`acquire_as`](Self::acquire_as), but blocks the thread.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("backup");
    /// bulkhead.reconfigure(Config::default().max_concurrent(2).reserve_critical(1)).unwrap();
    /// let report = bulkhead.acquire_blocking_as(Priority::Low).unwrap();
    /// assert!(bulkhead.acquire_blocking_as(Priority::Low).is_err(), "the last permit is reserved");
    /// assert!(bulkhead.acquire_blocking_as(Priority::Critical).is_ok());
    /// # drop(report);
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the queue is full or `max_wait` has passed.
    pub fn acquire_blocking_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        let mut queue = self.queue(priority, self.inherited());
        let admitted = queue.block();
        if queue.has_waited() {
            self.core.clock().warn_of_blocking(self.core.name);
        }
        admitted.map(|()| Permit::new(self))
    }

    /// Runs `work` with a permit, and blocks in the queue if needed.
    ///
    /// [`Verdict::of`](crate::Verdict::of) classifies the result.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Rejection};
    ///
    /// let bulkhead = Registry::new().bulkhead("resize");
    /// let in_use = bulkhead.call(|| Ok::<_, Rejection>(bulkhead.stats().in_use));
    /// assert_eq!((in_use, bulkhead.stats().in_use), (Ok(1), 0));
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnOnce() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a custom judge.
    ///
    /// An example is [`Verdict::by_class`](crate::Verdict::by_class). An adaptive bulkhead lowers its limit on
    /// [`Class::Overload`](crate::Class::Overload).
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("shop");
    /// bulkhead.reconfigure(Config::default().adaptive(true)).unwrap();
    /// let busy = Class::Overload { retry_after: None };
    /// let judge = |stock: &Option<u32>| if stock.is_some() { Verdict::Success } else { Verdict::Failure(busy) };
    /// assert_eq!(bulkhead.call_judged(|| None::<u32>, judge), None);
    /// assert_eq!(bulkhead.stats().adaptive.unwrap().limit, 20, "one call does not change the limit");
    /// ```
    pub fn call_judged<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl FnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        let permit = match self.acquire_blocking() {
            Ok(permit) => permit,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work();
        permit.settle(judge(&outcome));
        outcome
    }

    /// Runs `work` with a permit, and waits in the queue if needed.
    ///
    /// [`Verdict::of`](crate::Verdict::of) classifies the result.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("thumbnails");
    /// bulkhead.reconfigure(Config::default().max_concurrent(1)).unwrap();
    /// let work = async || {
    ///     tokio::task::yield_now().await;
    ///     Some("made")
    /// };
    /// let both = tokio::join!(bulkhead.call_async(work), bulkhead.call_async(work));
    /// assert_eq!(both, (Some("made"), None));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work and releases the permit.
    pub async fn call_async<R: Reject<Error: 'static>>(&self, work: impl AsyncFnOnce() -> R) -> R {
        self.call_judged_async(work, Judgement::of).await
    }

    /// Like [`call_async`](Self::call_async), with a custom judge.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let bulkhead = Registry::new().bulkhead("files");
    /// let read = async || std::fs::read("/no/such/file");
    /// let error = bulkhead.call_judged_async(read, Verdict::by_class).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// assert_eq!(bulkhead.stats().in_use, 0);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl AsyncFnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        // A separate statement: a scrutinee would be stored in the future, including the rejection.
        let permit = match self.acquire().await {
            Ok(permit) => permit,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work().await;
        permit.settle(judge(&outcome));
        outcome
    }

    /// Returns the deadline of the enclosing calls.
    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // For the pipeline -------------------------------------------------------------------------------------

    /// Takes a permit if one is free. Does not count a rejection.
    #[inline]
    pub(crate) fn try_enter(&self, priority: Priority) -> bool {
        self.gate.try_enter(priority) || (self.may_be_freed() && self.enter_after_others(priority))
    }

    /// Whether permits may be free that do not look so: they were not picked up, or a fault held them.
    #[inline]
    fn may_be_freed(&self) -> bool {
        #[cfg(feature = "chaos")]
        if self.holds.is_set() {
            return true;
        }
        self.gate.is_unclaimed()
    }

    /// Like [`try_enter`](Self::try_enter), after taking back permits that were not picked up.
    #[cold]
    fn enter_after_others(&self, priority: Priority) -> bool {
        #[cfg(feature = "chaos")]
        self.end_holds();
        self.gate.admit_waiters(self.core.clock().now());
        self.gate.try_enter(priority)
    }

    /// Takes a permit or rejects the call, without waiting.
    #[inline]
    pub(crate) fn admit(&self, priority: Priority) -> Result<(), Rejection> {
        if self.try_enter(priority) { Ok(()) } else { Err(self.refuse_at_once()) }
    }

    #[cold]
    fn refuse_at_once(&self) -> Rejection {
        #[cfg(feature = "chaos")]
        self.count_hold();
        self.refuse()
    }

    /// Returns a future that takes a permit and waits for it until `deadline`. It can also be blocked on.
    pub(crate) fn queue(&self, priority: Priority, deadline: Instant) -> Admission<'_> {
        Admission::new(self, priority, deadline)
    }

    /// Returns the thread pool, if the settings enable it.
    #[inline]
    fn pool(&self) -> Option<&Pool> {
        self.pool.get().filter(|pool| pool.is_on())
    }

    /// Whether a permit means waiting for a thread instead of running.
    pub(crate) fn has_threads(&self) -> bool {
        self.pool().is_some()
    }

    fn apply_threads(&self, config: &Config) {
        if config.threads.is_some() {
            self.pool.get_or_init(|| Pool::new(self.core.name));
        }
        if let Some(pool) = self.pool.get() {
            pool.resize(config.threads.unwrap_or(0));
        }
    }

    /// Whether the bulkhead measures call durations.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.adaptive.is_on()
    }

    /// Records a call that is about to release the permit it has held since `started`.
    #[inline]
    pub(crate) fn learn(&self, verdict: Verdict, started: Instant, now: impl FnOnce() -> Instant) {
        if let Some(limit) = self.adaptive.get()
            && limit.sample(started, now(), self.gate.in_use(), verdict.into())
        {
            self.resize();
        }
    }

    /// Applies a changed limit to the gate.
    #[cold]
    fn resize(&self) {
        loop {
            let config = self.core.config().in_force();
            let permits = self.adaptive.permits(&config);
            let held = self.held(&config, permits);
            self.gate.resize(&config, permits, held, self.core.clock().now());
            // If two threads run concurrently, the one with the older limit might store it last.
            let config = self.core.config().in_force();
            if permits == self.adaptive.permits(&config) && held == self.held(&config, permits) {
                break;
            }
        }
    }

    /// Returns how many permits faults hold.
    #[cfg(not(feature = "chaos"))]
    #[allow(clippy::unused_self)] // the same signature with the feature
    fn held(&self, _: &Config, _: u32) -> u32 {
        0
    }

    /// Releases a permit.
    #[inline]
    pub(crate) fn release(&self) {
        self.gate.leave(|| self.core.clock().now());
    }

    #[cold]
    pub(crate) fn refuse(&self) -> Rejection {
        self.refuse_for(RejectionKind::BulkheadFull)
    }

    #[cold]
    fn refuse_for(&self, kind: RejectionKind) -> Rejection {
        self.counters.rejected();
        tracing::debug!(target: "resilient_runtime::bulkhead", bulkhead = %self.core.name, kind = kind.as_str(), "call rejected");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after: None });
        let rejection = Rejection::new(kind, self.core.name);
        #[cfg(feature = "chaos")]
        let rejection = self.marked(rejection);
        rejection
    }

    /// Returns the time until which a call that arrives now can wait.
    fn patience(&self, now: Instant, deadline: Instant) -> Instant {
        let wait = self.core.config().max_wait.unwrap_or(Duration::ZERO);
        now.after(wait).min(deadline)
    }
}

impl Create for Bulkhead {
    const REFUSALS: &[RejectionKind] =
        &[RejectionKind::BulkheadFull, RejectionKind::QueueTimeout, RejectionKind::NoTimer];

    fn create(core: Core<Config>) -> Self {
        let config = core.config().in_force();
        let adaptive = Adaptive::new(&config);
        let gate = Gate::new(&config, adaptive.permits(&config));
        let bulkhead = Self {
            core,
            gate,
            counters: Counters::default(),
            adaptive,
            pool: OnceCell::new(),
            #[cfg(feature = "chaos")]
            holds: holds::Holds::default(),
        };
        bulkhead.apply_threads(&config);
        bulkhead
    }

    fn saturation(&self) -> Option<Ratio> {
        let stats = self.stats();
        Some(Ratio::of(stats.in_use.into(), stats.limit.into()))
    }
}

impl Component for Bulkhead {
    const KIND: Kind = Kind::Bulkhead;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        // Threads first: an admitted call must find them.
        self.apply_threads(config);
        self.adaptive.apply(&Arc::new(config.clone()).in_force());
        self.resize();
        #[cfg(feature = "chaos")]
        self.hold_threads();
    }

    fn stats(&self) -> Stats {
        let config = self.core.config().in_force();
        let permits = self.adaptive.permits(&config);
        #[cfg(feature = "chaos")]
        self.end_holds();
        let held = self.held(&config, permits);
        let pool = self.pool.get().map(Pool::stats).filter(|pool| pool.threads > 0 || pool.alive > 0);
        self.gate.admit_waiters(self.core.clock().now());
        Stats {
            adaptive: self.adaptive.stats(),
            ..self.counters.snapshot(&config, (permits, held), &self.gate, pool)
        }
    }

    /// Resets the counts and restarts an adaptive limit. Permits in use and waiting calls stay.
    fn reset(&self) {
        self.counters.reset();
        self.adaptive.reset(&self.core.config().in_force());
        self.resize();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}
