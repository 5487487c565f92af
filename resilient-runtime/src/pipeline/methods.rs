//! Which stages a call by hand honours: some need more than the work, such as a key, or work of another kind. A call that
//! would pass over a stage of its pipeline is refused, and says which method does not.

use std::fmt;

use super::{Call, Pipeline};
use crate::observe::Ending;
use crate::rejection::Rejection;
use crate::sync::Ordering;

/// A method of [`Pipeline`] that makes calls; that with a judge of one's own honours the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Call,
    CallOr,
    CallShared,
    CallOnce,
    CallAsync,
    CallOrAsync,
    CallSharedAsync,
    CallOnceAsync,
    CallHeldAsync,
    CallOpenAsync,
    Run,
    RunOr,
    RunAsync,
    RunOrAsync,
}

/// A stage that some methods pass over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    Fallback,
    Coalesce,
    Idempotency,
    Retry,
    Hedge,
    Threads,
    AttemptLimit,
}

/// A set of [`Passed`] stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stages(u8);

impl Stages {
    const fn of(stages: &[Passed]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < stages.len() {
            set |= 1 << stages[index] as u8;
            index += 1;
        }
        Self(set)
    }

    fn with(self, stage: Passed, is_there: bool) -> Self {
        Self(self.0 | u8::from(is_there) << stage as u8)
    }

    #[inline]
    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn first(self) -> Option<Passed> {
        Passed::ALL.into_iter().find(|stage| self.0 & (1 << *stage as u8) != 0)
    }

    fn contains(self, stage: Passed) -> bool {
        self.0 & (1 << stage as u8) != 0
    }
}

impl Passed {
    const ALL: [Self; 7] = [
        Self::Fallback,
        Self::Coalesce,
        Self::Idempotency,
        Self::Retry,
        Self::Hedge,
        Self::Threads,
        Self::AttemptLimit,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "the fallback",
            Self::Coalesce => "coalescing",
            Self::Idempotency => "idempotency",
            Self::Retry => "the retry",
            Self::Hedge => "the hedge",
            Self::Threads => "the threads of the bulkhead",
            Self::AttemptLimit => "the time limit of an attempt",
        }
    }

    /// What to do where no other method is the answer.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Fallback => "use `call_or`, `call_or_async`, `run_or` or `run_or_async`",
            Self::Coalesce => "use `call_shared` or `call_shared_async`",
            Self::Idempotency => "use `call_once` or `call_once_async`",
            Self::Retry => "use `call_async`, or a pipeline without it",
            Self::Hedge => "use `call_async`: only asynchronous work can be made twice at the same time",
            Self::Threads => "use `run` or `run_async`",
            Self::AttemptLimit => {
                "use `call_async`, or `run` with threads of a bulkhead: synchronous work in place cannot be cut off"
            }
        }
    }
}

impl Method {
    const ALL: [Self; 14] = [
        Self::Call,
        Self::CallOr,
        Self::CallShared,
        Self::CallOnce,
        Self::CallAsync,
        Self::CallOrAsync,
        Self::CallSharedAsync,
        Self::CallOnceAsync,
        Self::CallHeldAsync,
        Self::CallOpenAsync,
        Self::Run,
        Self::RunOr,
        Self::RunAsync,
        Self::RunOrAsync,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::CallOr => "call_or",
            Self::CallShared => "call_shared",
            Self::CallOnce => "call_once",
            Self::CallAsync => "call_async",
            Self::CallOrAsync => "call_or_async",
            Self::CallSharedAsync => "call_shared_async",
            Self::CallOnceAsync => "call_once_async",
            Self::CallHeldAsync => "call_held_async",
            Self::CallOpenAsync => "call_open_async",
            Self::Run => "run",
            Self::RunOr => "run_or",
            Self::RunAsync => "run_async",
            Self::RunOrAsync => "run_or_async",
        }
    }

    #[inline]
    const fn honours(self) -> Stages {
        use Passed::{AttemptLimit, Coalesce, Fallback, Hedge, Idempotency, Retry, Threads};
        match self {
            Self::Call => const { Stages::of(&[Retry]) },
            Self::CallOr => const { Stages::of(&[Retry, Fallback]) },
            Self::CallShared => const { Stages::of(&[Retry, Coalesce]) },
            Self::CallOnce => const { Stages::of(&[Retry, Idempotency]) },
            Self::CallAsync | Self::CallOpenAsync => const { Stages::of(&[Retry, Hedge, AttemptLimit]) },
            Self::CallOrAsync => const { Stages::of(&[Retry, Hedge, AttemptLimit, Fallback]) },
            Self::CallSharedAsync => const { Stages::of(&[Retry, Hedge, AttemptLimit, Coalesce]) },
            Self::CallOnceAsync => const { Stages::of(&[Retry, Hedge, AttemptLimit, Idempotency]) },
            Self::CallHeldAsync => const { Stages::of(&[AttemptLimit]) },
            Self::Run | Self::RunAsync => const { Stages::of(&[Retry, Threads, AttemptLimit]) },
            Self::RunOr | Self::RunOrAsync => const { Stages::of(&[Retry, Threads, AttemptLimit, Fallback]) },
        }
    }

    /// What it would pass over in `pipeline`.
    #[inline]
    fn passes_over(self, pipeline: &Pipeline) -> Stages {
        let (stages, mut honoured) = (pipeline.stages(), self.honours());
        if matches!(self, Self::Run | Self::RunOr | Self::RunAsync | Self::RunOrAsync) {
            // Work that is done in place cannot be left.
            let is_beside = self != Self::Run && self != Self::RunOr && pipeline.bulkhead.is_none();
            if !is_beside && !stages.contains(Passed::Threads) {
                honoured = honoured.without(const { Stages::of(&[Passed::AttemptLimit]) });
            }
        }
        stages.without(honoured)
    }
}

/// A stage, and the method that would have passed it over. Small: it is a part of each [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misuse {
    stage: Passed,
    method: Method,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, stage) = (self.method.as_str(), self.stage.as_str());
        write!(f, "`{method}` does not honour {stage}: {}", self.stage.remedy())
    }
}

impl Pipeline {
    /// Those of its stages that not every method honours.
    pub(crate) fn stages_of(&self) -> Stages {
        Stages::default()
            .with(Passed::Fallback, self.fallback.is_some())
            .with(Passed::Coalesce, self.coalesce.is_some())
            .with(Passed::Idempotency, self.idempotency.is_some())
            .with(Passed::Retry, self.retry.is_some())
            .with(Passed::Hedge, self.hedge.is_some())
    }

    /// The same, with what settings ask for.
    #[inline]
    fn stages(&self) -> Stages {
        if self.bulkhead.is_none() && self.timeout.is_none() { self.needs } else { self.stages_by_settings() }
    }

    fn stages_by_settings(&self) -> Stages {
        let has_threads = self.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads());
        let limits_attempts = self.timeout.as_ref().is_some_and(|timeout| timeout.limits_attempts());
        self.needs.with(Passed::Threads, has_threads).with(Passed::AttemptLimit, limits_attempts)
    }

    /// The methods that honour all of its stages, of a pipeline that is called by them.
    pub(super) fn called_by(&self) -> Option<Vec<&'static str>> {
        let honours = |method: &Method| method.passes_over(self) == Stages::default();
        self.is_by_hand.then(|| Method::ALL.into_iter().filter(honours).map(Method::as_str).collect())
    }
}

impl Call<'_> {
    /// Whether this method honours all stages; else why the call is refused.
    #[inline]
    pub(super) fn honoured_by(&mut self, method: Method) -> Result<(), Rejection> {
        let passed = method.passes_over(self.pipeline);
        if passed == Stages::default() { Ok(()) } else { Err(self.misused(passed, method)) }
    }

    #[cold]
    fn misused(&mut self, passed: Stages, method: Method) -> Rejection {
        if passed.contains(Passed::Idempotency) {
            return self.keyless();
        }
        self.ending = Ending::Rejected;
        let stage = passed.first().unwrap_or(Passed::Fallback);
        let rejection = Rejection::unsupported(self.pipeline.operation.name(), Misuse { stage, method });
        if !self.pipeline.is_misuse_told.swap(true, Ordering::Relaxed) {
            tracing::error!(target: "resilient_runtime::pipeline", operation = self.pipeline.operation.name(), "{rejection}");
        }
        rejection
    }
}
