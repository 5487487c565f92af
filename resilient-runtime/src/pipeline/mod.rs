//! The pipeline engine: runs a call through its stages in a fixed order.
//!
//! The attribute `#[resilient(..)]`, [`Pipeline`] and [`Request`] share this engine, so they behave the same.
//!
//! | # | stage | behavior |
//! |---|---|---|
//! | 1 | observe | writes one record for each logical call |
//! | 2 | fallback | runs once, after every inner stage gave up |
//! | 3 | coalesce | makes one call for all concurrent calls with the same key; each waiting call keeps its own deadline |
//! | 4 | total timeout | sets a deadline, which nested calls inherit |
//! | 5 | load shed | rejects by priority, before an idempotency record is written |
//! | 6 | idempotency | uses one record and one lease for all attempts |
//! | 7 | retry + budget | sends each attempt through all inner stages |
//! | 8 | hedge | sends each of its attempts through all inner stages, on the same retry budget |
//! | 9 | circuit breaker | reports a result to the epoch that admitted the attempt |
//! | 10 | rate limit | charges each attempt; refunds it if an inner stage rejects it |
//! | 11 | bulkhead | holds no permit while a retry waits |
//! | 12 | attempt timeout | limits the work only, not the time in the queue |
//! | 13 | chaos | injects faults, with the feature `chaos` |
//! | 14 | the body | runs the function or closure |
//!
//! A pipeline has only the stages that were added to it. To use another order, nest calls: pipelines, components and
//! annotated functions can call each other.
//!
//! [`Pipeline::call`] and [`Pipeline::call_async`] run work through the stages. [`Pipeline::request`] adds options such
//! as a key, a priority or a fallback. Coalescing needs a key, a fallback needs its levels, and a hedge needs
//! asynchronous work. A call that does not support every stage of its pipeline is rejected with
//! [`RejectionKind::Unsupported`], which names the option to add. [`Pipeline::explain`] lists the calls that support
//! all stages.
//!
//! [`RejectionKind::Unsupported`]: crate::RejectionKind::Unsupported

mod admission;
mod attempt_clock;
mod body;
pub(crate) mod call;
mod calls;
mod driver;
mod explain;
mod held_permits;
mod honour;
mod judges;
mod keyed;
mod open;
mod options;
mod outcomes;
mod parked;
mod request;
pub(crate) mod stages;
pub(crate) mod stopped;
mod switch;

use std::sync::Arc;

pub(crate) use call::Call;
pub(crate) use honour::Demands;

pub use explain::{Explanation, LevelExplanation, StageExplanation};
pub use held_permits::HeldPermits;
pub use open::OpenCall;
pub use options::Options;
pub use outcomes::OutcomeExplanation;
pub(crate) use outcomes::Predicates;
pub use request::Request;
pub(crate) use stages::StageComponents;
pub(crate) use switch::Bypass;

use crate::bulkhead::Bulkhead;
#[cfg(feature = "chaos")]
use crate::chaos::InjectionPoint;
use crate::circuit_breaker::CircuitBreaker;
use crate::clock::Clock;
use crate::error_text::Texts;
use crate::level::Level;
use crate::observe::{Operation, OperationStats};
use crate::retry::Retry;
use crate::switch::Switch;
use crate::sync::AtomicBool;

/// An operation and the stages around it.
///
/// Each stage is a component, which other pipelines can share.
///
/// ```
/// use resilient_runtime::{Pipeline, Rejection};
///
/// let pipeline = Pipeline::builder("checkout").circuit_breaker("payment").retry("payment").build();
/// let receipt: Result<u32, Rejection> = pipeline.call(|| Ok(42));
/// assert_eq!(receipt.unwrap(), 42);
/// assert_eq!(pipeline.stats().succeeded, 1);
/// ```
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // the flags are independent
pub struct Pipeline {
    pub(crate) operation: Arc<Operation>,
    pub(crate) clock: Clock,
    pub(crate) texts: Texts,
    pub(crate) switch: Switch,
    pub(crate) bypass: Bypass,
    #[cfg(feature = "chaos")]
    pub(crate) chaos: InjectionPoint,
    pub(crate) stages: StageComponents,
    pub(crate) levels: &'static [Level],
    /// Whether the local cache level is the built-in cache.
    pub(crate) keeps: bool,
    /// Whether the fallback levels are asynchronous, so that they can be timed out.
    pub(crate) asynchronous: bool,
    pub(crate) idempotent: bool,
    pub(crate) predicates: Predicates,
    /// Whether it is called through its own methods, not by an annotated function.
    pub(crate) is_by_hand: bool,
    /// The stages that only some methods support.
    pub(crate) needs: Demands,
    /// Whether the misuse was logged. Relaxed: two concurrent calls may both log it.
    pub(crate) is_misuse_told: AtomicBool,
}

impl Pipeline {
    /// Returns the operation's name.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// assert_eq!(Registry::new().pipeline("checkout").build().name(), "checkout");
    /// ```
    pub fn name(&self) -> &str {
        self.operation.name()
    }

    /// Whether a stage needs the current time even if the call succeeds.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.stages.timeout.is_some()
            || self.stages.rate_limit.is_some()
            || self.stages.load_shed.is_some()
            || self.stages.circuit_breaker.as_deref().is_some_and(CircuitBreaker::needs_time)
            || self.stages.retry.as_deref().is_some_and(Retry::needs_time)
            || self.stages.bulkhead.as_deref().is_some_and(Bulkhead::needs_time)
    }

    /// Returns the operation's statistics.
    ///
    /// For the saturation of its components, see [`Registry::stats`](crate::Registry::stats).
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// let pipeline = Registry::new().pipeline("checkout").build();
    /// assert_eq!((pipeline.call(|| Some(7)), pipeline.call(|| None::<u32>)), (Some(7), None));
    /// let stats = pipeline.stats();
    /// assert_eq!((stats.calls, stats.succeeded, stats.failed), (2, 1, 1));
    /// ```
    pub fn stats(&self) -> OperationStats {
        self.operation.stats(self.clock.now())
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
