//! A fault before it is armed.

use std::fmt;
use std::time::Duration;

use super::action::{Action, Subject};
use super::latency::Latency;
use super::problem::{InvalidFault, Problems};
use super::target::Target;
use crate::classify::Class;
use crate::kind::Kind;
use crate::observe::FaultKind;
use crate::priority::Priority;
use crate::rejection::RejectionKind;
use crate::settings::duration_text;

/// The time to live of a fault that sets none.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(resilient_runtime::chaos::DEFAULT_TTL, Duration::from_mins(10));
/// ```
pub const DEFAULT_TTL: Duration = Duration::from_mins(10);

/// The longest time to live of a fault.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(resilient_runtime::chaos::MAX_TTL, Duration::from_hours(24));
/// ```
pub const MAX_TTL: Duration = Duration::from_hours(24);

const LEAST_TTL: Duration = Duration::from_millis(1);

/// Adds a problem unless a fault can live for `ttl`.
pub(super) fn check_ttl(ttl: Duration, problems: &mut Problems) {
    problems.require((LEAST_TTL..=MAX_TTL).contains(&ttl), || {
        format!("the time to live {} is not from 1ms to 24h", duration_text(ttl))
    });
}

/// A fault to inject: what happens, to which calls, how often and for how long.
///
/// A fault affects attempts, not calls: after an injected error, a retry is a new attempt, and `times(1)` lets it
/// succeed. All conditions must be met. A fault must name its target by [`on`](Self::on),
/// [`component`](Self::component) or [`group`](Self::group); `on("*")` stands for every operation.
///
/// ```
/// use resilient_runtime::{Class, Registry, Rejection, chaos::Fault, clock::ManualClock};
///
/// let registry = Registry::with_clock(ManualClock::new().clock());
/// let charge = registry.pipeline("charge").retry("gateway").build();
/// let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("charge").times(3)).unwrap();
/// assert_eq!(charge.call(|| Ok::<_, Rejection>(995)), Ok(995), "the fourth attempt succeeds");
/// assert_eq!(fault.injected(), 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a fault does nothing until it is injected or armed"]
pub struct Fault {
    pub(super) action: Action,
    pub(super) target: Target,
    pub(super) seed: Option<u64>,
    pub(super) ttl: Duration,
    pub(super) max_active: Option<u32>,
}

impl Fault {
    pub(super) fn new(action: Action) -> Self {
        Self { action, target: Target::default(), seed: None, ttl: DEFAULT_TTL, max_active: None }
    }

    /// Delays the body. Attempt timeouts, slow-call rules and adaptive limits see a slow attempt.
    ///
    /// The latencies of several faults add up. A synchronous call blocks its thread, at most until its deadline.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, chaos::{Fault, Latency}, clock::Clock};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let load = registry.pipeline("load").timeout("db").build();
    /// let slow = Fault::latency(Latency::fixed(Duration::from_mins(5))).on("load");
    /// let _fault = registry.chaos().inject(slow).unwrap();
    /// let late = load.call_async(async || Ok::<_, Rejection>(7)).await.unwrap_err();
    /// assert_eq!(late.kind(), RejectionKind::TotalTimeout);
    /// # }
    /// ```
    pub fn latency(latency: Latency) -> Self {
        Self::new(Action::Latency(latency))
    }

    /// Fails the attempt with a rejection of kind [`RejectionKind::Injected`]. The body does not run.
    ///
    /// The class decides how retry and circuit breaker treat it: `Transient`, `Uncertain`, `Overload` or `Permanent`.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Rejection, RejectionKind, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let charge = registry.pipeline("charge").build();
    /// let _fault = registry.chaos().inject(Fault::error(Class::Permanent).on("charge")).unwrap();
    /// let error = charge.call(|| Ok::<_, Rejection>(995)).unwrap_err();
    /// assert_eq!(error.kind(), RejectionKind::Injected);
    /// assert_eq!(error.to_string(), "`charge` failed: injected by fault 1 (error, by code)");
    /// ```
    pub fn error(class: Class) -> Self {
        Self::new(Action::Error(class))
    }

    /// Fails the attempt with the error of `chaos(error = ..)` of the annotated function.
    ///
    /// In a function without this argument, and in a pipeline without the attribute, it acts as
    /// `Fault::error(Class::TRANSIENT)`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let charge = registry.pipeline("charge").build();
    /// let _fault = registry.chaos().inject(Fault::typed_error().on("charge")).unwrap();
    /// let error = charge.call(|| Ok::<_, Rejection>(995)).unwrap_err();
    /// assert_eq!(error.kind(), RejectionKind::Injected);
    /// ```
    pub fn typed_error() -> Self {
        Self::new(Action::TypedError)
    }

    /// Suspends the attempt until a timeout, its cancellation or the end of the fault.
    ///
    /// At the end of the fault the body runs. A synchronous call blocks its thread, at most until its deadline. On a
    /// [`ManualClock`](crate::clock::ManualClock) a synchronous call advances the clock instead.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, chaos::Fault, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock());
    /// let load = registry.pipeline("load").build();
    /// registry.chaos().arm(Fault::hang().on("load"), "alice").unwrap();
    /// let stop = async { _ = registry.chaos().stop_all() };
    /// let (value, ()) = tokio::join!(load.call_async(async || Some(7)), stop);
    /// assert_eq!(value, Some(7), "the end of the fault wakes the call");
    /// # }
    /// ```
    pub fn hang() -> Self {
        Self::new(Action::Hang)
    }

    /// Panics instead of running the body. The panic counts as one of the body, and propagates.
    ///
    /// ```
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").build();
    /// let _fault = registry.chaos().inject(Fault::panic().on("load")).unwrap();
    /// assert!(catch_unwind(AssertUnwindSafe(|| load.call(|| Some(7)))).is_err());
    /// assert_eq!(load.stats().panicked, 1);
    /// ```
    pub fn panic() -> Self {
        Self::new(Action::Panic)
    }

    /// Rejects the attempt, as if a stage had done so: `CircuitOpen`, `BulkheadFull` or `RateLimited`.
    ///
    /// It is treated like a rejection of that stage: the circuit breaker counts no result, and a token of the rate
    /// limiter is refunded.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").circuit_breaker("db").build();
    /// let _fault = registry.chaos().inject(Fault::refuse(RejectionKind::CircuitOpen).on("load")).unwrap();
    /// let error = load.call(|| Ok::<_, Rejection>(7)).unwrap_err();
    /// assert_eq!(error.to_string(), "circuit breaker `db` is open: injected by fault 1 (refuse, by code)");
    /// ```
    pub fn refuse(kind: RejectionKind) -> Self {
        Self::new(Action::Refuse(kind))
    }

    /// Affects operations with this name. `*` stands for any text. Several calls add alternatives.
    ///
    /// ```
    /// use resilient_runtime::{Class, chaos::Fault};
    ///
    /// let fault = Fault::error(Class::TRANSIENT).on("shop::*").on("charge");
    /// assert_eq!(fault.to_string(), "error, transient on shop::*, charge");
    /// ```
    pub fn on(mut self, pattern: impl Into<String>) -> Self {
        self.target.patterns.push(pattern.into());
        self
    }

    /// Affects operations that use this component.
    ///
    /// ```
    /// use resilient_runtime::{Kind, chaos::Fault};
    ///
    /// let fault = Fault::hang().component(Kind::CircuitBreaker, "payment");
    /// assert_eq!(fault.to_string(), "hang on circuit_breaker `payment`");
    /// ```
    pub fn component(mut self, kind: Kind, name: impl Into<String>) -> Self {
        self.target.component = Some((kind, name.into()));
        self
    }

    /// Affects annotated functions with `chaos = "group"`.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert_eq!(Fault::hang().group("payments").to_string(), "hang on group `payments`");
    /// ```
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.target.group = Some(group.into());
        self
    }

    /// Affects calls with this priority.
    ///
    /// ```
    /// use resilient_runtime::{Priority, chaos::Fault};
    ///
    /// assert_eq!(Fault::hang().on("*").priority(Priority::Low).to_string(), "hang on *, priority low");
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.target.priority = Some(priority);
        self
    }

    /// Affects calls whose correlation id starts with this text.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// let fault = Fault::hang().on("*").correlation_prefix("gameday-");
    /// assert_eq!(fault.to_string(), "hang on *, correlation id `gameday-..`");
    /// ```
    pub fn correlation_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.target.correlation_prefix = Some(prefix.into());
        self
    }

    /// Affects calls in the scope of this [`FaultToken`](super::FaultToken), such as the calls of one request.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert_eq!(Fault::hang().on("*").header_token("ada-7").to_string(), "hang on *, token `ada-7`");
    /// ```
    pub fn header_token(mut self, token: impl Into<String>) -> Self {
        self.target.token = Some(token.into());
        self
    }

    /// Affects a share of the attempts, over 0 and at most 1. The default is 1.
    ///
    /// Which of them is decided by the [`seed`](Self::seed) and the number of the attempt.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert_eq!(Fault::hang().on("*").rate(0.1).to_string(), "hang on *, 10 %");
    /// ```
    pub fn rate(mut self, rate: f64) -> Self {
        self.target.rate = rate;
        self
    }

    /// Affects every n-th attempt: the n-th, the 2n-th and so on.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert_eq!(Fault::hang().on("*").every(3).to_string(), "hang on *, 1 in 3");
    /// ```
    pub fn every(mut self, n: u64) -> Self {
        self.target.every = n;
        self
    }

    /// Affects at most this many attempts.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert_eq!(Fault::hang().on("*").times(3).to_string(), "hang on *, 3 times");
    /// ```
    pub fn times(mut self, n: u64) -> Self {
        self.target.times = Some(n);
        self
    }

    /// Sets the seed, so that the same attempts are affected in each run.
    ///
    /// Without it, the seed comes from the registry: it is fixed for [`Registry::with_seed`](crate::Registry::with_seed),
    /// and random otherwise.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let run = |seed| {
    ///     let registry = Registry::new();
    ///     let load = registry.pipeline("load").build();
    ///     let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load").rate(0.5).seed(seed)).unwrap();
    ///     (0..100).map(|_| load.call(|| Some(7)).is_some()).collect::<Vec<_>>()
    /// };
    /// assert_eq!(run(42), run(42));
    /// assert_ne!(run(42), run(43));
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how long the fault stays armed, from 1 ms to 24 h. The default is 10 minutes.
    ///
    /// The time is measured by the clock of the registry and, in case that one stops or jumps, by the system's
    /// monotonic clock: the fault ends when either has advanced by `ttl`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, chaos::Fault, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock());
    /// registry.chaos().arm(Fault::hang().on("load").ttl(Duration::from_mins(1)), "alice").unwrap();
    /// time.advance(Duration::from_mins(1));
    /// assert!(!registry.chaos().is_armed());
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how many attempts the fault may affect at the same time. By default there is no such limit.
    ///
    /// It limits faults that last: latency and hangs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, chaos::Fault, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock());
    /// let load = registry.pipeline("load").build();
    /// let fault = registry.chaos().inject(Fault::hang().on("load").max_active(1)).unwrap();
    /// let hangs = load.call_async(async || Some(1));
    /// let second = async { (load.call_async(async || Some(2)).await, drop(fault)) };
    /// let (first, (second, ())) = tokio::join!(hangs, second);
    /// assert_eq!((first, second), (Some(1), Some(2)));
    /// # }
    /// ```
    pub fn max_active(mut self, n: u32) -> Self {
        self.max_active = Some(n);
        self
    }

    /// Returns the kind of fault.
    ///
    /// ```
    /// use resilient_runtime::chaos::{Fault, FaultKind};
    ///
    /// assert_eq!(Fault::panic().kind(), FaultKind::Panic);
    /// ```
    pub fn kind(&self) -> FaultKind {
        self.action.kind()
    }

    /// Checks the fault and reports all of its problems. Injecting and arming it check it too.
    ///
    /// ```
    /// use resilient_runtime::chaos::Fault;
    ///
    /// assert!(Fault::hang().on("charge").check().is_ok());
    /// assert_eq!(Fault::hang().rate(2.0).every(0).check().unwrap_err().problems().len(), 3);
    /// ```
    pub fn check(&self) -> Result<(), InvalidFault> {
        let mut problems = Problems::default();
        self.action.check(&mut problems);
        match self.action.subject() {
            Subject::Calls => problems.require(self.target.is_named(), || {
                "the fault has no target; name one with `on`, `component` or `group` (`on = \"*\"` is every operation)".to_owned()
            }),
            subject @ (Subject::Component { .. } | Subject::Clock) => {
                self.target.check_of_component(self.kind(), subject, &mut problems);
            }
        }
        self.target.check(&mut problems);
        problems.require(self.max_active != Some(0), || "`max_active` = 0 is refused: at least 1".to_owned());
        check_ttl(self.ttl, &mut problems);
        problems.finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)?;
        if self.action.subject() == Subject::Clock { Ok(()) } else { write!(f, " on {}", self.target) }
    }
}
