//! What of a load shedder's settings cannot be.

use super::settings::{count, duration, find};
use crate::args::{Policy, Value};
use crate::diag::Errors;

/// What the runtime takes where the attribute is silent.
const MIN_IN_FLIGHT: u64 = 10;
const MAX_IN_FLIGHT: u64 = 1000;
const SHARES: [(&str, &str, f64); 3] =
    [("share_low", "low", 0.5), ("share_normal", "normal", 0.8), ("share_high", "high", 0.9)];

const MILLISECOND: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MILLISECOND;
const HOUR: u64 = 60 * MINUTE;

/// The option, the field, the shortest time it takes and the longest, in words.
const TIMES: [(&str, &str, u64, u64, &str); 5] = [
    ("target_delay", "target_delay", 1, HOUR, "at most 1 h"),
    ("target_latency", "target_latency", 1, HOUR, "at most 1 h"),
    ("retry_after", "retry_after", 1, HOUR, "at most 1 h"),
    ("interval", "interval", MILLISECOND, MINUTE, "from 1 ms to 1 min"),
    ("window", "throttle_window", 100 * MILLISECOND, HOUR, "from 100 ms to 1 h"),
];

pub(super) fn contradictions(shed: &Policy, errors: &mut Errors) {
    for (option, field, least, most, words) in TIMES {
        if let Some((nanos, span)) = duration(shed, field)
            && !(least..=most).contains(&nanos)
        {
            errors.span(span, format!("`{option}` is {words}"));
        }
    }
    limits(shed, errors);
    shares(shed, errors);
    if let Some((Value::Ratio(floor), span)) = find(shed, "throttle_floor")
        && *floor < 0.01
    {
        errors.span(span, "`floor` is at least 0.01, or nobody would see the other side recover");
    }
}

fn limits(shed: &Policy, errors: &mut Errors) {
    let bounds = [
        ("min_in_flight", count(shed, "min_in_flight")),
        ("initial_in_flight", count(shed, "initial_in_flight")),
    ];
    if let Some((Value::Flag(false), _)) = find(shed, "adaptive") {
        for (option, (_, span)) in bounds.into_iter().filter_map(|(option, bound)| Some((option, bound?))) {
            errors.span(
                span,
                format!("`{option}` has no effect with `adaptive = false`: the limit is `max_in_flight`"),
            );
        }
        return;
    }
    let (least, most) = (count(shed, "min_in_flight"), count(shed, "max_in_flight"));
    let (min, max) =
        (least.map_or(MIN_IN_FLIGHT, |(min, _)| min), most.map_or(MAX_IN_FLIGHT, |(max, _)| max));
    if let (true, Some((_, span))) = (min > max, least.or(most)) {
        let message = match (least, most) {
            (Some(_), Some(_)) => "`min_in_flight` is above `max_in_flight`".to_owned(),
            (Some(_), None) => format!(
                "`min_in_flight` is above `max_in_flight`, which is {MAX_IN_FLIGHT} unless you give it"
            ),
            _ => format!(
                "`max_in_flight` is below `min_in_flight`, which is {MIN_IN_FLIGHT} unless you give it: add `min_in_flight = {max}`, \
                 or `adaptive = false`"
            ),
        };
        errors.span(span, message);
    }
}

/// Each class may fill at least as much as the one below it.
fn shares(shed: &Policy, errors: &mut Errors) {
    let share = |(field, name, default): (&str, &'static str, f64)| match find(shed, field) {
        Some((Value::Ratio(share), span)) => (name, *share, Some(span)),
        _ => (name, default, None),
    };
    let [low, normal, high] = SHARES.map(share);
    for ((lower, less, lower_span), (upper, more, upper_span)) in [(low, normal), (normal, high)] {
        if let (true, Some(span)) = (less > more, upper_span.or(lower_span)) {
            errors.span(span, format!("`{upper}` calls may fill {more} of the limit, and `{lower}` ones {less}: a higher class gets at least as much"));
        }
    }
}
