//! Checks that a call supports every stage of its pipeline.
//!
//! Some stages need an option, such as a key, or another kind of work. A call that would skip a stage is rejected, and
//! the rejection names what is missing.

use std::fmt;

use super::{Call, Pipeline};
use crate::observe::Ending;
use crate::rejection::Rejection;
use crate::sync::Ordering;

/// How the work is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Call,
    CallAsync,
    InThreads,
    InThreadsAsync,
    Held,
    Open,
}

/// A stage that some calls do not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Fallback,
    Coalesce,
    Idempotency,
    Retry,
    Hedge,
    Threads,
    AttemptLimit,
}

/// A set of demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands(u8);

impl Demands {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(demands: &[Demand]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < demands.len() {
            set |= 1 << demands[index] as u8;
            index += 1;
        }
        Self(set)
    }

    #[inline]
    pub(super) const fn with(self, demand: Demand, is_there: bool) -> Self {
        Self(self.0 | (is_there as u8) << demand as u8)
    }

    #[inline]
    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn contains(self, demand: Demand) -> bool {
        self.0 & (1 << demand as u8) != 0
    }

    fn first(self) -> Option<Demand> {
        Demand::ALL.into_iter().find(|demand| self.contains(*demand))
    }
}

impl Demand {
    const ALL: [Self; 7] = [
        Self::Fallback,
        Self::Coalesce,
        Self::Idempotency,
        Self::Retry,
        Self::Hedge,
        Self::Threads,
        Self::AttemptLimit,
    ];

    /// The stages that an option of the request can satisfy.
    const OPTIONS: Demands = Demands::of(&[Self::Fallback, Self::Coalesce, Self::Idempotency]);

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "a fallback",
            Self::Coalesce => "coalescing",
            Self::Idempotency => "idempotency",
            Self::Retry => "a retry",
            Self::Hedge => "a hedge",
            Self::Threads => "bulkhead threads",
            Self::AttemptLimit => "an attempt timeout",
        }
    }

    const fn remedy(self, entry: Entry) -> &'static str {
        match self {
            Self::Fallback | Self::Coalesce | Self::Idempotency | Self::Retry if !entry.takes_options() => {
                "use `call_async`, or a pipeline without it"
            }
            Self::Fallback => "add `fallback(..)` to the request",
            Self::Coalesce => "add `coalesce_key(..)` to the request",
            Self::Idempotency => "add `key(..)` to the request",
            Self::Retry => "use `call_async`",
            Self::Hedge => "use `call_async`: only asynchronous work can be hedged",
            Self::Threads => "use `call_in_threads` or `call_in_threads_async`",
            Self::AttemptLimit => {
                "use `call_async`, or `call_in_threads` with bulkhead threads: synchronous work on the caller's thread cannot be interrupted"
            }
        }
    }
}

impl Entry {
    const ALL: [Self; 6] =
        [Self::Call, Self::CallAsync, Self::InThreads, Self::InThreadsAsync, Self::Held, Self::Open];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::CallAsync => "call_async",
            Self::InThreads => "call_in_threads",
            Self::InThreadsAsync => "call_in_threads_async",
            Self::Held => "call_held_async",
            Self::Open => "call_open_async",
        }
    }

    /// Whether a key or a fallback can be added.
    const fn takes_options(self) -> bool {
        !matches!(self, Self::Held | Self::Open)
    }

    #[inline]
    const fn honours(self) -> Demands {
        use Demand::{AttemptLimit, Hedge, Retry, Threads};
        match self {
            Self::Call => const { Demands::of(&[Retry]) },
            Self::CallAsync | Self::Open => const { Demands::of(&[Retry, Hedge, AttemptLimit]) },
            Self::Held => const { Demands::of(&[AttemptLimit]) },
            Self::InThreads | Self::InThreadsAsync => const { Demands::of(&[Retry, Threads, AttemptLimit]) },
        }
    }

    /// The stages of `pipeline` that it would skip.
    #[inline]
    fn passes_over(self, pipeline: &Pipeline) -> Demands {
        let (demands, mut honoured) = (pipeline.demands(), self.honours());
        if matches!(self, Self::InThreads | Self::InThreadsAsync) {
            // Work that runs on the caller's thread cannot be abandoned.
            let is_beside = self == Self::InThreadsAsync && pipeline.stages.bulkhead.is_none();
            if !is_beside && !demands.contains(Demand::Threads) {
                honoured = honoured.without(const { Demands::of(&[Demand::AttemptLimit]) });
            }
        }
        demands.without(honoured)
    }

    /// The call expression that supports all of `pipeline`, if this kind of work can.
    fn expression(self, pipeline: &Pipeline) -> Option<String> {
        let passed = self.passes_over(pipeline);
        let options = if self.takes_options() { Demand::OPTIONS } else { Demands::NONE };
        if passed.without(options) != Demands::NONE {
            return None;
        }
        let mut expression = match self {
            Self::Call | Self::CallAsync if passed == Demands::NONE => String::new(),
            Self::Open => "open_request().".to_owned(),
            _ => "request().".to_owned(),
        };
        let options = [
            (Demand::Coalesce, "coalesce_key(..)."),
            (Demand::Idempotency, "key(..)."),
            (Demand::Fallback, "fallback(..)."),
        ];
        expression
            .extend(options.iter().filter(|(demand, _)| passed.contains(*demand)).map(|(_, text)| *text));
        expression.push_str(self.as_str());
        Some(expression)
    }
}

/// An invalid call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misuse {
    /// It would skip a stage.
    PassesOver(Demand, Entry),
    /// It has a key for a stage that the pipeline does not have.
    UnusedKey(Demand),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PassesOver(demand, entry) => {
                let (call, stage) = (entry.as_str(), demand.as_str());
                write!(f, "`{call}` does not support {stage}: {}", demand.remedy(entry))
            }
            Self::UnusedKey(demand) => {
                let (option, stage) = match demand {
                    Demand::Coalesce => ("coalesce_key", "coalesce"),
                    _ => ("key", "idempotency"),
                };
                write!(
                    f,
                    "`{option}` has no effect without the stage `{stage}`: add `{stage}(..)` to the pipeline, or remove the key"
                )
            }
        }
    }
}

impl Pipeline {
    /// Its stages that not every call supports.
    pub(crate) fn demands_of_stages(&self) -> Demands {
        Demands::NONE
            .with(Demand::Fallback, self.stages.fallback.is_some())
            .with(Demand::Coalesce, self.stages.coalesce.is_some())
            .with(Demand::Idempotency, self.stages.idempotency.is_some())
            .with(Demand::Retry, self.stages.retry.is_some())
            .with(Demand::Hedge, self.stages.hedge.is_some())
    }

    /// Like `demands_of_stages`, and those that depend on settings.
    #[inline]
    fn demands(&self) -> Demands {
        if self.stages.bulkhead.is_none() && self.stages.timeout.is_none() {
            self.needs
        } else {
            self.demands_by_settings()
        }
    }

    fn demands_by_settings(&self) -> Demands {
        let has_threads = self.stages.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads());
        let limits_attempts = self.stages.timeout.as_ref().is_some_and(|timeout| timeout.limits_attempts());
        self.needs.with(Demand::Threads, has_threads).with(Demand::AttemptLimit, limits_attempts)
    }

    /// The calls that support all stages; `None` for an annotated function.
    pub(super) fn called_by(&self) -> Option<Vec<String>> {
        self.is_by_hand.then(|| Entry::ALL.into_iter().filter_map(|entry| entry.expression(self)).collect())
    }
}

impl Call<'_> {
    /// Checks that work of this kind supports all stages with the given options. Otherwise returns the rejection.
    #[inline]
    pub(super) fn honoured_by(&mut self, entry: Entry, given: Demands) -> Result<(), Rejection> {
        let passed = entry.passes_over(self.pipeline).without(given);
        if passed == Demands::NONE { Ok(()) } else { Err(self.misused(passed, entry)) }
    }

    /// Checks that the pipeline, whose stages are `has`, has a stage for each key of the call.
    #[inline]
    pub(super) fn keys_are_used(&mut self, given: Demands, has: Demands) -> Result<(), Rejection> {
        let unused = given.without(has);
        if unused == Demands::NONE { Ok(()) } else { Err(self.unused(unused)) }
    }

    #[cold]
    fn unused(&mut self, keys: Demands) -> Rejection {
        self.misuse(Misuse::UnusedKey(keys.first().unwrap_or(Demand::Idempotency)))
    }

    #[cold]
    fn misused(&mut self, passed: Demands, entry: Entry) -> Rejection {
        if passed.contains(Demand::Idempotency) {
            return self.keyless();
        }
        let demand = passed.first().unwrap_or(Demand::Fallback);
        self.misuse(Misuse::PassesOver(demand, entry))
    }

    #[cold]
    fn misuse(&mut self, misuse: Misuse) -> Rejection {
        self.ending = Ending::Rejected;
        let rejection = Rejection::unsupported(self.pipeline.operation.name(), misuse);
        if !self.pipeline.is_misuse_told.swap(true, Ordering::Relaxed) {
            tracing::error!(target: "resilient_runtime::pipeline", operation = self.pipeline.operation.name(), "{rejection}");
        }
        rejection
    }
}
