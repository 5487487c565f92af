//! Places the steps on the time line, and checks them against the limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::read::{Read, Reader};
use super::{BlastRadius, Rate, Step};
use crate::faults;
use crate::text::{hint, matches, share, span};

pub(super) fn build(
    reader: &mut Reader<'_>,
    reads: &[Read],
    max_duration: Option<Duration>,
    limit: &BlastRadius,
) -> Option<Vec<Step>> {
    let starts = starts(reader, reads);
    let mut steps = Vec::new();
    for (read, start) in reads.iter().zip(starts) {
        let fault = fault(reader, read, limit);
        let rate = rate(reader, read, limit);
        if let (Some(fault), Some(rate)) = (&fault, rate) {
            let refused = faults::check_rate(fault, rate.least()).into_iter();
            refused.for_each(|what| reader.problem(&read.place_of("rate"), what));
        }
        let (Some(fault), Some(rate), Some(start)) = (fault, rate, start) else { continue };
        let (Some(id), Some(duration)) = (read.text("id"), read.span("for")) else { continue };
        if let Some(most) = max_duration
            && start.saturating_add(duration) > most
        {
            let end = span(start.saturating_add(duration));
            let what = format!(
                "step `{id}` ends after {end}, later than `max_duration` = {}; shorten the steps or raise `max_duration`",
                span(most)
            );
            reader.problem(&read.place_of("for"), what);
        }
        steps.push(Step { id, start, duration, fault, rate });
    }
    if steps.len() < reads.len() || steps.is_empty() {
        return None;
    }
    overlaps(reader, reads, &steps, limit);
    Some(steps)
}

/// Returns the start of each step, or nothing for a step with a problem.
fn starts(reader: &mut Reader<'_>, reads: &[Read]) -> Vec<Option<Duration>> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (index, read) in reads.iter().enumerate() {
        let Some(id) = read.text("id") else { continue };
        if known.insert(id.clone(), index).is_some() {
            reader.problem(&read.place_of("id"), format!("two steps have the id `{id}`: rename one of them"));
        }
    }
    let mut starts = vec![None; reads.len()];
    let mut is_valid = vec![true; reads.len()];
    for (index, read) in reads.iter().enumerate() {
        let after = read.text("after");
        if let Some(id) = after.as_ref().filter(|id| !known.contains_key(*id)) {
            let what = format!("there is no step `{id}`; {}", hint(id, known.keys().map(String::as_str)));
            reader.problem(&read.place_of("after"), what);
            is_valid[index] = false;
        }
        if after.is_some() && read.span("at").is_some() {
            reader.problem(
                &read.place_of("at"),
                "`at` and `after` contradict each other: remove one; `delay` adds a pause to `after`",
            );
            is_valid[index] = false;
        }
        if after.is_none() && read.span("delay").is_some() {
            reader.problem(
                &read.place_of("delay"),
                "`delay` needs `after`; use `at` for a time from the start",
            );
            is_valid[index] = false;
        }
        if after.is_none() {
            starts[index] = Some(read.span("at").unwrap_or_default());
        }
    }
    // Each round places the steps after those that were placed in the round before.
    for _ in 0..reads.len() {
        for (index, read) in reads.iter().enumerate().filter(|(index, _)| is_valid[*index]) {
            let Some(before) = read.text("after").and_then(|id| known.get(&id).copied()) else { continue };
            let Some(end) = starts[before].zip(reads[before].span("for")) else { continue };
            let pause = read.span("delay").unwrap_or_default();
            starts[index] = Some(end.0.saturating_add(end.1).saturating_add(pause));
        }
    }
    for (index, read) in reads.iter().enumerate() {
        let waits = read.text("after").filter(|_| starts[index].is_none() && is_valid[index]);
        if let Some(after) =
            waits.filter(|id| known.get(id).is_some_and(|before| reads[*before].span("for").is_some()))
        {
            let id = read.text("id").unwrap_or_default();
            let what = format!(
                "step `{id}` never starts: it waits for `{after}`, which waits for it; give one of them `at`"
            );
            reader.problem(&read.place_of("after"), what);
        }
    }
    starts
}

fn fault(reader: &mut Reader<'_>, read: &Read, limit: &BlastRadius) -> Option<serde_json::Value> {
    let fault = read.fault("fault")?;
    let place = read.place_of("fault");
    let problems = faults::check_of_step(&fault);
    let mut is_valid = problems.is_empty();
    problems.into_iter().for_each(|what| reader.problem(&place, what));
    let targets = faults::targets(&fault);
    let is_open = ["group", "component"].iter().any(|target| fault.get(*target).is_some());
    if targets.is_empty() && is_open && faults::is_of_calls(&fault) && !limit.exclude.is_empty() {
        let what = "the fault selects calls without `on`, so that `blast_radius.exclude` could not protect an operation: name the operations with `on`";
        reader.problem(&place, what);
        is_valid = false;
    }
    for target in targets {
        if let Some(pattern) = limit.exclude.iter().find(|pattern| matches(pattern, target)) {
            let what =
                format!("the fault targets `{target}`, which `blast_radius.exclude` protects by `{pattern}`");
            reader.problem(&place, what);
            is_valid = false;
        }
    }
    is_valid.then_some(fault)
}

fn rate(reader: &mut Reader<'_>, read: &Read, limit: &BlastRadius) -> Option<Rate> {
    let rate = match read.table("rate") {
        None => Rate::Fixed(read.number("rate")?),
        Some(ramp) => {
            let (from, to, over) = (ramp.number("from")?, ramp.number("to")?, ramp.span("over")?);
            if (from - to).abs() < f64::EPSILON {
                let what = format!("the ramp stays at {}: write `rate = {from}`", share(from));
                reader.problem(&ramp.place, what);
            }
            if let Some(duration) = read.span("for").filter(|duration| *duration < over) {
                let what = format!(
                    "the ramp takes {}, but the step ends after {}: shorten `over` or lengthen `for`",
                    span(over),
                    span(duration)
                );
                reader.problem(&ramp.place_of("over"), what);
            }
            Rate::Ramp { from, to, over }
        }
    };
    if rate.peak() <= 0.0 {
        reader.problem(&read.place_of("rate"), "`rate` = 0 hits no call; use a larger share");
    }
    if rate.peak() > limit.max_share + 1e-9 {
        let what = format!(
            "`rate` reaches {}, more than `blast_radius.max_percent` = {}; lower one or raise the other",
            share(rate.peak()),
            share(limit.max_share)
        );
        reader.problem(&read.place_of("rate"), what);
    }
    Some(rate)
}

/// Checks the sum of the rates of steps that run at the same time on one target.
fn overlaps(reader: &mut Reader<'_>, reads: &[Read], steps: &[Step], limit: &BlastRadius) {
    for (step, read) in steps.iter().zip(reads) {
        let others = steps.iter().filter(|other| {
            other.id != step.id
                && other.start <= step.start
                && other.end() > step.start
                && share_a_target(&other.targets(), &step.targets())
        });
        let others: Vec<_> = others.collect();
        let sum = step.rate.peak() + others.iter().map(|other| other.rate.peak()).sum::<f64>();
        // A sum above 1 hits each call at most once or twice, and is allowed without a limit.
        if !others.is_empty() && limit.max_share < 1.0 && sum > limit.max_share + 1e-9 {
            let names: Vec<_> = others.iter().map(|other| format!("`{}`", other.id)).collect();
            let what = format!(
                "step `{}` overlaps {} on the same target: together they hit {}, more than `blast_radius.max_percent` = {}",
                step.id,
                names.join(", "),
                share(sum),
                share(limit.max_share)
            );
            reader.problem(&read.place_of("rate"), what);
        }
    }
}

fn share_a_target(one: &[&str], other: &[&str]) -> bool {
    one.is_empty()
        || other.is_empty()
        || one.iter().any(|one| other.iter().any(|other| matches(one, other) || matches(other, one)))
}
