//! Operator controls: force a state, resume, reset and reconfigure.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::CircuitBreaker;
use super::config::Config;
use super::opening::Opening;
use super::rules::Rules;
use super::shared::Home;
use super::state::{State, Word};
use super::stats::Stats;
use super::transition::{Change, Inner};
use super::window::{CountWindow, TimeWindow, Window};
use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::{EventKind, Striped};
use crate::outage::OpenReason;
use crate::rejection::RejectionKind;
use crate::settings::ConfigError;
use crate::store::NamedStores;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

impl CircuitBreaker {
    /// Rejects all calls.
    ///
    /// The state stays until [`resume`](Self::resume), [`reset`](Component::reset) or another forced state.
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

    /// Admits all calls and still counts them.
    ///
    /// The state stays until [`resume`](Self::resume), [`reset`](Component::reset) or another forced state.
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

    /// Admits all calls without counting them, as if there were no circuit breaker.
    ///
    /// The state stays until [`resume`](Self::resume), [`reset`](Component::reset) or another forced state.
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

    /// Ends a forced state and closes the circuit with an empty window.
    ///
    /// It ends [`force_open`](Self::force_open), [`force_closed`](Self::force_closed) and [`disable`](Self::disable).
    /// A circuit that opened by itself stays open. A circuit that is disabled in the settings stays disabled.
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
            // If the settings disable it, only the settings can enable it again.
            let forced = self.word().state().is_forced() && self.core.config().enabled;
            forced.then(|| self.change(&mut inner, State::Closed, None, None, now))
        };
        self.tell(change.as_ref());
    }

    pub(crate) fn with_stores(core: Core<Config>, stores: Arc<NamedStores>) -> Self {
        Self { home: Home::new(stores), ..Self::create(core) }
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

    /// Resets the circuit. A closed circuit also gets a new epoch, so results of calls in flight are late.
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
        inner.governed.dismiss();
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
            // Replaced when a time window is first used.
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
            home: Home::default(),
            coordination: OnceLock::new(),
        };
        breaker.apply(&config);
        breaker
    }

    fn made(self: &Arc<Self>) {
        self.settle_in();
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let allowed = "named stores exist only in a registry: leave it unset";
        error.require(config.store.is_none(), "store", config.store.clone(), allowed);
    }

    fn notes(&self) -> Vec<String> {
        self.shared_notes()
    }
}

impl Component for CircuitBreaker {
    const KIND: Kind = Kind::CircuitBreaker;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    /// Keeps the state, the window, the probes and the current open period. A change between a time window and a
    /// count window starts with an empty window.
    fn apply(&self, _: &Config) {
        let now = self.core.clock().now();
        let change = {
            let mut inner = self.inner.lock();
            // Read the current settings under the lock: two threads can change them at the same time.
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
                // With the new settings the existing results can be decisive, and no further probe might come.
                State::HalfOpen => self.decide(&mut inner, None, None, now),
                _ => None,
            }
        };
        self.tell(change.as_ref());
        self.coordinate();
    }

    fn stats(&self) -> Stats {
        self.snapshot()
    }

    /// Closes the circuit of this instance with an empty window and sets all counts to zero. Results of calls in flight
    /// are counted as late. See [`reset_all`](Self::reset_all) for a shared circuit.
    fn reset(&self) {
        let change = self.change_to_new(&mut self.inner.lock());
        self.tell(change.as_ref());
        if !self.core.config().enabled {
            self.force(State::Disabled);
        }
        // The instance stops to vote, and ignores the shared circuit.
        self.wake();
    }
}
