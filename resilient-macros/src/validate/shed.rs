//! Checks the settings of a load shedder.

use resilient_options::{Setting as Row, Value as Default, load_shed};

use super::settings::{count, find, usual};
use crate::args::{Policy, Value};
use crate::diag::Errors;

pub(super) fn contradictions(shed: &Policy, errors: &mut Errors) {
    limits(shed, errors);
    shares(shed, errors);
}

/// The default of `max_in_flight` for an adaptive limit.
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
            (Some(_), Some(_)) => "`min_in_flight` is greater than `max_in_flight`".to_owned(),
            (Some(_), None) => {
                format!("`min_in_flight` is greater than `max_in_flight`, which defaults to {MAX_IN_FLIGHT}")
            }
            _ => format!(
                "`max_in_flight` is less than `min_in_flight`, which defaults to {usual_min}; add `min_in_flight = {max}`, or \
                 `adaptive = false`"
            ),
        };
        errors.span(span, message);
    }
}

/// Checks that each priority can use at least as much of the limit as the one below it.
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
            errors.span(span, format!("`{lower} = {less}` is greater than `{upper} = {more}`; a higher priority must have at least as large a share of the limit"));
        }
    }
}
