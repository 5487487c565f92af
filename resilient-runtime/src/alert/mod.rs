//! Alerts that fire when a signal stays beyond a limit.
//!
//! - An alert evaluates one [`Signal`] of one operation, or of all operations together. It fires with severity
//!   warning or critical once the signal has been beyond the limit for `hold`. It ends when the signal is within the
//!   limit again by a margin (`hysteresis`). Shares and latencies are evaluated only with at least `min_samples`
//!   calls.
//! - A burn rate needs no limits. An `objective`, such as 99.9 % of the calls, leaves an error budget. The alert
//!   evaluates how fast the budget burns, over long and short windows together.
//! - Alerts must be evaluated about once a second. The admin API does this, and so does
//!   [`Registry::watch_alerts`](crate::Registry::watch_alerts). Alerts add no work to calls and start no thread.
//! - After a gap between evaluations of more than 3 s and more than a quarter of the window, `hold` starts again. A
//!   rate never covers more than the window and such a gap.
//! - An alert that has a table in a [settings file](crate::config) is created without any code.
//! - Firing and ending are reported as [events](crate::EventKind::AlertChanged).
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Component, Registry, alert::{Config, Severity}, clock::ManualClock};
//!
//! let time = ManualClock::new();
//! let registry = Registry::with_clock(time.clock());
//! registry.alert("errors").reconfigure(Config::default().critical(0.5).hold(Duration::ZERO)).unwrap();
//! registry.evaluate_alerts();
//! let pipeline = registry.pipeline("charge").build();
//! (0..20).for_each(|_| assert!(pipeline.call(|| None::<u32>).is_none()));
//! registry.evaluate_alerts();
//! assert_eq!(registry.stats().alert["errors"].severity, Some(Severity::Critical));
//! ```

mod burn;
mod config;
mod judge;
mod reading;
mod stats;

use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, Signal};
pub use judge::Severity;
pub(crate) use reading::Reading;
pub use stats::Stats;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::sync::Mutex;
use burn::Burn;
use judge::Judge;
use reading::Past;

/// Fires when a signal stays beyond a limit.
///
/// See the [module documentation](self). New settings keep the collected data, unless they change the operation,
/// the signal or the window.
///
/// ```
/// use resilient_runtime::{Alert, Component, Registry, alert::{Config, Signal}};
///
/// let alert = Registry::new().alert("slow");
/// alert.reconfigure(Config::default().signal(Signal::LatencyP99).warning(0.5)).unwrap();
/// assert_eq!((Alert::KIND.as_str(), alert.stats().signal), ("alert", Signal::LatencyP99));
/// ```
#[derive(Debug)]
pub struct Alert {
    core: Core<Config>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The subject of the collected data.
    subject: Option<Subject>,
    last_evaluated: Option<Instant>,
    past: Past,
    burn: Burn,
    judge: Judge,
    value: Option<f64>,
    fired: u64,
}

/// The subject of the collected data. Data about another subject is discarded.
#[derive(Clone, Debug, PartialEq)]
struct Subject {
    operation: Option<Arc<str>>,
    signal: Signal,
    window: Duration,
}

impl State {
    /// Discards the collected data if the subject has changed.
    fn set_subject(&mut self, config: &Config) {
        let Config { operation, signal, window, .. } = config;
        let subject = Subject { operation: operation.clone(), signal: *signal, window: *window };
        if self.subject.as_ref() != Some(&subject) {
            *self = Self { fired: self.fired, ..Self::default() };
            self.subject = Some(subject);
        }
    }
}

/// The new state of an alert that has changed.
#[derive(Debug)]
pub(crate) struct Change {
    severity: Option<Severity>,
    value: Option<f64>,
}

/// The longest gap between two evaluations that are still considered continuous.
fn longest_gap(window: Duration) -> Duration {
    (window / 4).max(Duration::from_secs(3))
}

impl Alert {
    /// Evaluates the alert. Returns the change to [report](Self::report), if any.
    pub(crate) fn evaluate(&self, config: &Config, reading: &Reading) -> Option<Change> {
        let now = self.core.clock().now();
        let (before, after, value) = {
            let mut state = self.state.lock();
            let before = state.judge.severity();
            state.set_subject(config);
            let State { last_evaluated, past, burn, judge, value, fired, .. } = &mut *state;
            if last_evaluated.replace(now).is_some_and(|last| now.since(last) > longest_gap(config.window)) {
                judge.restart_hold();
            }
            if let Some(objective) = config.objective {
                burn.observe(now, reading.calls, reading.errors);
                let (severity, rate) = burn.judge(now, objective.get(), config.min_samples.into());
                // No further hold: the windows are the hold.
                judge.set(now, severity, Duration::ZERO);
                *value = reading.exists.then_some(rate);
            } else {
                *value = past.observe(now, reading, config).filter(|_| reading.exists);
                judge.observe(now, *value, config);
            }
            let after = judge.severity();
            *fired += u64::from(after > before);
            if before != after {
                let (severity, value) = (after.map(Severity::as_str), *value);
                // Queue the event under the lock, so that events of concurrent evaluations stay in order.
                self.core.put(Self::KIND, || EventKind::AlertChanged { severity, value });
            }
            (before, after, *value)
        };
        (before != after).then_some(Change { severity: after, value })
    }

    #[cold]
    pub(crate) fn report(&self, change: &Change) {
        self.core.events().deliver();
        let (name, severity, value) = (self.core.name, change.severity.map(Severity::as_str), change.value);
        tracing::warn!(target: "resilient_runtime::alert", alert = %name, severity, value, "alert changed");
    }
}

impl Create for Alert {
    fn create(core: Core<Config>) -> Self {
        Self { core, state: Mutex::default() }
    }
}

impl Component for Alert {
    const KIND: Kind = Kind::Alert;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn stats(&self) -> Stats {
        let config = self.core.config();
        let state = self.state.lock();
        Stats {
            operation: config.operation.as_deref().map(str::to_owned),
            signal: config.signal,
            severity: state.judge.severity(),
            value: state.value,
            fired: state.fired,
        }
    }

    /// Clears the collected data.
    fn reset(&self) {
        {
            let mut state = self.state.lock();
            *state = State::default();
            self.core.put(Self::KIND, || EventKind::Reset);
        }
        self.core.events().deliver();
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
