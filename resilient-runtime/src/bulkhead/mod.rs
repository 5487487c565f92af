//! Bounds how many calls run at once, so that one slow dependency cannot take all of a process with it.
//!
//! - A call takes a permit or is refused. With `max_queue` it may wait up to `max_wait` for one.
//! - The queue is ordered by [`Priority`], then by arrival; nobody overtakes their own class. A low class can
//!   be overtaken again and again, but waits no longer than `max_wait`.
//! - A call whose future is kept and not polled holds nobody up. Once its `max_wait` is over it is passed over, and a permit
//!   that was granted and not picked up within a second goes to the next; a call in the queue notices within two. When it is
//!   polled again it is refused.
//! - `reserve_critical` and `reserve_high` keep permits for the higher classes.
//! - The limit can be changed while calls run: a smaller one lets the calls in flight end, a larger one admits
//!   waiters at once.
//! - With `adaptive` it finds the limit [by itself](crate::adaptive), from how long calls take and how they end. By hand,
//!   [`call`](Bulkhead::call) and its like say so, and a [`Permit`] by [`settle`](Permit::settle).
//! - With `threads` it has threads of its own, for blocking code: see [below](#threads-of-its-own).
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
//! # Threads of its own
//!
//! After Hystrix' thread isolation and resilience4j's `ThreadPoolBulkhead`.
//! [`call_in_threads`](Bulkhead::call_in_threads) and [`call_in_threads_async`](Bulkhead::call_in_threads_async), those of a
//! pipeline's [`Request`](crate::pipeline::Request), and `bulkhead("x", threads = 8)` in the attribute hand blocking work to
//! the threads; who waits for it can leave, which makes a timeout of synchronous code possible.
//!
//! - So many run as there are `threads`, `max_queue` wait, by [`Priority`] and then by arrival; one more is refused at once.
//!   How long a call waits is a matter of its timeout. A low class may be overtaken without end: `reserve_*` keeps places
//!   for the higher ones, not for it.
//! - Work whose caller has left, because its time is over or its future is dropped, never runs if it has not begun. Else
//!   it runs on: nothing can stop a thread. It keeps its thread and its place until it ends, and
//!   [`abandoned`](PoolStats::abandoned) counts it meanwhile. In it `deadline::remaining()` says that the time is over.
//! - A panic of the work is one of the call; the thread lives on. The deadline and the number of the attempt, and the span
//!   and the subscriber of `tracing`, are in the thread as they are around the call.
//! - Work that calls into its own pool, also by way of another, does that in place, on the thread that it has: to wait for
//!   one could be to wait for itself. Such a call takes a place as any other, and cannot be left.
//! - Threads start when there is work for them, are named `resilient-NAME-NUMBER`, and stay until the settings want fewer.
//!   They never keep the process alive.
//! - Where the settings have no `threads` (any more), the work is done where the call is made, and cannot be left. A permit
//!   by hand, or a function without `threads` in its attribute, takes a place of a bulkhead with threads, and runs on none.
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

/// Bounds concurrent calls. See the [module](self).
///
/// ```
/// use resilient_runtime::{Bulkhead, bulkhead::Config};
///
/// let bulkhead = Bulkhead::new(Config::default().max_concurrent(1))?;
/// let inner = bulkhead.call(|| Some(bulkhead.call(|| Some("both"))));
/// assert_eq!(inner, Some(None), "a call in it is the second");
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Bulkhead {
    core: Core<Config>,
    gate: Gate,
    counters: Counters,
    /// Made when the settings first want threads, which start with the first call that runs there.
    pool: OnceCell<Pool>,
    adaptive: Adaptive,
}

impl Bulkhead {
    /// A permit for a call of normal priority, if there is one now.
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
    /// When there is none.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.try_acquire_as(Priority::Normal)
    }

    /// A permit for a call of this priority, if there is one now.
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
    /// When there is none.
    #[inline]
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        self.admit(priority).map(|()| Permit::new(self))
    }

    /// A permit for a call of normal priority; waits in the queue if there is one, and no longer than a protected
    /// call around it may take.
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
    /// Dropping the future leaves the queue; a permit granted at that moment goes to the next.
    ///
    /// # Errors
    /// When the queue is full or `max_wait` is over.
    pub async fn acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.acquire_as(Priority::Normal).await
    }

    /// A permit for a call of this priority; waits in the queue if there is one.
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
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire).
    pub async fn acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        self.queue(priority, self.inherited()).await.map(|()| Permit::new(self))
    }

    /// A permit for a call of normal priority; blocks the thread in the queue if there is one.
    ///
    /// ```
    /// use resilient_runtime::{Component, RejectionKind, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("scanner");
    /// bulkhead.reconfigure(Config::default().max_concurrent(1)).unwrap();
    /// let permit = bulkhead.acquire_blocking().unwrap();
    /// let refused = bulkhead.acquire_blocking().unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::BulkheadFull, "without a queue nobody waits");
    /// # drop(permit);
    /// ```
    ///
    /// # Errors
    /// When the queue is full or `max_wait` is over.
    pub fn acquire_blocking(&self) -> Result<Permit<'_>, Rejection> {
        self.acquire_blocking_as(Priority::Normal)
    }

    /// A permit for a call of this priority; blocks the thread in the queue if there is one.
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
    /// When the queue is full or `max_wait` is over.
    pub fn acquire_blocking_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        let mut queue = self.queue(priority, self.inherited());
        let admitted = queue.block();
        if queue.has_waited() {
            self.core.clock().warn_of_blocking(self.core.name);
        }
        admitted.map(|()| Permit::new(self))
    }

    /// Runs `work` with a permit; blocks in the queue if there is one. Judged by [`Verdict::of`](crate::Verdict::of).
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

    /// Like [`call`](Self::call), with a judge of your own, such as [`Verdict::by_class`](crate::Verdict::by_class): an adaptive bulkhead learns from
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
    /// assert_eq!(bulkhead.stats().adaptive.unwrap().limit, 20, "one is not enough to learn from");
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

    /// Runs `work` with a permit; waits in the queue if there is one. Judged by [`Verdict::of`](crate::Verdict::of).
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
    /// Dropping the future drops the work and gives the permit back.
    pub async fn call_async<R: Reject<Error: 'static>>(&self, work: impl AsyncFnOnce() -> R) -> R {
        self.call_judged_async(work, Judgement::of).await
    }

    /// Like [`call_async`](Self::call_async), with a judge of your own.
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
    /// As of [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl AsyncFnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        // A statement of its own: what is matched on would be part of the future, refusal and all.
        let permit = match self.acquire().await {
            Ok(permit) => permit,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work().await;
        permit.settle(judge(&outcome));
        outcome
    }

    /// The deadline of the calls around this one.
    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // What the pipeline calls ------------------------------------------------------------------------------

    /// Takes a permit if there is one now; counts nothing if not.
    #[inline]
    pub(crate) fn try_enter(&self, priority: Priority) -> bool {
        self.gate.try_enter(priority) || (self.gate.is_unclaimed() && self.enter_after_others(priority))
    }

    /// As [`try_enter`](Self::try_enter), once what nobody picked up is taken back.
    #[cold]
    fn enter_after_others(&self, priority: Priority) -> bool {
        self.gate.admit_waiters(self.core.clock().now());
        self.gate.try_enter(priority)
    }

    /// Takes a permit or refuses; never waits.
    #[inline]
    pub(crate) fn admit(&self, priority: Priority) -> Result<(), Rejection> {
        if self.try_enter(priority) { Ok(()) } else { Err(self.refuse()) }
    }

    /// Takes a permit, if need be after waiting in the queue until `deadline`: to be awaited, or blocked on.
    pub(crate) fn queue(&self, priority: Priority, deadline: Instant) -> Admission<'_> {
        Admission::new(self, priority, deadline)
    }

    /// Its threads, if it has any by its settings.
    #[inline]
    fn pool(&self) -> Option<&Pool> {
        self.pool.get().filter(|pool| pool.is_on())
    }

    /// Whether a permit is one to wait for a thread, and not yet to run.
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

    /// Whether it learns from how long calls take.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.adaptive.is_on()
    }

    /// A call that has had a permit since `started` is about to give it back.
    #[inline]
    pub(crate) fn learn(&self, verdict: Verdict, started: Instant, now: impl FnOnce() -> Instant) {
        if let Some(limit) = self.adaptive.get()
            && limit.sample(started, now(), self.gate.in_use(), verdict.into())
        {
            self.resize();
        }
    }

    /// The limit has changed: sets the gate to it.
    #[cold]
    fn resize(&self) {
        loop {
            let config = self.core.config().in_force();
            let permits = self.adaptive.permits(&config);
            self.gate.resize(&config, permits, self.core.clock().now());
            // Of two who do this at once, the one who has the older limit may be the later to set it.
            if permits == self.adaptive.permits(&self.core.config().in_force()) {
                break;
            }
        }
    }

    /// Gives a permit back.
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
        tracing::debug!(target: "resilient_runtime::bulkhead", bulkhead = %self.core.name, kind = kind.as_str(), "refused");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after: None });
        Rejection::new(kind, self.core.name)
    }

    /// Until when a call that arrives now may wait.
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
        let bulkhead = Self { core, gate, counters: Counters::default(), adaptive, pool: OnceCell::new() };
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
        // Threads first: who is admitted finds them, and no other way to run.
        self.apply_threads(config);
        self.adaptive.apply(&Arc::new(config.clone()).in_force());
        self.resize();
    }

    fn stats(&self) -> Stats {
        let config = self.core.config().in_force();
        let permits = self.adaptive.permits(&config);
        let pool = self.pool.get().map(Pool::stats).filter(|pool| pool.threads > 0 || pool.alive > 0);
        self.gate.admit_waiters(self.core.clock().now());
        Stats {
            adaptive: self.adaptive.stats(),
            ..self.counters.snapshot(&config, permits, &self.gate, pool)
        }
    }

    /// Zeroes the counts, and lets an adaptive limit begin anew; permits in use and waiters stay.
    fn reset(&self) {
        self.counters.reset();
        self.adaptive.reset(&self.core.config().in_force());
        self.resize();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}
