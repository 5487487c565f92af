//! What of a load shedder's settings cannot be.

use resilient_options::{Setting as Row, Value as Default, load_shed};

use super::settings::{count, find, usual};
use crate::args::{Policy, Value};
use crate::diag::Errors;

pub(super) fn contradictions(shed: &Policy, errors: &mut Errors) {
    limits(shed, errors);
    shares(shed, errors);
}

/// The highest limit where nothing is said and one is found.
const MAX_IN_FLIGHT: u64 = 1000;

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
    let usual_min = usual(&load_shed::TABLE, "min_in_flight");
    let (least, most) = (count(shed, "min_in_flight"), count(shed, "max_in_flight"));
    let (min, max) = (least.map_or(usual_min, |(min, _)| min), most.map_or(MAX_IN_FLIGHT, |(max, _)| max));
    if let (true, Some((_, span))) = (min > max, least.or(most)) {
        let message = match (least, most) {
            (Some(_), Some(_)) => "`min_in_flight` is above `max_in_flight`".to_owned(),
            (Some(_), None) => format!(
                "`min_in_flight` is above `max_in_flight`, which is {MAX_IN_FLIGHT} unless you give it"
            ),
            _ => format!(
                "`max_in_flight` is below `min_in_flight`, which is {usual_min} unless you give it: add `min_in_flight = {max}`, \
                 or `adaptive = false`"
            ),
        };
        errors.span(span, message);
    }
}

/// Each class may fill at least as much as the one below it.
fn shares(shed: &Policy, errors: &mut Errors) {
    const ROWS: [&Row; 3] = [
        load_shed::TABLE.row("share_low"),
        load_shed::TABLE.row("share_normal"),
        load_shed::TABLE.row("share_high"),
    ];
    let share = |row: &'static Row| match (find(shed, row.field), row.default) {
        (Some((Value::Ratio(share), span)), _) => (row.option, *share, Some(span)),
        (_, Default::Ratio(share)) => (row.option, share, None),
        _ => (row.option, 1.0, None),
    };
    let [low, normal, high] = ROWS.map(share);
    for ((lower, less, lower_span), (upper, more, upper_span)) in [(low, normal), (normal, high)] {
        if let (true, Some(span)) = (less > more, upper_span.or(lower_span)) {
            errors.span(span, format!("`{upper}` calls may fill {more} of the limit, and `{lower}` ones {less}: a higher class gets at least as much"));
        }
    }
}
