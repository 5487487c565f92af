//! Tells when something is wrong for too long: a warning, or critical.
//!
//! - An alert looks at one [`Signal`] of one operation, or of all together. It fires once that has been beyond a limit for
//!   `hold`, with enough calls to say so, and ends when the signal is well within it again.
//! - A burn rate needs no limits: an `objective`, such as 99.9 % of the calls, has a budget of errors, and how fast that
//!   burns is judged over long and short windows together.
//! - Somebody has to look about once a second: the admin API does by itself, and so does
//!   [`Registry::watch_alerts`](crate::Registry::watch_alerts). Nothing is added to a call, and no thread runs for it.
//! - Where nobody looked for more than 3 s and a quarter of the window, nobody knows: it must be so for `hold` anew, and a
//!   rate is never taken over more than the window and that quarter.
//! - One that a [file](crate::config) has a table of is there from then on; no code needs to ask for it.
//! - Firing and ending are [events](crate::EventKind::AlertChanged).
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

/// Tells when something is wrong for too long. See the [module](self).
///
/// New settings keep what it saw, unless it looks at another operation, signal or window from then on.
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
    /// What it looked at.
    subject: Option<Subject>,
    looked: Option<Instant>,
    past: Past,
    burn: Burn,
    judge: Judge,
    value: Option<f64>,
    fired: u64,
}

/// What counts and rates are of; those of another say nothing of this one.
#[derive(Clone, Debug, PartialEq)]
struct Subject {
    operation: Option<Arc<str>>,
    signal: Signal,
    window: Duration,
}

impl State {
    /// Begins anew where it looked at something else before.
    fn turn_to(&mut self, config: &Config) {
        let Config { operation, signal, window, .. } = config;
        let subject = Subject { operation: operation.clone(), signal: *signal, window: *window };
        if self.subject.as_ref() != Some(&subject) {
            *self = Self { fired: self.fired, ..Self::default() };
            self.subject = Some(subject);
        }
    }
}

/// How an alert stands from now on.
#[derive(Debug)]
pub(crate) struct Change {
    severity: Option<Severity>,
    value: Option<f64>,
}

/// Looks that are further apart do not belong together.
fn longest_gap(window: Duration) -> Duration {
    (window / 4).max(Duration::from_secs(3))
}

impl Alert {
    /// Takes note of how things are; what is to be [told](Self::tell).
    pub(crate) fn observe(&self, config: &Config, reading: &Reading) -> Option<Change> {
        let now = self.core.clock().now();
        let (before, after, value) = {
            let mut state = self.state.lock();
            let before = state.judge.severity();
            state.turn_to(config);
            let State { looked, past, burn, judge, value, fired, .. } = &mut *state;
            if looked.replace(now).is_some_and(|last| now.since(last) > longest_gap(config.window)) {
                judge.hold_anew();
            }
            if let Some(objective) = config.objective {
                burn.observe(now, reading.calls, reading.errors);
                let (severity, rate) = burn.judge(now, objective.get(), config.min_samples.into());
                // The windows have waited long enough.
                judge.set(now, severity, Duration::ZERO);
                *value = reading.is_there.then_some(rate);
            } else {
                *value = past.observe(now, reading, config).filter(|_| reading.is_there);
                judge.observe(now, *value, config);
            }
            let after = judge.severity();
            *fired += u64::from(after > before);
            if before != after {
                let (severity, value) = (after.map(Severity::as_str), *value);
                // Under the lock: looks at the same time are told of in their order (D2).
                self.core.put(Self::KIND, || EventKind::AlertChanged { severity, value });
            }
            (before, after, *value)
        };
        (before != after).then_some(Change { severity: after, value })
    }

    #[cold]
    pub(crate) fn tell(&self, change: &Change) {
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

    /// Forgets what it saw.
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
