//! The kinds of injected faults, and how often each was injected.

use std::collections::BTreeMap;
use std::fmt;

use histogram::SparseHistogram;
use serde::Serialize;

use super::Latencies;
use crate::clock::Instant;
use crate::kind::Kind;
use crate::sync::{AtomicU64, Ordering};

/// The kinds of faults.
///
/// ```
/// use resilient_runtime::{Registry, chaos::{Fault, FaultKind}};
///
/// let registry = Registry::new();
/// let _fault = registry.chaos().inject(Fault::hang().on("charge")).unwrap();
/// assert_eq!(registry.chaos().faults()[0].kind, FaultKind::Hang);
/// assert_eq!(FaultKind::Hang.as_str(), "hang");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The attempt takes longer.
    Latency,
    /// The attempt fails with a rejection of kind [`RejectionKind::Injected`](crate::RejectionKind::Injected).
    Error,
    /// The attempt fails with the error of `chaos(error = ..)`.
    TypedError,
    /// The attempt does not end by itself.
    Hang,
    /// The attempt panics.
    Panic,
    /// The attempt is rejected, as if by a stage.
    Refuse,
    /// Permits of a bulkhead are held.
    HoldPermits,
    /// Threads of a bulkhead with a thread pool are held.
    HoldThreads,
    /// A store fails.
    FailStore,
    /// A store responds late.
    SlowStore,
    /// A health check alternates between failing and its true result.
    FlapHealth,
    /// The clock of the registry jumps, or runs faster or slower.
    SkewClock,
    /// A fault of the program's own, made with `Fault::custom`.
    Custom,
}

impl FaultKind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Latency,
        Self::Error,
        Self::TypedError,
        Self::Hang,
        Self::Panic,
        Self::Refuse,
        Self::HoldPermits,
        Self::HoldThreads,
        Self::FailStore,
        Self::SlowStore,
        Self::FlapHealth,
        Self::SkewClock,
        Self::Custom,
    ];

    /// Returns the name used in events, metrics and JSON.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::chaos::FaultKind::TypedError.as_str(), "typed_error");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Error => "error",
            Self::TypedError => "typed_error",
            Self::Hang => "hang",
            Self::Panic => "panic",
            Self::Refuse => "refuse",
            Self::HoldPermits => "hold_permits",
            Self::HoldThreads => "hold_threads",
            Self::FailStore => "fail_store",
            Self::SlowStore => "slow_store",
            Self::FlapHealth => "flap_health",
            Self::SkewClock => "skew_clock",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Counts for one operation. Allocated with the first fault, because few operations have one.
#[derive(Debug, Default)]
pub(crate) struct Injected(std::sync::OnceLock<Box<[AtomicU64; FaultKind::ALL.len()]>>);

impl Injected {
    pub(crate) fn count(&self, kind: FaultKind) {
        let counts = self.0.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts that are not 0.
    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, u64> {
        let Some(counts) = self.0.get() else { return BTreeMap::new() };
        let read = FaultKind::ALL.into_iter().zip(counts.iter());
        let read = read.map(|(kind, count)| (kind, count.load(Ordering::Relaxed)));
        read.filter(|(_, count)| *count > 0).collect()
    }
}

/// The calls that faults affected, by outcome. Allocated with the first one.
#[derive(Debug, Default)]
pub(crate) struct InjectedCalls(std::sync::OnceLock<Box<Calls>>);

#[derive(Debug)]
struct Calls {
    /// By `Ending`.
    ended: [AtomicU64; 8],
    latencies: Latencies,
}

impl InjectedCalls {
    /// Records the end of a call and, if it was measured, the duration.
    pub(super) fn add(&self, ending: usize, latency: Option<(u64, u64)>) {
        let calls = self.0.get_or_init(|| {
            let ended = std::array::from_fn(|_| AtomicU64::new(0));
            Box::new(Calls { ended, latencies: Latencies::new() })
        });
        if let Some(ended) = calls.ended.get(ending) {
            ended.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((nanos, count)) = latency {
            calls.latencies.record_for(nanos, count);
        }
    }

    /// Returns the number of calls by outcome and the recent durations, if there was a call.
    pub(super) fn read(&self, now: Instant) -> Option<([u64; 8], Option<SparseHistogram>)> {
        let calls = self.0.get()?;
        let ended = calls.ended.each_ref().map(|ended| ended.load(Ordering::Relaxed));
        Some((ended, calls.latencies.minute(now)))
    }
}

/// How often faults acted on a component.
///
/// ```
/// use resilient_runtime::{Kind, Registry, chaos::{Amount, Fault, FaultKind}};
///
/// let registry = Registry::new();
/// let gateway = registry.bulkhead("gateway");
/// let all = Fault::hold_permits(Amount::ALL).component(Kind::Bulkhead, "gateway");
/// let _fault = registry.chaos().inject(all).unwrap();
/// assert!(gateway.try_acquire().is_err());
/// let injected = &registry.stats().injected_into_components[0];
/// assert_eq!((injected.kind, &*injected.component), (Kind::Bulkhead, "gateway"));
/// assert_eq!((injected.fault, injected.count), (FaultKind::HoldPermits, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InjectedIntoComponent {
    /// The kind of the component.
    pub kind: Kind,
    /// The name of the component.
    pub component: String,
    /// The kind of the fault.
    pub fault: FaultKind,
    /// The number of operations of the component that were affected.
    pub count: u64,
}
