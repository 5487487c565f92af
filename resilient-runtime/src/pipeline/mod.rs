//! The engine of all interfaces: the stages of a call in their fixed order.
//!
//! | # | stage | |
//! |---|---|---|
//! | 1 | observe | one record for each logical call |
//! | 2 | fallback | once, after everything below gave up |
//! | 3 | coalesce | one flight for all calls of a key; each who waits keeps its own deadline |
//! | 4 | total timeout | a deadline; nested calls inherit it |
//! | 5 | load shed | by priority, before any record is written |
//! | 6 | idempotency | one record and one lease for all attempts |
//! | 7 | retry + budget | each attempt passes everything below |
//! | 8 | hedge | each of its attempts passes everything below, on the same budget |
//! | 9 | circuit breaker | the result goes to the epoch that admitted it |
//! | 10 | rate limit | each attempt pays; refused further in, it is paid back |
//! | 11 | bulkhead | free while a retry waits |
//! | 12 | attempt timeout | counts the work only, not the queue |
//! | 13 | the body | |
//!
//! Only the stages that were asked for exist. To use another order, nest calls: pipelines, components and annotated
//! functions can call each other.
//!
//! [`Pipeline::call`] and [`Pipeline::call_async`] run work through the stages; [`Pipeline::request`] adds options such as a
//! key, a priority or a fallback. Coalescing needs a key, a fallback its levels, a hedge work that is asynchronous. A call
//! that would pass over a stage is refused ([`RejectionKind::Unsupported`]) with the name of the option to add;
//! [`Pipeline::explain`] lists the calls that honour all stages.
//!
//! [`RejectionKind::Unsupported`]: crate::RejectionKind::Unsupported
//!
//! The attribute expands to the same call that a request drives, so both do the same thing.

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
pub(crate) use switch::{Bypass, Switch};

use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::clock::Clock;
use crate::error_text::Texts;
use crate::level::Level;
use crate::observe::{Operation, OperationStats};
use crate::retry::Retry;
use crate::sync::AtomicBool;

/// The stages around one operation, each a component that other pipelines may share.
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
#[allow(clippy::struct_excessive_bools)] // each a question of its own
pub struct Pipeline {
    pub(crate) operation: Arc<Operation>,
    pub(crate) clock: Clock,
    pub(crate) texts: Texts,
    pub(crate) switch: Switch,
    pub(crate) bypass: Bypass,
    pub(crate) stages: StageComponents,
    pub(crate) levels: &'static [Level],
    /// Whether its local cache is the built-in one.
    pub(crate) keeps: bool,
    /// Whether its levels can be cut off.
    pub(crate) asynchronous: bool,
    pub(crate) idempotent: bool,
    pub(crate) predicates: Predicates,
    /// Whether it is called by its own methods, and not by an annotated function.
    pub(crate) is_by_hand: bool,
    /// Those of its stages that not every method honours.
    pub(crate) needs: Demands,
    /// Relaxed: of two calls at once both may say it.
    pub(crate) is_misuse_told: AtomicBool,
}

impl Pipeline {
    /// The operation's name.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// assert_eq!(Registry::new().pipeline("checkout").build().name(), "checkout");
    /// ```
    pub fn name(&self) -> &str {
        self.operation.name()
    }

    /// Whether a stage must know what time it is, even if all goes well.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.stages.timeout.is_some()
            || self.stages.rate_limit.is_some()
            || self.stages.load_shed.is_some()
            || self.stages.circuit_breaker.as_deref().is_some_and(CircuitBreaker::needs_time)
            || self.stages.retry.as_deref().is_some_and(Retry::needs_time)
            || self.stages.bulkhead.as_deref().is_some_and(Bulkhead::needs_time)
    }

    /// The golden numbers of the operation; how much of what it needs is in use is in those of the
    /// [registry](crate::Registry::stats).
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
