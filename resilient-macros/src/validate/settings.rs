//! Reports settings that contradict each other or the defaults of the runtime.

use resilient_options::{Table, Value as Default, bulkhead, circuit_breaker, retry, timeout};
use syn::{Expr, ExprLit, Lit};

use crate::args::{Args, Policy, RateLimit, Value};
use crate::diag::Errors;

/// Returns the value of a setting and its span.
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

/// Returns the default that the runtime uses if the attribute does not set a value.
pub(super) fn usual(table: &Table, field: &str) -> u64 {
    match table.field(field).map(|row| row.default) {
        Some(Default::Duration(value) | Default::Count(value)) => value,
        _ => 0,
    }
}

/// Settings of a circuit that several instances share.
fn sharing(breaker: &Policy, errors: &mut Errors) {
    if let (Some(_), Some((_, span))) = (find(breaker, "quorum"), find(breaker, "quorum_share")) {
        errors.span(
            span,
            "use one of them: `quorum`, a number of instances, or `quorum_share`, a share of them",
        );
    }
    if find(breaker, "store").is_some() {
        return;
    }
    for setting in ["coordinate", "quorum", "quorum_share", "scope", "max_shared_open", "poll"] {
        if let Some((_, span)) = find(breaker, setting) {
            errors.span(
                span,
                format!("`{setting}` needs `store`, the name of the store that shares the circuit, as in `store = \"shared\"`"),
            );
        }
    }
}

pub(super) fn contradictions(args: &Args, errors: &mut Errors) {
    if let Some(breaker) = &args.circuit_breaker {
        if let (Some((calls, span)), Some((window, _))) =
            (count(breaker, "min_calls"), count(breaker, "window"))
            && calls > window
        {
            errors.span(span, format!("`min_calls = {calls}` is more than the window of {window} calls, so the rates would never be checked"));
        }
        open_period(breaker, errors);
        if let (Some((_, span)), None) = (find(breaker, "slow_rate"), find(breaker, "slow_call")) {
            errors.span(span, "`slow_rate` needs `slow_call`, the duration from which a call is slow, as in `slow_call = \"2s\"`");
        }
        if let (Some((Value::Flag(true), span)), None) =
            (find(breaker, "slow_in_flight"), find(breaker, "slow_call"))
        {
            errors.span(span, "`slow_in_flight` needs `slow_call`, the duration from which a call is slow, as in `slow_call = \"2s\"`");
        }
        sharing(breaker, errors);
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

/// The default of `max_delay`, unless `base` is longer.
const MAX_DELAY: u64 = 5_000_000_000;

/// Returns the shortest delay before the first retry in nanoseconds, after jitter.
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
    // Truncation to whole nanoseconds is intended.
    let shortest = (base.min(longest) as f64 * (1.0 - jitter)) as u64;
    shortest
}

fn retry_contradictions(retry: &Policy, errors: &mut Errors) {
    if let (Some((base, _)), Some((longest, span))) = (duration(retry, "base"), duration(retry, "max_delay"))
        && base > longest
    {
        errors.span(
            span,
            "`max_delay` is shorter than `base`, the first delay; increase it, or remove it to use the default",
        );
    }
    if let Some((elapsed, span)) = duration(retry, "max_elapsed") {
        let first = first_delay(retry);
        if elapsed <= first {
            errors.span(
                span,
                format!(
                    "no retry can start: the first one would begin {} after the call at the earliest, which is later than \
                     `max_elapsed`; shorten `base`",
                    words(first)
                ),
            );
        }
    }
}

/// Reports a budget that never allows an attempt that needs a token.
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
            "this budget never has a token, so only the first attempt is made; set `ratio` or `reserve` to more than 0",
        );
    }
}

fn words(nanos: u64) -> String {
    format!("{:?}", std::time::Duration::from_nanos(nanos))
}

/// Reports delays and limits that the total or attempt timeout always ends first.
fn time_runs_out(args: &Args, errors: &mut Errors) {
    let Some(timeout) = &args.timeout else { return };
    let given = duration(timeout, "total").map(|(total, _)| total);
    // A named timeout without a total gets its limit elsewhere.
    let is_elsewhere = timeout.name.is_some() && given.is_none();
    // `total = none` has no limit.
    let total = total(timeout).unwrap_or(u64::MAX);
    let which = if given.is_some() { "the total timeout" } else { "the default total timeout of 60 s" };
    if !is_elsewhere {
        if let Some(retry) = &args.retry
            && first_delay(&retry.policy) >= total
        {
            let span = duration(&retry.policy, "base").map_or(retry.policy.key.span(), |(_, span)| span);
            errors.span(span, format!("no retry can start: {which} ends the call before the first one; shorten `base`, as in `base = \"10ms\"`"));
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
                errors.span(span, format!("no call waits that long: {which} is shorter; shorten `max_wait`"));
            }
        }
    }
    let attempt = duration(timeout, "attempt").map(|(attempt, _)| ("the attempt timeout", attempt));
    // A hedge delay longer than the timeout is allowed, because a failed attempt starts a hedge immediately.
    for (which, limit) in attempt.into_iter().chain((!is_elsewhere).then_some((which, total))) {
        if let Some((slow, span)) =
            args.circuit_breaker.as_ref().and_then(|breaker| duration(breaker, "slow_call"))
            && slow > limit
        {
            errors
                .span(span, format!("no call can be that slow: {which} ends it first; shorten `slow_call`"));
            break;
        }
    }
}

/// Returns the total timeout, or its default if it is not set. Returns `None` for `total = none`.
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
                errors
                    .span(span, format!("`open_max` is shorter than `open_for`, which defaults to {words}"));
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
        adaptive_limit(bulkhead, errors);
    }
    let queue = count(bulkhead, "max_queue").filter(|(count, _)| *count > 0);
    let wait = duration(bulkhead, "max_wait");
    if let (Some((_, span)), None) = (queue, wait) {
        errors.span(
            span,
            "`max_queue` needs `max_wait`, because otherwise calls could wait forever; add `max_wait = \"50ms\"`",
        );
    }
    if let (None, Some((_, span))) = (queue, wait) {
        errors.span(span, "`max_wait` has no effect without a queue; add `max_queue = 100`");
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
            format!("the reserves add up to {sum}, which leaves none of `{field} = {max}` for normal calls"),
        );
    }
}

/// Checks the limits of an adaptive bulkhead.
fn adaptive_limit(bulkhead: &Policy, errors: &mut Errors) {
    if let Some((_, span)) = count(bulkhead, "max_concurrent") {
        errors.span(
            span,
            "`max_concurrent` has no effect with `adaptive`; limit it with `adaptive(min = .., max = ..)`",
        );
    }
    let (min, max) = (count(bulkhead, "adaptive_min"), count(bulkhead, "adaptive_max"));
    let least = min.map_or_else(|| usual(&bulkhead::TABLE, "adaptive_min"), |(min, _)| min);
    let most = max.map_or_else(|| usual(&bulkhead::TABLE, "adaptive_max"), |(max, _)| max);
    if let (Some((_, span)), true) = (max.or(min), least > most) {
        errors.span(
            span,
            format!("the adaptive limit is impossible: `min = {least}` is greater than `max = {most}`"),
        );
    } else if let Some((initial, span)) = count(bulkhead, "adaptive_initial")
        && !(least..=most).contains(&initial)
    {
        errors.span(span, format!("`initial` must be from `min = {least}` to `max = {most}`"));
    }
}

/// The same maximum as in the runtime.
const LONGEST_LOG: u64 = 10_000;
const LONGEST_REFILL: u128 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// Returns the count and the nanoseconds of the rate, if it was parsed.
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
            format!(
                "a burst of {burst} would take more than 100 years to refill at this rate; reduce `burst`"
            ),
        );
    }
    let is_shared = find(limit, "store").is_some();
    for option in ["mode", "on_store_failure"] {
        if let (Some((_, span)), false) = (find(limit, option), is_shared) {
            errors.span(
                span,
                format!("`{option}` has an effect only with `store`, as in `store = \"shared\"`; remove it, or name a store"),
            );
        }
    }
    let Some((Value::Text(algorithm), span)) = find(limit, "algorithm") else { return };
    if let (true, "sliding_log") = (is_shared, algorithm.as_str()) {
        errors.span(span, "a `sliding_log` cannot be shared by a `store`; use `sliding_window`");
    }
    if let (true, "leaky_bucket", Some((Value::Text(mode), span))) =
        (is_shared, algorithm.as_str(), find(limit, "mode"))
        && mode == "lease"
    {
        errors.span(span, "a `leaky_bucket` schedules each call, so it cannot be leased; use `mode = exact`");
    }
    if let (Some((calls, _, span)), "sliding_log") = (rate(limit), algorithm.as_str())
        && calls > LONGEST_LOG
    {
        errors.span(
            span,
            format!("a `sliding_log` stores each call, at most {LONGEST_LOG} of them; reduce the rate, or use `sliding_window`"),
        );
    }
    if algorithm == "leaky_bucket" && find(limit, "max_wait").is_none() {
        errors.span(span, "a `leaky_bucket` delays calls, so it needs `max_wait`, as in `max_wait = \"1s\"`");
    }
    if let (Some((_, span)), true) = (find(limit, "burst"), algorithm != "token_bucket") {
        errors.span(span, "`burst` has an effect only with `token_bucket`; remove it");
    }
}

/// Checks the parts of a timeout against its total, which is set or has a default.
fn timeout_contradictions(timeout: &Policy, errors: &mut Errors) {
    let given = duration(timeout, "total").map(|(total, _)| total);
    let ceiling = total(timeout).unwrap_or(u64::MAX);
    for part in ["attempt", "connect", "read"] {
        let Some((limit, span)) = duration(timeout, part) else { continue };
        match given {
            Some(total) if limit > total => {
                errors.span(span, format!("the {part} timeout can never expire: the total timeout is shorter"));
            }
            None if limit > ceiling => errors.span(
                span,
                format!("the {part} timeout can never expire: the total timeout defaults to 60 s; set it, as in `total = \"2m\"`"),
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
            errors.span(span, format!("`min` is longer than `max`, which defaults to {words}"));
        }
        (None, Some((_, span))) if least > most => {
            let words = words(usual_min);
            errors.span(span, format!("`max` is shorter than `min`, which defaults to {words}"));
        }
        _ => {}
    }
    if let Some((attempt, span)) = given("attempt")
        && !(least..=most).contains(&attempt)
    {
        errors.span(
            span,
            "`attempt` is the initial value of the adaptive timeout and must be from `min` to `max`",
        );
    }
    match given("window") {
        Some((window, span)) if window < most.saturating_mul(2) => errors.span(
            span,
            "`window` must be at least twice `max`, so that an attempt ends before it leaves the window",
        ),
        _ => {}
    }
    if total(timeout).is_some_and(|total| total < least) {
        let span = min.or(given("total")).map_or(timeout.key.span(), |(_, span)| span);
        let words = words(usual_min);
        errors.span(span, format!("the adaptive timeout can never expire: the total timeout is shorter than `min`, which defaults to {words}"));
    }
}

/// Checks a weight that is a literal against the limit.
fn weight_fits(limit: &RateLimit, errors: &mut Errors) {
    let (Some(weight), Some((calls, ..))) = (&limit.weight, rate(&limit.policy)) else { return };
    let Expr::Lit(ExprLit { lit: Lit::Int(lit), .. }) = &weight.value else { return };
    let is_leaky =
        matches!(find(&limit.policy, "algorithm"), Some((Value::Text(name), _)) if name == "leaky_bucket");
    let most = if is_leaky { 1 } else { count(&limit.policy, "burst").map_or(calls, |(burst, _)| burst) };
    if lit.base10_parse::<u64>().is_ok_and(|weight| weight > most) {
        errors.at(lit, format!("a call with this weight is never admitted: the limit is {most}"));
    }
}
