//! Describes how each kind of failure is handled.

use serde::Serialize;

use super::Pipeline;
use crate::classify::{Class, Classify};
use crate::component::Component;
use crate::idempotency::Idempotency;
use crate::rejection::{Rejection, RejectionKind};

/// Which predicates of an annotated function are used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Predicates {
    pub(crate) by_attribute: bool,
    pub(crate) retry_when: bool,
    pub(crate) breaker_when: bool,
}

/// Describes how one kind of failure is handled.
///
/// ```
/// let order = resilient_runtime::Registry::new().pipeline("order").retry("db").timeout("db").build().explain();
/// let late = order.outcomes.iter().find(|outcome| outcome.outcome == "attempt_timeout").unwrap();
/// assert!(late.treatment.starts_with("not retried: the attempt may have had an effect"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OutcomeExplanation {
    /// The kind of failure: the [`Class`] of an error, or the [`RejectionKind`] of a rejection or timeout.
    pub outcome: &'static str,
    /// How the stages handle it.
    pub treatment: String,
}

const MAY_HAVE_RUN: &str =
    "not retried: the attempt may have had an effect; declare the function `idempotent` to retry it";
const MAY_HAVE_RUN_WITH_KEY: &str =
    "not retried: the attempt may have had an effect; `on_unknown = reexecute` allows the retry";

impl Pipeline {
    pub(super) fn explain_outcomes(&self) -> Vec<OutcomeExplanation> {
        let rule = if self.predicates.by_attribute {
            "judged by `Classify` of its type; otherwise by the first known cause in its `source()` chain; otherwise unknown"
        } else {
            "judged by the judge of the call; otherwise by its type if known, or by the first known cause in the `source()` \
             chain of a `Box<dyn Error>` or a similar type; otherwise unknown"
        };
        let mut all = vec![OutcomeExplanation { outcome: "error", treatment: rule.to_owned() }];
        let classes = [
            ("transient", Class::TRANSIENT),
            ("overload", Class::Overload { retry_after: None }),
            ("uncertain", Class::UNCERTAIN),
            ("unknown", Class::UNKNOWN),
            ("permanent", Class::Permanent),
            ("ignored", Class::Ignored),
        ];
        all.extend(classes.map(|(outcome, class)| {
            let key = if matches!(class, Class::Uncertain { .. } | Class::Unknown { .. }) {
                "the idempotency key stays claimed"
            } else {
                "the idempotency key is freed"
            };
            Self::outcome(outcome, &[self.repeated(class), self.counted(class), self.with_key(key)])
        }));
        all.extend(self.refusals().into_iter().map(|kind| self.explain_rejection(kind)));
        all
    }

    fn outcome(outcome: &'static str, parts: &[Option<String>]) -> OutcomeExplanation {
        let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
        let treatment = if parts.is_empty() { "returned".to_owned() } else { parts.join("; ") };
        OutcomeExplanation { outcome, treatment }
    }

    fn explain_rejection(&self, kind: RejectionKind) -> OutcomeExplanation {
        let class = Rejection::new(kind, "").classify();
        let when = self.predicates.retry_when && self.stages.retry.is_some();
        let (repeated, counted) = match kind {
            RejectionKind::AttemptTimeout | RejectionKind::ConnectTimeout | RejectionKind::ReadTimeout => {
                (self.repeated(class), self.counted(class))
            }
            RejectionKind::TotalTimeout => {
                (self.once("not retried: the deadline of the call has passed"), self.counted(class))
            }
            RejectionKind::CircuitOpen if when => {
                (self.once("`retry(when = ..)` decides whether to wait until a probe is admitted"), None)
            }
            RejectionKind::RateLimited | RejectionKind::BulkheadFull if when => {
                (self.once("`retry(when = ..)` decides whether it is retried"), self.counted(class))
            }
            RejectionKind::RateLimited | RejectionKind::BulkheadFull => {
                (self.once("retried only if it has a retry-after hint"), self.counted(class))
            }
            RejectionKind::WeightExceedsLimit | RejectionKind::NoTimer if when => {
                (self.once("`retry(when = ..)` decides whether it is retried"), None)
            }
            _ => (self.once("not retried"), None),
        };
        Self::outcome(kind.as_str(), &[repeated, counted])
    }

    /// The text, if the pipeline has a retry.
    fn once(&self, text: &str) -> Option<String> {
        self.stages.retry.as_ref().map(|_| text.to_owned())
    }

    fn with_key(&self, text: &str) -> Option<String> {
        self.stages.idempotency.as_ref().map(|_| text.to_owned())
    }

    fn repeated(&self, class: Class) -> Option<String> {
        self.stages.retry.as_ref()?;
        if self.predicates.retry_when {
            return Some("`retry(when = ..)` decides whether it is retried".to_owned());
        }
        let has_key = self.stages.idempotency.is_some();
        let may_run_twice =
            self.idempotent || self.stages.idempotency.as_deref().is_some_and(Idempotency::reexecutes);
        let text = match class {
            Class::Transient { .. } => "retried",
            Class::Unknown { .. } if may_run_twice || !has_key => "retried",
            Class::Uncertain { .. } if may_run_twice => "retried",
            Class::Uncertain { .. } | Class::Unknown { .. } if has_key => MAY_HAVE_RUN_WITH_KEY,
            Class::Uncertain { .. } | Class::Unknown { .. } => MAY_HAVE_RUN,
            Class::Overload { .. } => "retried, after its retry-after hint if it has one",
            Class::NotExecuted { .. } => "retried only if it has a retry-after hint",
            Class::Permanent | Class::Ignored => "not retried",
        };
        Some(text.to_owned())
    }

    fn counted(&self, class: Class) -> Option<String> {
        let breaker = self.stages.circuit_breaker.as_ref()?.name();
        let is_refusal = matches!(class, Class::NotExecuted { .. });
        Some(match class {
            _ if self.predicates.breaker_when && !is_refusal => {
                format!(
                    "`circuit_breaker(when = ..)` decides whether it is a failure for circuit breaker `{breaker}`"
                )
            }
            Class::Ignored | Class::NotExecuted { .. } => {
                format!("not counted by circuit breaker `{breaker}`")
            }
            _ => format!("a failure for circuit breaker `{breaker}`"),
        })
    }
}
