//! Settings that contradict each other, or what the runtime takes where the attribute is silent.

use resilient_options::{Table, Value as Default, bulkhead, circuit_breaker, retry, timeout};
use syn::{Expr, ExprLit, Lit};

use crate::args::{Args, Policy, RateLimit, Value};
use crate::diag::Errors;

/// The value of a setting and its place.
pub(super) fn find<'a>(policy: &'a Policy, field: &str) -> Option<(&'a Value, proc_macro2::Span)> {
    let setting = policy.settings.iter().find(|setting| setting.field == field)?;
    Some((&setting.value, setting.span))
}

pub(super) fn duration(policy: &Policy, field: &str) -> Option<(u64, proc_macro2::Span)> {
    match find(policy, field)? {
        (Value::Duration(nanos), span) => Some((*nanos, span)),
        _ => None,
    }
}

pub(super) fn count(policy: &Policy, field: &str) -> Option<(u64, proc_macro2::Span)> {
    match find(policy, field)? {
        (Value::Count(count), span) => Some((*count, span)),
        _ => None,
    }
}

/// What the runtime takes where the attribute is silent.
pub(super) fn usual(table: &Table, field: &str) -> u64 {
    match table.field(field).map(|row| row.default) {
        Some(Default::Duration(value) | Default::Count(value)) => value,
        _ => 0,
    }
}

pub(super) fn contradictions(args: &Args, errors: &mut Errors) {
    if let Some(breaker) = &args.circuit_breaker {
        if let (Some((calls, span)), Some((window, _))) =
            (count(breaker, "min_calls"), count(breaker, "window"))
            && calls > window
        {
            errors.span(span, format!("the window of {window} calls never holds `min_calls = {calls}`, so the circuit could not open"));
        }
        open_period(breaker, errors);
        if let (Some((_, span)), None) = (find(breaker, "slow_rate"), find(breaker, "slow_call")) {
            errors.span(span, "`slow_rate` needs `slow_call`: how long a call takes that is slow, as in `slow_call = \"2s\"`");
        }
        if let (Some((Value::Flag(true), span)), None) =
            (find(breaker, "slow_in_flight"), find(breaker, "slow_call"))
        {
            errors.span(span, "`slow_in_flight` needs `slow_call`: how long a call takes that is slow, as in `slow_call = \"2s\"`");
        }
    }
    if let Some(bulkhead) = &args.bulkhead {
        bulkhead_contradictions(bulkhead, errors);
    }
    if let Some(shed) = &args.load_shed {
        super::shed::contradictions(&shed.policy, errors);
    }
    if let Some(limit) = &args.rate_limit {
        rate_limit_contradictions(&limit.policy, errors);
        weight_fits(limit, errors);
    }
    if let Some(timeout) = &args.timeout {
        timeout_contradictions(timeout, errors);
    }
    if let Some(retry) = &args.retry {
        retry_contradictions(&retry.policy, errors);
    }
    for policy in args.retry.iter().map(|retry| &retry.policy).chain(&args.hedge) {
        empty_budget(policy, errors);
    }
    time_runs_out(args, errors);
}

/// The longest delay where neither that nor the first one says more.
const MAX_DELAY: u64 = 5_000_000_000;

/// The shortest delay before the first retry, in nanoseconds: what jitter leaves of it.
fn first_delay(retry: &Policy) -> u64 {
    let base = duration(retry, "base").map_or_else(|| usual(&retry::TABLE, "base"), |(base, _)| base);
    let longest = duration(retry, "max_delay").map_or(base.max(MAX_DELAY), |(longest, _)| longest);
    let is_decorrelated =
        matches!(find(retry, "backoff"), Some((Value::Text(word), _)) if word == "decorrelated");
    let jitter = match find(retry, "jitter") {
        _ if is_decorrelated => 0.0,
        Some((Value::Ratio(jitter), _)) => *jitter,
        _ => match const { retry::TABLE.row("jitter") }.default {
            Default::Ratio(jitter) => jitter,
            _ => 0.0,
        },
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // A share of it, to the nanosecond.
    let shortest = (base.min(longest) as f64 * (1.0 - jitter)) as u64;
    shortest
}

fn retry_contradictions(retry: &Policy, errors: &mut Errors) {
    if let (Some((base, _)), Some((longest, span))) = (duration(retry, "base"), duration(retry, "max_delay"))
        && base > longest
    {
        errors.span(
            span,
            "`max_delay` is shorter than `base`, the first delay; leave it away, and it follows `base`",
        );
    }
    if let Some((elapsed, span)) = duration(retry, "max_elapsed") {
        let first = first_delay(retry);
        if elapsed <= first {
            errors.span(
                span,
                format!(
                    "no retry is ever made: the first would begin {} after the call at the earliest, later than \
                     `max_elapsed`; shorten `base`",
                    words(first)
                ),
            );
        }
    }
}

/// A4: no attempt that needs a token is ever made.
fn empty_budget(policy: &Policy, errors: &mut Errors) {
    let is_zero =
        |value: &Value| matches!(value, Value::Ratio(number) | Value::Number(number) if *number == 0.0);
    if let (Some((ratio, span)), Some((reserve, _))) =
        (find(policy, "budget_ratio"), find(policy, "budget_reserve"))
        && is_zero(ratio)
        && is_zero(reserve)
    {
        errors.span(
            span,
            "this budget never has a token, so no attempt is made but the first; give it a `ratio` or a `reserve` above 0",
        );
    }
}

fn words(nanos: u64) -> String {
    format!("{:?}", std::time::Duration::from_nanos(nanos))
}

/// What is over before it begins, because the time of the call or the attempt is over.
fn time_runs_out(args: &Args, errors: &mut Errors) {
    let Some(timeout) = &args.timeout else { return };
    let given = duration(timeout, "total").map(|(total, _)| total);
    // A named timeout that says nothing has its limit elsewhere.
    let is_elsewhere = timeout.name.is_some() && given.is_none();
    // None at all for `total = none` (H4).
    let total = total(timeout).unwrap_or(u64::MAX);
    let which = if given.is_some() { "the total" } else { "the total is 60 s unless you give it, and that" };
    if !is_elsewhere {
        if let Some(retry) = &args.retry
            && first_delay(&retry.policy) >= total
        {
            let span = duration(&retry.policy, "base").map_or(retry.policy.key.span(), |(_, span)| span);
            errors.span(span, format!("no retry is ever made: {which} ends the call before the first one; shorten `base`, as in `base = \"10ms\"`"));
        }
        let waits = [
            args.bulkhead.as_ref(),
            args.rate_limit.as_ref().map(|limit| &limit.policy),
            args.coalesce.as_ref().map(|coalesce| &coalesce.policy),
        ];
        for policy in waits.into_iter().flatten() {
            if let Some((wait, span)) = duration(policy, "max_wait")
                && wait > total
            {
                errors.span(span, format!("no call waits that long: {which} is shorter"));
            }
        }
    }
    let attempt = duration(timeout, "attempt").map(|(attempt, _)| ("the attempt timeout", attempt));
    // A hedge that is slower than the timeout is none of these: it still follows a failure at once.
    for (which, limit) in attempt.into_iter().chain((!is_elsewhere).then_some((which, total))) {
        if let Some((slow, span)) =
            args.circuit_breaker.as_ref().and_then(|breaker| duration(breaker, "slow_call"))
            && slow > limit
        {
            errors.span(span, format!("no call is ever that slow: {which} ends it before"));
            break;
        }
    }
}

/// The total of a timeout: as given, or what the runtime takes where the attribute is silent; none for `total = none`.
pub(super) fn total(timeout: &Policy) -> Option<u64> {
    match find(timeout, "total") {
        Some((Value::Unset, _)) => None,
        _ => Some(
            duration(timeout, "total").map_or_else(|| usual(&timeout::TABLE, "total"), |(total, _)| total),
        ),
    }
}

fn open_period(breaker: &Policy, errors: &mut Errors) {
    match (duration(breaker, "open_for"), duration(breaker, "open_max")) {
        (Some((open_for, span)), Some((open_max, _))) if open_for > open_max => {
            errors.span(span, "`open_for` is longer than `open_max`");
        }
        (None, Some((open_max, span))) => {
            let open_for = usual(&circuit_breaker::TABLE, "open_for");
            if open_for > open_max {
                let words = words(open_for);
                errors.span(
                    span,
                    format!("`open_max` is shorter than `open_for`, which is {words} unless you give it"),
                );
            }
        }
        _ => {}
    }
}

fn bulkhead_contradictions(bulkhead: &Policy, errors: &mut Errors) {
    if find(bulkhead, "threads").is_some() {
        return;
    }
    let is_adaptive = matches!(find(bulkhead, "adaptive"), Some((Value::Flag(true), _)));
    if is_adaptive {
        found_limit(bulkhead, errors);
    }
    let queue = count(bulkhead, "max_queue").filter(|(count, _)| *count > 0);
    let wait = duration(bulkhead, "max_wait");
    if let (Some((_, span)), None) = (queue, wait) {
        errors.span(
            span,
            "a queue needs `max_wait`, or its callers could wait for ever, as in `max_wait = \"50ms\"`",
        );
    }
    if let (None, Some((_, span))) = (queue, wait) {
        errors.span(span, "`max_wait` has no effect without a queue: add `max_queue = 100`");
    }
    let reserved = ["reserve_critical", "reserve_high"].map(|field| count(bulkhead, field));
    let sum: u64 = reserved.iter().flatten().map(|(count, _)| *count).sum();
    let last = reserved.iter().flatten().next_back();
    let (field, max) = if is_adaptive {
        (
            "min",
            count(bulkhead, "adaptive_min")
                .map_or_else(|| usual(&bulkhead::TABLE, "adaptive_min"), |(min, _)| min),
        )
    } else {
        (
            "max_concurrent",
            count(bulkhead, "max_concurrent")
                .map_or_else(|| usual(&bulkhead::TABLE, "max_concurrent"), |(max, _)| max),
        )
    };
    if let Some((_, span)) = last
        && sum >= max
    {
        errors.span(
            *span,
            format!("the reserve of {sum} leaves nothing of `{field} = {max}` for normal calls"),
        );
    }
}

/// The limit of a bulkhead that finds it.
fn found_limit(bulkhead: &Policy, errors: &mut Errors) {
    if let Some((_, span)) = count(bulkhead, "max_concurrent") {
        errors.span(
            span,
            "an adaptive bulkhead finds how many calls may run; bound it with `adaptive(min = .., max = ..)`",
        );
    }
    let (min, max) = (count(bulkhead, "adaptive_min"), count(bulkhead, "adaptive_max"));
    let least = min.map_or_else(|| usual(&bulkhead::TABLE, "adaptive_min"), |(min, _)| min);
    let most = max.map_or_else(|| usual(&bulkhead::TABLE, "adaptive_max"), |(max, _)| max);
    if let (Some((_, span)), true) = (max.or(min), least > most) {
        errors.span(span, format!("the adaptive limit has no room: `min = {least}` is above `max = {most}`"));
    } else if let Some((initial, span)) = count(bulkhead, "adaptive_initial")
        && !(least..=most).contains(&initial)
    {
        errors.span(span, format!("an adaptive limit begins from its `min = {least}` to its `max = {most}`"));
    }
}

/// What the runtime takes at most, too.
const LONGEST_LOG: u64 = 10_000;
const LONGEST_REFILL: u128 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// The count and the nanoseconds of the rate, where it was understood.
fn rate(limit: &Policy) -> Option<(u64, u64, proc_macro2::Span)> {
    match find(limit, "rate")? {
        (Value::Text(text), span) => crate::text::rate_of(text).map(|(count, per)| (count, per, span)),
        _ => None,
    }
}

fn rate_limit_contradictions(limit: &Policy, errors: &mut Errors) {
    if let (Some((burst, span)), Some((calls, per, _))) = (count(limit, "burst"), rate(limit))
        && u128::from(burst) * u128::from(per) > LONGEST_REFILL * u128::from(calls)
    {
        errors.span(
            span,
            format!("at this rate a burst of {burst} would take more than 100 years to come again"),
        );
    }
    let Some((Value::Text(algorithm), span)) = find(limit, "algorithm") else { return };
    if let (Some((calls, _, span)), "sliding_log") = (rate(limit), algorithm.as_str())
        && calls > LONGEST_LOG
    {
        errors.span(
            span,
            format!("a `sliding_log` remembers each call: at most {LONGEST_LOG} of them, or use a `sliding_window`"),
        );
    }
    if algorithm == "leaky_bucket" && find(limit, "max_wait").is_none() {
        errors.span(
            span,
            "with a `leaky_bucket` calls wait for their turn: say for how long, as in `max_wait = \"1s\"`",
        );
    }
    if let (Some((_, span)), true) = (find(limit, "burst"), algorithm != "token_bucket") {
        errors.span(span, "only a `token_bucket` has a burst");
    }
}

/// A function with a timeout in whatever form has a total.
fn timeout_contradictions(timeout: &Policy, errors: &mut Errors) {
    let given = duration(timeout, "total").map(|(total, _)| total);
    let ceiling = total(timeout).unwrap_or(u64::MAX);
    for part in ["attempt", "connect", "read"] {
        let Some((limit, span)) = duration(timeout, part) else { continue };
        match given {
            Some(total) if limit > total => {
                errors.span(span, format!("the {part} timeout can never fire: the total is shorter"));
            }
            None if limit > ceiling => errors.span(
                span,
                format!("the {part} timeout can never fire: the total is 60 s unless you give it, as in `total = \"2m\"`"),
            ),
            _ => {}
        }
    }
    adaptive_contradictions(timeout, errors);
}

fn adaptive_contradictions(timeout: &Policy, errors: &mut Errors) {
    if !matches!(find(timeout, "adaptive"), Some((Value::Flag(true), _))) {
        return;
    }
    let given = |field: &str| duration(timeout, field);
    let (min, max) = (given("min"), given("max"));
    let (usual_min, usual_max) = (usual(&timeout::TABLE, "min"), usual(&timeout::TABLE, "max"));
    let (least, most) = (min.map_or(usual_min, |(min, _)| min), max.map_or(usual_max, |(max, _)| max));
    match (min, max) {
        (Some((_, span)), Some(_)) if least > most => errors.span(span, "`min` is longer than `max`"),
        (Some((_, span)), None) if least > most => {
            let words = words(usual_max);
            errors.span(span, format!("`min` is longer than `max`, which is {words} unless you give it"));
        }
        (None, Some((_, span))) if least > most => {
            let words = words(usual_min);
            errors.span(span, format!("`max` is shorter than `min`, which is {words} unless you give it"));
        }
        _ => {}
    }
    if let Some((attempt, span)) = given("attempt")
        && !(least..=most).contains(&attempt)
    {
        errors.span(
            span,
            "an adaptive timeout begins with `attempt`, which must be from its `min` to its `max`",
        );
    }
    match given("window") {
        Some((window, span)) if window < most.saturating_mul(2) => errors.span(
            span,
            "the window must be at least twice `max`, or an attempt could be forgotten before it has ended",
        ),
        _ => {}
    }
    if total(timeout).is_some_and(|total| total < least) {
        let span = min.or(given("total")).map_or(timeout.key.span(), |(_, span)| span);
        let words = words(usual_min);
        errors.span(span, format!("the adaptive timeout can never fire: the total is shorter than its `min`, which is {words} unless you give it"));
    }
}

/// A weight that is a literal can be held against the limit.
fn weight_fits(limit: &RateLimit, errors: &mut Errors) {
    let (Some(weight), Some((calls, ..))) = (&limit.weight, rate(&limit.policy)) else { return };
    let Expr::Lit(ExprLit { lit: Lit::Int(lit), .. }) = &weight.value else { return };
    let is_leaky =
        matches!(find(&limit.policy, "algorithm"), Some((Value::Text(name), _)) if name == "leaky_bucket");
    let most = if is_leaky { 1 } else { count(&limit.policy, "burst").map_or(calls, |(burst, _)| burst) };
    if lit.base10_parse::<u64>().is_ok_and(|weight| weight > most) {
        errors.at(lit, format!("a call of this weight is never admitted: the limit is {most}"));
    }
}
