//! Faults that act on components instead of calls.

use std::time::Duration;

use super::action::Action;
use super::amount::Amount;
use super::fault::Fault;
use super::latency::Latency;
use super::skew::Skew;

/// Faults on components.
///
/// Their target is a [`component`](Self::component) that exists. Conditions of calls, such as [`on`](Self::on), are
/// refused. The component behaves as if the permits, the threads, the store or the probe were really in this state.
impl Fault {
    /// Holds permits of a bulkhead, so that fewer calls are admitted.
    ///
    /// The permits are taken as they become free, before waiting calls. Held permits count as in use. If the limit of
    /// the bulkhead changes, the held permits follow it. At the end of the fault, waiting calls are admitted at once.
    /// [`rate`](Self::rate) scales the amount, for example for a ramp, and [`max_active`](Self::max_active) and
    /// [`Limits::max_rate`](super::Limits::max_rate) bound it.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, chaos::{Amount, Fault}};
    ///
    /// let registry = Registry::new();
    /// let gateway = registry.bulkhead("gateway");
    /// let all = Fault::hold_permits(Amount::ALL).component(Kind::Bulkhead, "gateway");
    /// let fault = registry.chaos().inject(all).unwrap();
    /// let refused = gateway.try_acquire().unwrap_err();
    /// assert!(refused.to_string().ends_with("injected by fault 1 (hold_permits, by code)"), "{refused}");
    /// drop(fault);
    /// assert!(gateway.try_acquire().is_ok());
    /// ```
    pub fn hold_permits(amount: Amount) -> Self {
        Self::new(Action::HoldPermits(amount))
    }

    /// Holds threads of a bulkhead with a thread pool.
    ///
    /// The threads are really occupied: each runs work that blocks until the fault ends. Threads that are busy are
    /// taken when their work ends, before waiting work. Each held thread holds a permit too, as a running call does.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, bulkhead::Config, chaos::{Amount, Fault}};
    ///
    /// let registry = Registry::new();
    /// let reports = registry.bulkhead("reports");
    /// reports.reconfigure(Config::default().threads(2)).unwrap();
    /// let both = Fault::hold_threads(Amount::count(2)).component(Kind::Bulkhead, "reports");
    /// let fault = registry.chaos().inject(both).unwrap();
    /// assert_eq!(reports.call_in_threads(|| Some(7)), None, "without a queue it is rejected");
    /// drop(fault);
    /// # while reports.stats().pool.unwrap().running > 0 { std::thread::yield_now() }
    /// assert_eq!(reports.call_in_threads(|| Some(7)), Some(7));
    /// ```
    pub fn hold_threads(amount: Amount) -> Self {
        Self::new(Action::HoldThreads(amount))
    }

    /// Fails the operations of a store: the idempotency store of a component, or a named store with all of its roles.
    ///
    /// The store is not reached. The component behaves as with a store that cannot be reached: `on_store_failure`
    /// decides about calls, and a result is returned but not stored. It affects whichever store the component uses at
    /// the time, also one that is set while the fault is in force. [`rate`](Self::rate), [`every`](Self::every) and
    /// [`times`](Self::times) count operations of the store.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, Rejection, RejectionKind, chaos::Fault, idempotency::Fingerprint};
    ///
    /// let registry = Registry::new();
    /// let once = registry.idempotency("orders");
    /// let _fault = registry.chaos().inject(Fault::fail_store().component(Kind::Idempotency, "orders")).unwrap();
    /// let refused = once.call("7", Fingerprint::NONE, || Ok::<_, Rejection>(995)).unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::StoreUnavailable);
    /// ```
    pub fn fail_store() -> Self {
        Self::new(Action::FailStore)
    }

    /// Delays the operations of a store: the idempotency store of a component, or a named store with all of its roles.
    ///
    /// An operation that takes longer than `store_timeout`, or than the `timeout` of a named store, fails as with a really
    /// slow store. An operation of a named store that blocks a thread without a timer of tokio always takes longer. At the end of the fault,
    /// waiting operations continue at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::{Fault, Latency};
    /// use resilient_runtime::{Kind, Registry, clock::Clock, idempotency::Fingerprint};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let once = registry.idempotency("orders");
    /// let slow = Fault::slow_store(Latency::fixed(Duration::from_millis(50))).component(Kind::Idempotency, "orders");
    /// let _fault = registry.chaos().inject(slow).unwrap();
    /// let before = registry.clock().now();
    /// assert_eq!(once.call_async("7", Fingerprint::NONE, async || Some(995)).await, Some(995));
    /// assert!(registry.clock().now().since(before) >= Duration::from_millis(100), "to claim the key and to store the result");
    /// # }
    /// ```
    pub fn slow_store(latency: Latency) -> Self {
        Self::new(Action::SlowStore(latency))
    }

    /// Lets a health check alternate between failing and its true result.
    ///
    /// In the first half of each `period`, from 1 ms to 24 h, the check observes failures. The probe itself runs as
    /// usual, so that the true status is known: at the end of the fault the check has it at once. With a
    /// [`rate`](Self::rate) below 1, only this share of the probes fails.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Kind, Registry, chaos::Fault, clock::ManualClock};
    /// use resilient_runtime::health::{Config, Status};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock());
    /// let database = registry.health("database");
    /// database.reconfigure(Config::default().failures(1)).unwrap();
    /// database.probe(|| async { Ok::<_, String>(()) });
    /// let flaps = Fault::flap_health(Duration::from_secs(20)).component(Kind::Health, "database");
    /// let _fault = registry.chaos().inject(flaps).unwrap();
    /// assert_eq!(database.check().await.status, Status::Fail);
    /// time.advance(Duration::from_secs(10));
    /// assert_eq!(database.check().await.status, Status::Pass);
    /// # }
    /// ```
    pub fn flap_health(period: Duration) -> Self {
        Self::new(Action::FlapHealth(period))
    }

    /// Skews the clock of the registry: it jumps ahead, or runs faster or slower.
    ///
    /// All components, timeouts and timers of the registry follow the skewed clock. It never moves back: at the end of
    /// the fault it runs at its usual speed again and keeps its distance, because only differences of a monotonic clock
    /// have a meaning. The time to live of faults is measured without the skew. No policy uses the time of day, so that
    /// there is none to skew.
    ///
    /// The registry needs a clock that can be skewed: see [`Clock::skewable`](crate::clock::Clock::skewable). The fault
    /// has no target and no conditions, and is refused while [`Limits::max_rate`](super::Limits::max_rate) is below 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::{Fault, Skew};
    /// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, State}, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock().skewable());
    /// let breaker = registry.circuit_breaker("payment");
    /// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// breaker.call(|| None::<u32>);
    /// assert!(breaker.try_acquire().is_err(), "open for 5 s");
    /// let _fault = registry.chaos().inject(Fault::skew_clock(Skew::jump(Duration::from_mins(1)))).unwrap();
    /// assert!(breaker.try_acquire().is_ok(), "a probe");
    /// ```
    pub fn skew_clock(skew: Skew) -> Self {
        Self::new(Action::SkewClock(skew))
    }
}
