//! What an operator does: force, resume, reset, reconfigure.

use std::sync::OnceLock;
use std::time::Duration;

use super::CircuitBreaker;
use super::config::Config;
use super::opening::Opening;
use super::rules::Rules;
use super::state::{State, Word};
use super::stats::Stats;
use super::transition::{Change, Inner};
use super::window::{CountWindow, TimeWindow, Window};
use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::{EventKind, Striped};
use crate::outage::OpenReason;
use crate::rejection::RejectionKind;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

impl CircuitBreaker {
    /// Refuses every call until [`resume`](Self::resume), [`reset`](Component::reset) or another order.
    ///
    /// ```
    /// use resilient_runtime::{OpenReason, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("legacy");
    /// breaker.force_open();
    /// assert_eq!(breaker.try_acquire().unwrap_err().reason(), Some(OpenReason::Forced));
    /// ```
    pub fn force_open(&self) {
        self.force(State::ForcedOpen);
    }

    /// Lets every call pass until [`resume`](Self::resume), [`reset`](Component::reset) or another order.
    /// Calls are still counted.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, circuit_breaker::State};
    ///
    /// let breaker = Registry::new().circuit_breaker("login");
    /// breaker.force_closed();
    /// (0..100).for_each(|_| assert_eq!(breaker.call(|| None::<u32>), None));
    /// assert_eq!(breaker.state(), State::ForcedClosed);
    /// assert_eq!(breaker.stats().failed, 100);
    /// ```
    pub fn force_closed(&self) {
        self.force(State::ForcedClosed);
    }

    /// Lets every call pass as if there were no circuit breaker, until [`resume`](Self::resume),
    /// [`reset`](Component::reset) or another order.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("tax");
    /// breaker.disable();
    /// breaker.call(|| None::<u32>);
    /// assert_eq!(breaker.stats().failed, 0, "nothing is counted");
    /// ```
    pub fn disable(&self) {
        self.force(State::Disabled);
    }

    /// Ends what [`force_open`](Self::force_open), [`force_closed`](Self::force_closed) or
    /// [`disable`](Self::disable) began: the circuit is closed, its window empty, and it acts by itself
    /// again. Does nothing else: a circuit that opened by itself stays open.
    ///
    /// ```
    /// use resilient_runtime::{Registry, circuit_breaker::State};
    ///
    /// let breaker = Registry::new().circuit_breaker("maps");
    /// breaker.force_open();
    /// breaker.resume();
    /// assert_eq!(breaker.state(), State::Closed);
    /// ```
    pub fn resume(&self) {
        let now = self.core.clock().now();
        let change = {
            let mut inner = self.inner.lock();
            // By its settings it is off: only they switch it on again.
            let forced = self.word().state().is_forced() && self.core.config().enabled;
            forced.then(|| self.change(&mut inner, State::Closed, None, None, now))
        };
        self.tell(change.as_ref());
    }

    fn force(&self, to: State) {
        let now = self.core.clock().now();
        let reason = (to == State::ForcedOpen).then_some(OpenReason::Forced);
        let change = {
            let mut inner = self.inner.lock();
            let other = self.word().state() != to;
            other.then(|| self.change(&mut inner, to, reason, None, now))
        };
        self.tell(change.as_ref());
    }

    /// A circuit that is closed already gets a new epoch all the same: what is in flight is of the past.
    fn change_to_new(&self, inner: &mut Inner) -> Option<Change> {
        let was_closed = self.word().state() == State::Closed;
        let now = self.core.clock().now();
        self.about_to_change();
        self.opening.forget();
        self.opening.open_gate();
        let change = if was_closed {
            self.enter(inner, State::Closed, now);
            None
        } else {
            Some(self.change(inner, State::Closed, None, None, now))
        };
        self.core.put(Self::KIND, || EventKind::Reset);
        if let Some(outages) = self.opening.known_outages() {
            outages.forget();
        }
        inner.count_from(self.lifetime());
        change
    }

    fn apply_window(&self, window: Window, now: Instant) {
        let counted = self.rules.counts_calls();
        match window {
            Window::Time(span) => {
                self.time_window.resize(span);
                if counted {
                    self.time_window.clear(now, &self.counters);
                }
            }
            Window::Count(size) => {
                let window = self.count_window.get_or_init(|| Box::new(CountWindow::new(size)));
                if !counted {
                    window.clear();
                }
                window.resize(size);
            }
        }
        self.rules.use_window(window);
    }

    fn apply_watch(&self, inner: &mut Inner, watched: bool) {
        let word = self.word();
        if word.state() == State::Closed {
            self.word.store(word.watched(watched).bits(), Ordering::Release);
        }
        if !watched {
            inner.in_flight.clear();
        }
    }
}

impl Create for CircuitBreaker {
    const REFUSALS: &[RejectionKind] = &[RejectionKind::CircuitOpen];

    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let now = core.clock().now();
        let time_span = match config.window {
            Window::Time(span) => span,
            // Set when it comes into use.
            Window::Count(_) => Duration::from_secs(30),
        };
        let word = if config.enabled { Word::NEW } else { Word::NEW.next(State::Disabled) };
        let breaker = Self {
            core,
            word: AtomicU64::new(word.bits()),
            is_off: AtomicBool::new(!config.enabled),
            row: AtomicU32::new(0),
            rules: Rules::new(&config),
            opening: Opening::default(),
            counters: Striped::new(),
            time_window: TimeWindow::new(time_span, now),
            count_window: OnceLock::new(),
            inner: Mutex::new(Inner::new(now)),
        };
        breaker.apply(&config);
        breaker
    }
}

impl Component for CircuitBreaker {
    const KIND: Kind = Kind::CircuitBreaker;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    /// State, window, probes and the running open period stay as they are; only a change between a window of
    /// time and one of calls begins with an empty window.
    fn apply(&self, _: &Config) {
        let now = self.core.clock().now();
        let change = {
            let mut inner = self.inner.lock();
            // Under the lock, the settings of now: two threads may be changing them.
            let config = self.core.config();
            self.rules.apply_limits(&config);
            self.apply_window(config.window, now);
            self.apply_watch(&mut inner, config.slow_in_flight);
            let state = self.word().state();
            let was_off = self.is_off.swap(!config.enabled, Ordering::Relaxed);
            match state {
                State::Disabled if was_off && config.enabled => {
                    Some(self.change(&mut inner, State::Closed, None, None, now))
                }
                State::Disabled => None,
                _ if !config.enabled && !was_off => {
                    Some(self.change(&mut inner, State::Disabled, None, None, now))
                }
                // The new settings may have decided already, and then no probe would come to find out.
                State::HalfOpen => self.decide(&mut inner, None, None, now),
                _ => None,
            }
        };
        self.tell(change.as_ref());
    }

    fn stats(&self) -> Stats {
        self.snapshot()
    }

    /// Closes the circuit, with an empty window and all counts at zero. Results of calls in flight will be
    /// late.
    fn reset(&self) {
        let change = self.change_to_new(&mut self.inner.lock());
        self.tell(change.as_ref());
        if !self.core.config().enabled {
            self.force(State::Disabled);
        }
    }
}
