//! The observation stage: one record and, with `tracing`, one span for each logical call.
//!
//! The span `resilient.call` has the operation, the correlation id, the number of attempts, the outcome, the last
//! error, why a failure was not retried (`stopped`, such as `budget`), and the last fault that was injected (`injected`). Inside it, each attempt has a span
//! `resilient.attempt` with its number and its error, in which the body runs; concurrent attempts have one each.
//! Fallback levels run in the span of the call. The spans have the level `INFO` and the target
//! `resilient_runtime::call`. If no subscriber enables them, a call costs one extra load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::Span;
use tracing::field::{Empty, display};
use tracing::span::EnteredSpan;

use crate::clock::Delay;
use crate::context::{Entered, Retries};
use crate::correlation::CorrelationId;
use crate::last_error::Cause;
use crate::observe::{ERROR_TEXT_BYTES, Ending};
use crate::pipeline::Call;
use crate::pipeline::body::Activity;
use crate::retry::Stop;

/// State that few calls need: a call that waits before a retry, or one that is traced.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Rare {
    /// The pause before the next attempt.
    pub(in crate::pipeline) pause: Delay,
    /// The nested retries that are suppressed in the next attempt.
    pub(in crate::pipeline) suppressed: Retries,
    /// The number of hedge attempts that were sent in addition to a slow one.
    pub(in crate::pipeline) hedges: u32,
    spans: Option<Spans>,
    /// The errors of the previous attempts.
    errors: Option<Arc<str>>,
    /// The faults that hold the current attempt.
    #[cfg(feature = "chaos")]
    pub(in crate::pipeline) held: Option<super::chaos::Held>,
    /// Whether the last attempt ended while a fault held it, or by a fault.
    #[cfg(feature = "chaos")]
    pub(in crate::pipeline) is_stopped_by_fault: bool,
    /// Whether the attempts run on threads of the bulkhead.
    #[cfg(feature = "chaos")]
    pub(in crate::pipeline) is_in_threads: bool,
    /// Whether a fault affected an attempt of the call.
    #[cfg(feature = "chaos")]
    pub(in crate::pipeline) is_injected: bool,
    /// Whether a fault affected one of the concurrent attempts of the call, which share the flag.
    #[cfg(feature = "chaos")]
    pub(in crate::pipeline) race: Option<Arc<crate::sync::AtomicBool>>,
}

#[derive(Clone, Debug)]
struct Spans {
    call: Span,
    attempt: Span,
    /// The number of this attempt among consecutive attempts; 0 before the first.
    number: u32,
    /// The number of attempts started, including concurrent ones.
    begun: Arc<AtomicU32>,
}

/// The maximum size in bytes of the earlier errors when another one is added.
const ERRORS_BYTES: usize = 2 * ERROR_TEXT_BYTES;
const SEPARATOR: &str = "; ";

/// Entered while a body runs or is polled.
pub(in crate::pipeline) struct InBody {
    // Dropped first.
    _span: Option<Box<EnteredSpan>>,
    _scope: Entered,
}

impl Rare {
    #[inline(always)] // one test on the path of every call
    #[allow(clippy::inline_always)]
    pub(in crate::pipeline) fn of(operation: &'static str) -> Option<Box<Self>> {
        if tracing::span_enabled!(target: "resilient_runtime::call", tracing::Level::INFO) {
            Some(Self::traced(operation))
        } else {
            None
        }
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::unnecessary_box_returns)] // a large value would slow down calls without a span
    fn traced(operation: &'static str) -> Box<Self> {
        let call = tracing::info_span!(
            target: "resilient_runtime::call",
            "resilient.call",
            operation,
            correlation_id = Empty,
            attempts = Empty,
            outcome = Empty,
            error = Empty,
            stopped = Empty,
            injected = Empty
        );
        if let Some(id) = CorrelationId::current() {
            call.record("correlation_id", display(id));
        }
        let spans = Spans { call, attempt: Span::none(), number: 0, begun: Arc::default() };
        Box::new(Self { spans: Some(spans), ..Self::default() })
    }

    pub(in crate::pipeline) fn errors(&self) -> Option<&Arc<str>> {
        self.errors.as_ref()
    }

    /// Adds an error. Only the last errors are stored, and consecutive equal errors are stored once.
    pub(in crate::pipeline) fn add_error(&mut self, Cause { text, attempt }: Cause<'_>) {
        let mut errors = self.errors.as_deref().unwrap_or_default();
        let told = format!(" failed: {text}");
        if errors.ends_with(&told) {
            return;
        }
        while errors.len() > ERRORS_BYTES {
            errors = errors.split_once(SEPARATOR).map_or("", |(_, rest)| rest);
        }
        let separator = if errors.is_empty() { "" } else { SEPARATOR };
        self.errors = Some(format!("{errors}{separator}attempt {attempt}{told}").into());
    }

    /// Copies it for a concurrent attempt.
    pub(in crate::pipeline) fn for_racer(&self) -> Option<Box<Self>> {
        let spans = self.spans.clone().map(|spans| Spans { number: 0, ..spans });
        let suppressed = self.suppressed;
        let is_needed = spans.is_some() || !suppressed.is_empty();
        #[cfg(feature = "chaos")]
        let (is_needed, race) = (is_needed || self.race.is_some(), self.race.clone());
        is_needed.then(|| {
            Box::new(Self {
                suppressed,
                spans,
                #[cfg(feature = "chaos")]
                race,
                ..Self::default()
            })
        })
    }
}

impl Spans {
    #[cold]
    #[inline(never)]
    #[allow(clippy::unnecessary_box_returns)]
    fn enter(&mut self, number: u32) -> Box<EnteredSpan> {
        if self.number != number {
            self.number = number;
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            self.attempt = tracing::info_span!(target: "resilient_runtime::call", parent: &self.call, "resilient.attempt", number, error = Empty);
        }
        Box::new(self.attempt.clone().entered())
    }
}

impl Call<'_> {
    #[inline]
    pub(in crate::pipeline) fn in_body(&mut self, scope: Entered) -> InBody {
        let span = if self.rare.is_some() { self.enter_span() } else { None };
        InBody { _span: span, _scope: scope }
    }

    /// Enters the span of the attempt, if the call is traced.
    #[cold]
    pub(in crate::pipeline) fn enter_span(&mut self) -> Option<Box<EnteredSpan>> {
        let number = self.progress.retries + 1;
        Some(self.rare.as_mut()?.spans.as_mut()?.enter(number))
    }

    /// Returns the span of the call, if it is traced.
    #[cold]
    pub(in crate::pipeline) fn span(&self) -> Option<Box<Span>> {
        Some(Box::new(self.rare.as_ref()?.spans.as_ref()?.call.clone()))
    }

    /// Records the last error in the spans of the attempt and of the call.
    #[cold]
    pub(in crate::pipeline) fn record_error(&self, text: &str) {
        if let Some(spans) = self.rare.as_ref().and_then(|rare| rare.spans.as_ref()) {
            spans.attempt.record("error", text);
            spans.call.record("error", text);
        }
    }

    /// Records in the span how the call ended.
    #[cold]
    pub(in crate::pipeline) fn record_end(&self) {
        if let Some(spans) = self.rare.as_ref().and_then(|rare| rare.spans.as_ref()) {
            spans.call.record("attempts", spans.begun.load(Ordering::Relaxed));
            spans.call.record("outcome", self.ending.as_str());
        }
        #[cfg(feature = "chaos")]
        if self.is_injected() {
            let nanos =
                self.clock.started.get().map(|started| self.clock.now.or_never().nanos_since(started));
            let latency = nanos.map(|nanos| (nanos, u64::from(self.timing.calls())));
            self.pipeline.operation.injected_call(self.ending, latency);
        }
    }

    /// Records in the span that a fault affects the call.
    #[cfg(feature = "chaos")]
    #[cold]
    pub(in crate::pipeline) fn record_injection(&self, by: &crate::rejection::InjectedBy) {
        if let Some(spans) = self.rare.as_ref().and_then(|rare| rare.spans.as_ref()) {
            spans.call.record("injected", display(by));
        }
    }

    /// Records in the span why the failed call is not retried.
    #[cold]
    pub(in crate::pipeline) fn record_stop(&self, stop: Stop) {
        if let Some(spans) = self.rare.as_ref().and_then(|rare| rare.spans.as_ref()) {
            spans.call.record("stopped", stop.as_str());
        }
    }

    /// Records the error of the attempt in the statistics and the spans.
    pub(in crate::pipeline) fn note_error<'t>(&self, text: Option<&'t str>) -> Option<Cause<'t>> {
        let cause = Cause { text: text?, attempt: self.progress.retries + 1 };
        self.pipeline.operation.failed_with(cause, self.clock.now.or_never());
        self.record_error(cause.text);
        Some(cause)
    }

    /// Reads the clock again: time has passed since the attempt in a pause, a predicate, a priority expression or a
    /// fallback.
    #[cold]
    pub(in crate::pipeline) fn end_later(&mut self) {
        self.clock.read_if_timed(&self.pipeline.clock);
        if self.ending == Ending::Cancelled
            && self.activity != Activity::Suspended
            && std::thread::panicking()
        {
            self.ending = Ending::Panicked;
        }
    }

    /// Records the end of the call in the operation and the span.
    #[inline]
    pub(in crate::pipeline) fn record(&mut self) {
        if self.rare.is_some() {
            self.record_end();
        }
        self.pipeline.operation.ended(self.ending);
        let Some(started) = self.clock.started.get() else { return };
        // A call that was rejected at once says nothing about how long calls take.
        let is_refused = matches!(self.ending, Ending::Rejected | Ending::TimedOut);
        if !(is_refused && self.clock.now == self.clock.started) {
            let nanos = self.clock.now.or_never().nanos_since(started);
            self.pipeline.operation.took(nanos, self.ending, self.timing.calls());
        }
    }
}
