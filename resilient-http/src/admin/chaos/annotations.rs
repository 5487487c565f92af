//! Annotation data for Grafana: experiments, their faults, and faults armed by hand.

use std::collections::VecDeque;

use axum::extract::{Json, State};
use http::Uri;
use jiff::{SignedDuration, Timestamp};
use resilient_chaos::report::{EntryKind, Journal};
use resilient_runtime::chaos::{ArmedFault, FaultId};
use serde_json::{Value, json};

use super::body::{Parameters, unprocessable};
use super::record::Record;
use crate::Problem;
use crate::admin::App;

/// The largest number of faults armed by hand that are kept, and of annotations in a response.
const MOST: usize = 200;
/// The largest time in a query: the largest whole number in JavaScript.
pub(super) const LATEST: i64 = 9_007_199_254_740_991;

/// The faults armed by hand: those in force, and the latest that ended.
#[derive(Debug, Default)]
pub(super) struct ByHand(VecDeque<Seen>);

/// A fault armed by hand.
#[derive(Debug)]
struct Seen {
    id: FaultId,
    title: String,
    by: String,
    start: Timestamp,
    /// When its time to live is over.
    expires: Timestamp,
    end: Option<Timestamp>,
    injected: u64,
}

impl ByHand {
    /// Takes the faults that are in force now.
    pub(super) fn see(&mut self, in_force: &[ArmedFault]) {
        let now = Timestamp::now();
        let later = |span: std::time::Duration| {
            SignedDuration::try_from(span).ok().and_then(|span| now.checked_add(span).ok()).unwrap_or(now)
        };
        for seen in self.0.iter_mut().filter(|seen| seen.end.is_none()) {
            match in_force.iter().find(|fault| fault.id == seen.id) {
                Some(fault) => (seen.expires, seen.injected) = (later(fault.expires_in), fault.injected),
                None => seen.end = Some(seen.expires.min(now)),
            }
        }
        // The faults of experiments and monkeys are in their journals.
        let is_by_hand =
            |fault: &&ArmedFault| !["experiment ", "monkey "].iter().any(|by| fault.by.starts_with(by));
        for fault in in_force.iter().filter(is_by_hand) {
            if self.0.iter().any(|seen| seen.id == fault.id) {
                continue;
            }
            let age = SignedDuration::try_from(fault.armed_for).unwrap_or_default();
            self.0.push_back(Seen {
                id: fault.id,
                title: format!("fault {}: {} on {}", fault.id, fault.action, fault.target),
                by: fault.by.clone(),
                start: now.checked_sub(age).unwrap_or(now),
                expires: later(fault.expires_in),
                end: None,
                injected: fault.injected,
            });
        }
        while self.0.len() > MOST {
            self.0.pop_front();
        }
    }
}

/// A period on a chart.
#[derive(Debug)]
struct Annotation {
    start: i64,
    end: i64,
    title: String,
    text: String,
    tags: Vec<String>,
}

/// `GET /chaos/annotations?from=<ms>&to=<ms>`
pub(super) async fn annotations(State(app): State<App>, uri: Uri) -> Result<Json<Value>, Problem> {
    let parameters = Parameters::of(&uri, &["from", "to"])?;
    let time = |name: &str, otherwise: i64| match parameters.get(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().ok().filter(|time| (0..=LATEST).contains(time)).ok_or_else(|| {
            let what = format!("`{name}` must be a time in milliseconds since 1970, such as 1700000000000");
            unprocessable("the query is refused", vec![what])
        }),
    };
    let (from, to) = (time("from", 0)?, time("to", LATEST)?);
    let now = Timestamp::now().as_millisecond();
    let in_force = app.registry.chaos().faults();
    let mut all = app.chaos.by_hand(|by_hand| {
        by_hand.see(&in_force);
        by_hand.0.iter().map(|seen| seen.annotation(now)).collect::<Vec<_>>()
    });
    for record in app.chaos.experiments(&app.registry) {
        all.push(of_experiment(&record, now));
        let tags = ["experiment-fault", &record.scenario];
        all.extend(steps(&record.journal, record.started, (&record.scenario, &record.by), &tags, now));
    }
    if let Some(monkey) = app.chaos.last_monkey() {
        let (name, by) = monkey.name_and_by();
        all.extend(steps(&monkey.journal, monkey.started(), (name, by), &["monkey", name], now));
    }
    all.retain(|one| one.end >= from && one.start <= to);
    all.sort_by_key(|one| std::cmp::Reverse(one.start));
    all.truncate(MOST);
    let json = |Annotation { start, end, title, text, tags }: Annotation| json!({ "time": start, "timeEnd": end, "title": title, "text": text, "tags": tags });
    Ok(Json(all.into_iter().map(json).collect()))
}

fn tags(more: &[&str]) -> Vec<String> {
    ["resilient", "chaos"].iter().chain(more).map(|&tag| tag.to_owned()).collect()
}

impl Seen {
    fn annotation(&self, now: i64) -> Annotation {
        let end = self.end.map_or(now, Timestamp::as_millisecond);
        let text = format!("armed by {}, hit {} attempts", self.by, self.injected);
        let (start, title) = (self.start.as_millisecond(), self.title.clone());
        Annotation { start, end, title, text, tags: tags(&["fault"]) }
    }
}

fn of_experiment(record: &Record, now: i64) -> Annotation {
    let start = record.started.as_millisecond();
    let outcome = record.outcome();
    let end = if outcome.is_some() { start.saturating_add(millis(record.lasted())) } else { now };
    let state = outcome.map_or("running", |outcome| outcome.as_str());
    let text = format!("{state}, started by {}", record.by);
    let title = format!("experiment {}", record.scenario);
    Annotation { start, end, title, text, tags: tags(&["experiment", &record.scenario, state]) }
}

#[allow(clippy::cast_possible_truncation)] // saturates
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

/// Returns the faults that a journal records.
fn steps(
    journal: &Journal,
    started: Timestamp,
    (name, by): (&str, &str),
    more: &[&str],
    now: i64,
) -> Vec<Annotation> {
    let mut found: Vec<(Annotation, String, bool)> = Vec::new();
    for entry in journal.entries() {
        let EntryKind::Step { step, runs, injected } = entry.what else { continue };
        let at = started.as_millisecond().saturating_add(millis(entry.seconds));
        if runs {
            let (title, text) = (format!("{name}: {step}"), format!("injected for {by}"));
            found.push((Annotation { start: at, end: now, title, text, tags: tags(more) }, step, true));
        } else if let Some((one, _, open)) =
            found.iter_mut().rfind(|(_, known, open)| *known == step && *open)
        {
            one.end = at;
            *open = false;
            if let Some(injected) = injected {
                one.text = format!("{}, hit {injected} attempts", one.text);
            }
        }
    }
    found.into_iter().map(|(one, ..)| one).collect()
}
