//! Decides whether a failed attempt is retried, and after what delay.

use std::sync::Arc;
use std::time::Duration;

use super::{Retry, Stop, backoff, stop};
use crate::classify::{Class, Judgement};
use crate::clock::{Delay, Instant, NoTimer};
use crate::component::Component;
use crate::context::{self, Retries};
use crate::last_error::Cause;
use crate::observe::{EventKind, log_limited};
use crate::sync::Ordering;

/// The progress of a call through its retries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The number of retries made.
    pub(crate) retries: u32,
    /// The delay before the last retry in seconds. As an `f32`, because it is part of every call; it only bounds a
    /// random delay.
    previous: f32,
}

/// The state of a call on which the decision depends.
#[allow(clippy::struct_excessive_bools)] // the flags are independent
pub(crate) struct Situation<'a> {
    /// The name of the operation, if known.
    pub(crate) operation: Option<&'static str>,
    /// [`Instant::NEVER`] if the call is not timed.
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    pub(crate) deadline: Instant,
    pub(crate) idempotent: bool,
    /// The call has an idempotency key: a failure with an unknown effect must not be retried.
    pub(crate) is_keyed: bool,
    pub(crate) asynchronous: bool,
    /// The retries that outer calls suppress.
    pub(crate) suppressed: Retries,
    /// The retries that were suppressed in the attempt that ended.
    pub(crate) inside: Retries,
    /// Whether an attempt that begins at that time would be rejected.
    pub(crate) refused: &'a dyn Fn(Instant) -> bool,
    /// The error of the attempt, if known.
    pub(crate) cause: Option<Cause<'a>>,
}

impl Retry {
    /// Returns the `pause` before the next attempt and the retries suppressed in it, or the reason why there is none.
    pub(crate) fn next(
        &self,
        progress: &mut Progress,
        judgement: Judgement,
        situation: &Situation<'_>,
        pause: impl FnOnce(Duration) -> Result<Delay, NoTimer>,
    ) -> Result<(Delay, Retries), Stop> {
        let given_up = context::take_given_up().and(situation.inside);
        let next = self.decide(*progress, judgement, situation).and_then(|span| {
            let delay = pause(span).map_err(|_| Stop::NoTimer)?;
            // Last, so that a token is taken only for a retry that is made.
            let is_paid = self.unbudgeted.load(Ordering::Relaxed)
                || self.budget.try_withdraw_retry(progress.retries.saturating_add(1));
            if is_paid { Ok((delay, span)) } else { Err(Stop::Budget) }
        });
        if let Some(cause) = situation.cause {
            self.last_error.set(cause, situation.now);
        }
        match next {
            Ok((delay, span)) => {
                self.retrying(progress, span, situation.cause);
                Ok((delay, given_up))
            }
            Err(stop) => {
                let is_final = matches!(stop, Stop::NotRetryable | Stop::MayHaveRun);
                context::gave_up(given_up.and(if is_final { Retries::NONE } else { self.bit }));
                self.stopped(stop, situation);
                Err(stop)
            }
        }
    }

    fn decide(
        &self,
        progress: Progress,
        judgement: Judgement,
        situation: &Situation<'_>,
    ) -> Result<Duration, Stop> {
        let config = self.core.config();
        let Some(class) = judgement.class() else { return Err(Stop::NotRetryable) };
        worth_it(judgement, class, situation)?;
        if progress.retries >= config.max || !config.enabled {
            return Err(Stop::Exhausted);
        }
        if situation.suppressed.contains(self.bit) {
            return Err(Stop::Nested);
        }
        let hint = class.retry_after().unwrap_or_default();
        if hint > config.max_retry_after {
            self.hint_too_long(hint, config.max_retry_after);
            return Err(Stop::HintTooLong);
        }
        let random = self.core.environment.random.share();
        let previous = Duration::try_from_secs_f32(progress.previous).unwrap_or_default();
        let delay = backoff::delay(&config, progress.retries + 1, previous, random).max(hint);
        let begins = situation.now.after(delay);
        let latest = self.latest(situation.started);
        // A blocked thread does not sleep longer after a rejection than after a failure.
        let is_refusal = matches!(class, Class::NotExecuted { .. });
        let is_too_long = is_refusal && !situation.asynchronous && hint > config.longest_delay();
        if is_too_long || begins >= situation.deadline || begins > latest {
            return Err(Stop::OutOfTime);
        }
        if (situation.refused)(begins) {
            return Err(Stop::CircuitOpen);
        }
        Ok(delay)
    }

    fn retrying(&self, progress: &mut Progress, delay: Duration, cause: Option<Cause<'_>>) {
        progress.retries += 1;
        progress.previous = delay.as_secs_f32();
        self.counters.lock().retries += 1;
        let attempt = progress.retries;
        let error = cause.map(|cause| cause.text);
        tracing::debug!(target: "resilient_runtime::retry", retry = %self.core.name, attempt, ?delay, error, "attempt failed, will retry");
        if self.core.events().are_wanted() {
            let error = error.map(Arc::from);
            self.core.publish(Self::KIND, EventKind::Retrying { attempt, delay, error });
        }
    }

    /// Reports that the call is not retried because of the hint: the caller gets only the original error.
    fn hint_too_long(&self, retry_after: Duration, most: Duration) {
        tracing::debug!(
            target: "resilient_runtime::retry",
            retry = %self.core.name,
            ?retry_after,
            max_retry_after = ?most,
            "not retried: the server requests a longer wait than `max_retry_after`"
        );
        self.core.publish(Self::KIND, EventKind::RetryAfterTooLong { retry_after, most });
    }

    fn stopped(&self, stop: Stop, situation: &Situation<'_>) {
        self.counters.lock().stopped(stop);
        stop::note(self.core.name, stop);
        if stop == Stop::MayHaveRun {
            tracing::debug!(
                target: "resilient_runtime::retry", retry = %self.core.name,
                "not retried: the attempt may have had an effect; declare the function `idempotent` to retry it, \
                 or with an idempotency key `on_unknown = reexecute`"
            );
            self.core.publish(Self::KIND, EventKind::NotRepeated);
        }
        if stop == Stop::Budget {
            self.warn(situation);
            self.core.publish(Self::KIND, EventKind::BudgetExhausted);
        }
    }

    /// Warns that the budget is exhausted, at most once a second.
    fn warn(&self, situation: &Situation<'_>) {
        let (retry, budget) = (self.core.name, self.budget.name());
        let operation = situation.operation.unwrap_or(retry);
        log_limited!(
            self.log_limit,
            self.core.clock(),
            WARN,
            target: "resilient_runtime::retry",
            %operation,
            %retry,
            %budget,
            "the retry budget is exhausted: failed calls are returned without a retry; increase it with \
             `budget(ratio = .., reserve = .., free = ..)`, or disable it with `budget = off`"
        );
    }
}

fn worth_it(judgement: Judgement, class: Class, situation: &Situation<'_>) -> Result<(), Stop> {
    let may_run_twice = |may: bool| if may { Ok(()) } else { Err(Stop::MayHaveRun) };
    match (judgement.again(), class) {
        // The predicate decides.
        (Some(true), _)
        | (
            None,
            Class::Transient { .. } | Class::Overload { .. } | Class::NotExecuted { retry_after: Some(_) },
        ) => Ok(()),
        (None, Class::Uncertain { .. }) => may_run_twice(situation.idempotent),
        (None, Class::Unknown { .. }) => may_run_twice(situation.idempotent || !situation.is_keyed),
        (Some(false), _)
        | (None, Class::NotExecuted { retry_after: None } | Class::Permanent | Class::Ignored) => {
            Err(Stop::NotRetryable)
        }
    }
}
