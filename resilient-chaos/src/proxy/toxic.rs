//! Toxics: what they do, to which direction, and to how many connections.

use std::time::Duration;

use super::ProxyError;
use super::error::Invalid;

/// Longest time of a toxic.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// Maximum length of the name of a proxy or a toxic, in bytes.
pub(super) const LONGEST_NAME: usize = 100;

/// The direction of the data that a toxic affects.
///
/// ```
/// use resilient_chaos::proxy::Direction;
///
/// assert_eq!(Direction::default(), Direction::Downstream);
/// assert_eq!(Direction::Upstream.as_str(), "upstream");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server: requests.
    Upstream,
    /// From the server to the client: responses.
    #[default]
    Downstream,
}

impl Direction {
    /// Returns the name of the direction in the HTTP API.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::proxy::Direction::Downstream.as_str(), "downstream");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }
}

/// A transfer rate in bytes per second.
///
/// ```
/// use resilient_chaos::proxy::TransferRate;
///
/// assert_eq!(TransferRate::kilobytes(64), TransferRate::bytes(64_000));
/// assert_eq!(TransferRate::kilobytes(64).as_bytes(), 64_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferRate(u64);

impl TransferRate {
    /// Creates a rate from bytes per second. At 0, no data passes.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::proxy::TransferRate::bytes(500).as_bytes(), 500);
    /// ```
    pub const fn bytes(per_second: u64) -> Self {
        Self(per_second)
    }

    /// Creates a rate from kilobytes (1000 bytes) per second, the unit of the HTTP API.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::proxy::TransferRate::kilobytes(2).as_bytes(), 2000);
    /// ```
    pub const fn kilobytes(per_second: u64) -> Self {
        Self(per_second.saturating_mul(1000))
    }

    /// Returns the bytes per second.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::proxy::TransferRate::bytes(7).as_bytes(), 7);
    /// ```
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// The effect of a toxic on the data of one direction.
///
/// The module documentation has a table of all effects. Times are at most 30 days.
///
/// ```
/// use std::time::Duration;
/// use resilient_chaos::proxy::Effect;
///
/// let effect = Effect::SlowClose { delay: Duration::from_secs(1) };
/// assert_eq!(effect.kind(), "slow_close");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Delays all data and the end of the data, in order.
    Latency {
        /// The delay.
        latency: Duration,
        /// The delay varies by up to this time in both directions. A delay is never negative.
        jitter: Duration,
    },
    /// Limits the transfer rate.
    Bandwidth {
        /// The highest rate. At 0, no data passes until the toxic is changed or removed.
        rate: TransferRate,
    },
    /// Delays the end of the data: the close of the connection arrives later.
    SlowClose {
        /// The delay.
        delay: Duration,
    },
    /// Discards all data (black hole). Removing the toxic closes the connections that it affects.
    Timeout {
        /// When the connection is closed, from the moment when the toxic takes effect on it. At 0, it stays open.
        timeout: Duration,
    },
    /// Resets the connection (TCP RST) on both sides after the first data in this direction. The data is discarded.
    ResetPeer {
        /// Time between the first data and the reset.
        timeout: Duration,
    },
    /// Cuts the data into small slices, each sent separately.
    Slicer {
        /// Average size of a slice in bytes, at least 1.
        average_size: usize,
        /// The size varies by up to this many bytes in both directions; less than `average_size`.
        size_variation: usize,
        /// Time between two slices.
        delay: Duration,
    },
    /// Closes the connection after a number of bytes.
    LimitData {
        /// The number of bytes that pass, counted from the moment when the toxic takes effect on the connection. At 0,
        /// the first data closes the connection.
        bytes: u64,
    },
    /// Passes the data on unchanged.
    Noop,
}

impl Effect {
    /// Returns the `type` of the effect in the HTTP API, such as `latency`.
    ///
    /// ```
    /// use resilient_chaos::proxy::Effect;
    ///
    /// assert_eq!(Effect::LimitData { bytes: 100 }.kind(), "limit_data");
    /// ```
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::SlowClose { .. } => "slow_close",
            Self::Timeout { .. } => "timeout",
            Self::ResetPeer { .. } => "reset_peer",
            Self::Slicer { .. } => "slicer",
            Self::LimitData { .. } => "limit_data",
            Self::Noop => "noop",
        }
    }

    /// Checks the ranges of all values.
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        let time = |name: &'static str, value: Duration| {
            let is_valid = value <= LONGEST;
            is_valid.then_some(()).ok_or(Invalid::Time { name, value })
        };
        match *self {
            Self::Latency { latency, jitter } => time("latency", latency).and(time("jitter", jitter)),
            Self::SlowClose { delay } => time("delay", delay),
            Self::Timeout { timeout } | Self::ResetPeer { timeout } => time("timeout", timeout),
            Self::Slicer { average_size, size_variation, delay } => {
                if average_size == 0 {
                    return Err(Invalid::SliceSize);
                }
                if size_variation >= average_size {
                    return Err(Invalid::SliceVariation { average_size, size_variation });
                }
                time("delay", delay)
            }
            Self::Bandwidth { .. } | Self::LimitData { .. } | Self::Noop => Ok(()),
        }
    }
}

/// A fault for the data of one direction: an [`Effect`], a name and a toxicity.
///
/// By default, a toxic affects all connections, and the data from the server to the client.
///
/// ```
/// use std::time::Duration;
/// use resilient_chaos::proxy::{Direction, Toxic};
///
/// let toxic = Toxic::latency(Duration::from_millis(300)).upstream().toxicity(0.2);
/// assert_eq!(toxic.name(), "latency_upstream");
/// assert_eq!(toxic.direction(), Direction::Upstream);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Toxic {
    name: Option<String>,
    direction: Direction,
    toxicity: f64,
    effect: Effect,
}

impl Toxic {
    /// Creates a toxic from an effect.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Effect, Toxic};
    ///
    /// assert_eq!(Toxic::new(Effect::Noop).name(), "noop_downstream");
    /// ```
    pub fn new(effect: Effect) -> Self {
        Self { name: None, direction: Direction::default(), toxicity: 1.0, effect }
    }

    /// Delays all data.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// let toxic = Toxic::latency(Duration::from_millis(100));
    /// assert_eq!(toxic.effect().kind(), "latency");
    /// ```
    pub fn latency(latency: Duration) -> Self {
        Self::latency_with_jitter(latency, Duration::ZERO)
    }

    /// Delays all data by `latency`, more or less by up to `jitter`. The order of the data does not change.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// let toxic = Toxic::latency_with_jitter(Duration::from_millis(100), Duration::from_millis(20));
    /// assert_eq!(toxic.effect().kind(), "latency");
    /// ```
    pub fn latency_with_jitter(latency: Duration, jitter: Duration) -> Self {
        Self::new(Effect::Latency { latency, jitter })
    }

    /// Limits the transfer rate.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Toxic, TransferRate};
    ///
    /// let toxic = Toxic::bandwidth(TransferRate::kilobytes(100));
    /// assert_eq!(toxic.effect().kind(), "bandwidth");
    /// ```
    pub fn bandwidth(rate: TransferRate) -> Self {
        Self::new(Effect::Bandwidth { rate })
    }

    /// Delays the close of the connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::slow_close(Duration::from_secs(2)).name(), "slow_close_downstream");
    /// ```
    pub fn slow_close(delay: Duration) -> Self {
        Self::new(Effect::SlowClose { delay })
    }

    /// Discards all data, and closes the connection after `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::timeout(Duration::from_secs(2)).name(), "timeout_downstream");
    /// ```
    pub fn timeout(timeout: Duration) -> Self {
        Self::new(Effect::Timeout { timeout })
    }

    /// Discards all data, and closes the connection only when the toxic is removed.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::black_hole().effect().kind(), "timeout");
    /// ```
    pub fn black_hole() -> Self {
        Self::timeout(Duration::ZERO)
    }

    /// Resets the connection `timeout` after the first data.
    ///
    /// With [`upstream`](Self::upstream), the request does not arrive. Without it, the server executes the request, and
    /// its response is lost.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::reset_peer(Duration::ZERO).name(), "reset_peer_downstream");
    /// ```
    pub fn reset_peer(timeout: Duration) -> Self {
        Self::new(Effect::ResetPeer { timeout })
    }

    /// Cuts the data into slices of `average_size` bytes, more or less by up to `size_variation`, with `delay` between two.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// let toxic = Toxic::slicer(64, 32, Duration::from_micros(100));
    /// assert_eq!(toxic.effect().kind(), "slicer");
    /// ```
    pub fn slicer(average_size: usize, size_variation: usize, delay: Duration) -> Self {
        Self::new(Effect::Slicer { average_size, size_variation, delay })
    }

    /// Closes the connection after `bytes` bytes.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::limit_data(1000).name(), "limit_data_downstream");
    /// ```
    pub fn limit_data(bytes: u64) -> Self {
        Self::new(Effect::LimitData { bytes })
    }

    /// Affects the data from the client to the server.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Direction, Toxic};
    ///
    /// assert_eq!(Toxic::black_hole().upstream().direction(), Direction::Upstream);
    /// ```
    pub fn upstream(self) -> Self {
        self.with_direction(Direction::Upstream)
    }

    /// Affects the data of this direction.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Direction, Toxic};
    ///
    /// let toxic = Toxic::black_hole().with_direction(Direction::Downstream);
    /// assert_eq!(toxic.direction(), Direction::Downstream);
    /// ```
    pub fn with_direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// Sets the share of connections that the toxic affects, from 0 to 1. The default is 1.
    ///
    /// The proxy decides once for each connection. If the share grows, the connections that were affected stay affected.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// let toxic = Toxic::black_hole().toxicity(0.1);
    /// # let _ = toxic;
    /// ```
    pub fn toxicity(self, toxicity: f64) -> Self {
        Self { toxicity, ..self }
    }

    /// Sets the name, 1 to 100 bytes. The default is the kind and the direction, such as `latency_downstream`.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::black_hole().named("outage").name(), "outage");
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Returns the name.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert_eq!(Toxic::black_hole().upstream().name(), "timeout_upstream");
    /// ```
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}_{}", self.effect.kind(), self.direction.as_str()))
    }

    /// Returns the direction.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Direction, Toxic};
    ///
    /// assert_eq!(Toxic::limit_data(1).direction(), Direction::Downstream);
    /// ```
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns the share of connections that the toxic affects.
    ///
    /// ```
    /// use resilient_chaos::proxy::Toxic;
    ///
    /// assert!(Toxic::limit_data(1).share() >= 1.0);
    /// ```
    pub fn share(&self) -> f64 {
        self.toxicity
    }

    /// Returns the effect.
    ///
    /// ```
    /// use resilient_chaos::proxy::{Effect, Toxic};
    ///
    /// assert_eq!(*Toxic::limit_data(5).effect(), Effect::LimitData { bytes: 5 });
    /// ```
    pub fn effect(&self) -> &Effect {
        &self.effect
    }

    pub(super) fn with_effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// Checks the name and the ranges of all values.
    pub(super) fn validate(&self) -> Result<(), ProxyError> {
        let name = self.name();
        check_name("toxic", &name)?;
        self.effect
            .validate()
            .and_then(|()| check_toxicity(self.toxicity))
            .map_err(|reason| ProxyError::InvalidToxic { name, reason })
    }
}

fn check_toxicity(toxicity: f64) -> Result<(), Invalid> {
    (0.0..=1.0).contains(&toxicity).then_some(()).ok_or(Invalid::Toxicity { toxicity })
}

/// Checks the name of a proxy or a toxic. It is a part of a URL path.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), ProxyError> {
    let is_valid = (1..=LONGEST_NAME).contains(&name.len())
        && !name.chars().any(|character| character == '/' || character.is_control());
    if is_valid {
        return Ok(());
    }
    // The error message must not repeat a name of any length.
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    Err(ProxyError::InvalidName { what, name: shown })
}
