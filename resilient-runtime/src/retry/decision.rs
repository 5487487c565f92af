//! Whether a failed attempt is repeated, and after what delay.

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

/// How far one call has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Retries made so far.
    pub(crate) retries: u32,
    /// The delay before the latest of them, in seconds: one word in every call for both. What is drawn from it is
    /// random anyway.
    previous: f32,
}

/// What one call knows that the retry does not.
#[allow(clippy::struct_excessive_bools)] // each a question of its own
pub(crate) struct Situation<'a> {
    /// Of whom the call is, where that is known.
    pub(crate) operation: Option<&'static str>,
    /// [`Instant::NEVER`] if nobody wanted to know.
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    pub(crate) deadline: Instant,
    pub(crate) idempotent: bool,
    /// It has an idempotency key: what is unknown must not be done twice.
    pub(crate) is_keyed: bool,
    pub(crate) asynchronous: bool,
    /// The retries that stand back here.
    pub(crate) standing_back: Retries,
    /// The retries that stood back in the attempt that has ended.
    pub(crate) inside: Retries,
    /// Whether an attempt that begins then would be refused anyway.
    pub(crate) refused: &'a dyn Fn(Instant) -> bool,
    /// What the attempt failed with, where that is known.
    pub(crate) cause: Option<Cause<'a>>,
}

impl Retry {
    /// The `pause` before the next attempt and the retries that stand back in it, or why there is none.
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
            // Last, so that a token is taken only for a retry that will be made.
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
        if situation.standing_back.contains(self.bit) {
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
        // A thread does not sleep longer for a refusal than for a failure.
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

    /// Says that the call gives up, and why: the caller sees only the error that it would have seen anyway.
    fn hint_too_long(&self, retry_after: Duration, most: Duration) {
        tracing::debug!(
            target: "resilient_runtime::retry",
            retry = %self.core.name,
            ?retry_after,
            max_retry_after = ?most,
            "not repeated: the server asks for a longer wait than `max_retry_after`"
        );
        self.core.publish(Self::KIND, EventKind::RetryAfterTooLong { retry_after, most });
    }

    fn stopped(&self, stop: Stop, situation: &Situation<'_>) {
        self.counters.lock().stopped(stop);
        stop::note(self.core.name, stop);
        if stop == Stop::MayHaveRun {
            tracing::debug!(
                target: "resilient_runtime::retry", retry = %self.core.name,
                "not repeated: the attempt may have had an effect; declare the function `idempotent` to repeat it, \
                 or with an idempotency key `on_unknown = reexecute`"
            );
            self.core.publish(Self::KIND, EventKind::NotRepeated);
        }
        if stop == Stop::Budget {
            self.warn(situation);
            self.core.publish(Self::KIND, EventKind::BudgetExhausted);
        }
    }

    /// Warns that the budget is used up, at most once a second.
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
            "the retry budget is used up: failed calls are returned instead of repeated; give it more with \
             `budget(ratio = .., reserve = .., free = ..)`, or take it away with `budget = off`"
        );
    }
}

fn worth_it(judgement: Judgement, class: Class, situation: &Situation<'_>) -> Result<(), Stop> {
    let may_run_twice = |may: bool| if may { Ok(()) } else { Err(Stop::MayHaveRun) };
    match (judgement.again(), class) {
        // The predicate has the last word.
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
