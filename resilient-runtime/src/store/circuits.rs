//! The role of a store that coordinates circuit breakers.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use serde::Serialize;

use super::Answer;
use crate::ratio::Ratio;

/// Coordinates the circuit breakers of several instances. See [`shared`](crate::circuit_breaker::shared).
///
/// A record holds the state of one circuit: the instances that use it with their votes, the shared state, and the probes
/// of the current half-open period. Each operation is one atomic step on one record. All times are measured by the clock
/// of the store, so the clocks of the instances do not matter.
///
/// # Rules
/// - **Epochs.** Each change of the shared state, and each reset, gives the record a larger epoch. The epoch of a new
///   record differs from the epochs of earlier records of the circuit.
/// - **Instances.** A report announces its instance for `lasts`. An instance whose report has expired has no vote and no
///   probe slot.
/// - **Votes.** A vote counts if the instance knows that the circuit was closed last: `epoch` of the report is between the
///   epoch of the last closing and the current one. A vote that was sent before a reset has no effect after it. The
///   instance must have reported since the last of the voters joined, so an instance that restarts does not count twice.
/// - **Opening.** A closed circuit opens when at least two instances exist and the votes reach [`Rule::votes_of`]. The open
///   period is `open_for`, doubled for each failed half-open period since the last closing, at most `open_max` and
///   `max_shared_open`.
/// - **Half-open.** When the open period is over, the state is half-open. At most `probes` instances get a probe slot,
///   counted with the results of this period. A slot lasts for `lasts` and is extended by further reports with a request. An
///   instance with [`ProbeRequest::Waiting`] takes the slot of one with [`ProbeRequest::Idle`] if no slot is free.
/// - **Results.** A result counts if its instance holds a slot and `epoch` is the current one. It ends the slot. The
///   circuit closes ([`Ended::Recovered`]) when more than half of `probes` succeeded, and opens again when at least half
///   of them failed, in at least two instances unless there is only one. The failures of one instance in a half-open
///   period count once. While all results do not decide, one more instance at a time gets a slot.
/// - **Expiry.** A circuit that is open or half-open closes ([`Ended::Lapsed`]) when its votes were fewer than required for
///   `max_shared_open`.
/// - The settings of the instance that reports apply to its report. If another instance has reported other settings, the
///   answer has [`is_mixed`](Shared::is_mixed).
///
/// Check an implementation with `resilient_runtime::testing::check_circuit_store` (feature `testing`).
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::clock::ManualClock;
/// use resilient_runtime::circuit_breaker::shared::{CircuitStore, MemoryCircuits, Report, Rule, SharedState};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = MemoryCircuits::new(ManualClock::new().clock());
/// let mut epoch = 0;
/// for (instance, open) in [(1, false), (2, false), (3, false), (1, true), (2, true)] {
///     let mut report = Report::new(instance, Rule::default());
///     (report.epoch, report.open) = (epoch, open);
///     let shared = store.report("payment", report).await.unwrap();
///     epoch = shared.epoch;
/// }
/// let shared = store.report("payment", Report::new(3, Rule::default())).await.unwrap();
/// assert_eq!((shared.state, shared.votes, shared.instances), (SharedState::Open, 2, 3));
/// # }
/// ```
pub trait CircuitStore: Send + Sync + 'static {
    /// Reports the state of an instance, and returns the shared state.
    ///
    /// `circuit` identifies the record: the name of the circuit, and its scope after a zero byte if it has one.
    fn report<'a>(&'a self, circuit: &'a str, report: Report) -> Answer<'a, Shared>;

    /// Closes the circuit for all instances, and removes all votes and probe slots.
    ///
    /// The new epoch tells the instances to close ([`Ended::Reset`]). Also if no record exists, or the circuit is closed.
    fn reset<'a>(&'a self, circuit: &'a str) -> Answer<'a, ()>;

    /// Calls `listener` after each change of a shared state, in this and in other processes.
    ///
    /// This makes changes known at once. Without it, or if a message is lost, they are known after the setting `poll`. The
    /// listener is fast and does not block. It is called until it is dropped. The default does nothing.
    fn subscribe(&self, listener: Weak<dyn Listener>) {
        let _ = listener;
    }
}

/// Receives changes of shared circuits.
pub trait Listener: fmt::Debug + Send + Sync {
    /// The shared state of `circuit` has changed. `None`: any state can have changed, for example because the connection
    /// was lost for a time.
    fn changed(&self, circuit: Option<&str>);
}

/// The state of the circuit of an instance.
///
/// ```
/// use resilient_runtime::circuit_breaker::shared::{Report, Rule, ProbeRequest};
///
/// let report = Report::new(7, Rule::default());
/// assert_eq!((report.epoch, report.open, report.request, report.probe), (0, false, ProbeRequest::None, None));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The instance, a random number.
    pub instance: u128,
    /// The epoch in the last answer, 0 if there was none.
    pub epoch: u64,
    /// The vote: whether the instance itself has found that the dependency fails.
    pub open: bool,
    /// How long the report lasts.
    pub lasts: Duration,
    /// Whether the instance requests a probe slot.
    pub request: ProbeRequest,
    /// The result of the instance's probe, if one has ended: whether it succeeded.
    pub probe: Option<bool>,
    /// The settings of the instance.
    pub rule: Rule,
}

impl Report {
    /// Creates a report of a closed circuit, which lasts for 5 s.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::{Report, Rule};
    ///
    /// assert_eq!(Report::new(7, Rule::default()).lasts.as_secs(), 5);
    /// ```
    pub fn new(instance: u128, rule: Rule) -> Self {
        let lasts = Duration::from_secs(5);
        Self { instance, epoch: 0, open: false, lasts, request: ProbeRequest::None, probe: None, rule }
    }
}

/// Whether an instance requests a probe slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeRequest {
    /// No slot. A slot that the instance holds is released.
    None,
    /// A slot, but no call is waiting for it.
    Idle,
    /// A slot. Calls come in, or a probe is in flight.
    Waiting,
}

/// The settings that decide when a shared circuit opens and closes.
///
/// ```
/// use resilient_runtime::{Ratio, circuit_breaker::shared::Rule};
///
/// let default = Rule::default();
/// assert_eq!([2, 3, 10, 11].map(|instances| default.votes_of(instances)), [2, 2, 3, 4]);
/// let mut half = Rule::default();
/// half.share = Ratio::HALF;
/// assert_eq!([2, 5, 10].map(|instances| half.votes_of(instances)), [2, 3, 5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Minimum number of votes that opens the circuit. At least 1.
    pub least_votes: u32,
    /// Share of the instances that opens the circuit.
    pub share: Ratio,
    /// First open period.
    pub open_for: Duration,
    /// Longest open period.
    pub open_max: Duration,
    /// Longest time that a circuit stays open or half-open while the votes are fewer than required.
    pub max_shared_open: Duration,
    /// Number of probes of a half-open period. At least 1.
    pub probes: u32,
}

impl Rule {
    /// Returns the number of votes that opens a circuit of `instances` instances.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::Rule;
    ///
    /// assert_eq!(Rule::default().votes_of(100), 30);
    /// ```
    pub fn votes_of(&self, instances: u32) -> u32 {
        let share = (u64::from(instances) * self.share_in_millionths()).div_ceil(1_000_000);
        u32::try_from(share).unwrap_or(u32::MAX).max(self.least_votes).max(1)
    }

    /// Returns the share in millionths, so that a store can calculate with whole numbers.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::Rule;
    ///
    /// assert_eq!(Rule::default().share_in_millionths(), 300_000);
    /// ```
    pub fn share_in_millionths(&self) -> u64 {
        // From 0 to 1 000 000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            (self.share.get() * 1e6).round() as u64
        }
    }

    /// Returns the open period after `reopened` failed half-open periods.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::circuit_breaker::shared::Rule;
    ///
    /// let periods = [0, 1, 2, 9].map(|reopened| Rule::default().open_period(reopened).as_secs());
    /// assert_eq!(periods, [5, 10, 20, 60]);
    /// ```
    pub fn open_period(&self, reopened: u32) -> Duration {
        let doublings = 1_u32.checked_shl(reopened).unwrap_or(u32::MAX);
        self.open_for.saturating_mul(doublings).min(self.open_max).min(self.max_shared_open)
    }
}

impl Default for Rule {
    /// At least two instances and 30 % of all of them, 5 s doubling to 60 s, and 3 probes.
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self {
            least_votes: 2,
            share: Ratio::new(0.3).unwrap_or(Ratio::HALF),
            open_for: Duration::from_secs(5),
            open_max: minute,
            max_shared_open: minute,
            probes: 3,
        }
    }
}

/// The shared state of a circuit.
///
/// ```
/// use resilient_runtime::circuit_breaker::shared::SharedState;
///
/// assert_eq!(SharedState::HalfOpen.as_str(), "half_open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SharedState {
    /// Too few instances have an open circuit.
    Closed,
    /// Enough instances have an open circuit, and the open period is not over.
    Open,
    /// A few probes of all instances decide the next state.
    HalfOpen,
}

impl SharedState {
    /// Returns the name used in events, statistics and JSON.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::SharedState;
    ///
    /// assert_eq!(SharedState::Open.as_str(), "open");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Why a shared circuit closed last.
///
/// ```
/// use resilient_runtime::circuit_breaker::shared::Ended;
///
/// assert_eq!(Ended::Recovered.as_str(), "recovered");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// It was never open, or its opening was not renewed. The instances continue with their own circuits.
    Lapsed,
    /// The probes succeeded. The instances close their circuits.
    Recovered,
    /// An operator reset it for all instances.
    Reset,
}

impl Ended {
    /// Returns the name used in events.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::Ended;
    ///
    /// assert_eq!(Ended::Lapsed.as_str(), "lapsed");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lapsed => "lapsed",
            Self::Recovered => "recovered",
            Self::Reset => "reset",
        }
    }
}

/// The answer to a [`Report`].
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::circuit_breaker::shared::{Shared, SharedState};
///
/// let mut open = Shared::closed(7);
/// (open.state, open.left) = (SharedState::Open, Duration::from_secs(5));
/// assert_eq!((open.epoch, open.votes), (7, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shared {
    /// The shared state.
    pub state: SharedState,
    /// Identifies the state: each change gives a larger number.
    pub epoch: u64,
    /// Why the circuit closed last.
    pub ended: Ended,
    /// Number of votes that count.
    pub votes: u32,
    /// Number of instances that use the circuit.
    pub instances: u32,
    /// Time since the state changed.
    pub unchanged_for: Duration,
    /// Remaining time of the open period. Zero in other states.
    pub left: Duration,
    /// Whether the instance holds a probe slot.
    pub may_probe: bool,
    /// Number of probe slots in use.
    pub probes: u32,
    /// Number of successful probes in this half-open period.
    pub successful: u32,
    /// Number of failed probes in this half-open period.
    pub failed: u32,
    /// Whether the last report of another instance had another [`Rule`].
    pub is_mixed: bool,
}

impl Shared {
    /// Creates the answer for a closed circuit without votes and instances.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::shared::{Shared, SharedState};
    ///
    /// assert_eq!(Shared::closed(1).state, SharedState::Closed);
    /// ```
    pub fn closed(epoch: u64) -> Self {
        Self {
            state: SharedState::Closed,
            epoch,
            ended: Ended::Lapsed,
            votes: 0,
            instances: 0,
            unchanged_for: Duration::ZERO,
            left: Duration::ZERO,
            may_probe: false,
            probes: 0,
            successful: 0,
            failed: 0,
            is_mixed: false,
        }
    }
}
