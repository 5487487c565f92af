//! Starts an experiment, or plans it.

use std::time::Duration;

use axum::extract::{Json, OriginalUri, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use http::{StatusCode, header};
use resilient_chaos::report::{EntryKind, Journal};
use resilient_chaos::scenario::{Shipped, shipped};
use resilient_chaos::{Runner, Scenario, runner};
use serde_json::json;

use super::attended::lost;
use super::body::{Body, Fields, unknown, unprocessable};
use super::record::{Mode, Record};
use super::scenarios::duration;
use crate::Problem;
use crate::admin::App;

const FIELDS: [&str; 5] = ["scenario", "toml", "mode", "attended", "by"];
const MODES: [&str; 3] = ["run", "probes", "plan"];
/// How long the first entries of a journal may take.
const STARTS_WITHIN: Duration = Duration::from_secs(5);

/// The content of a request.
#[derive(Debug)]
struct Order {
    scenario: Scenario,
    /// `None` only plans it.
    mode: Option<Mode>,
    attended: bool,
    by: String,
}

impl Order {
    fn read(body: Body) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let (by, attended) = (fields.by(), fields.flag("attended").unwrap_or(false));
        let mode = match fields.text("mode").as_deref() {
            None | Some("run") => Some(Mode::Run),
            Some("probes") => Some(Mode::Probes),
            Some("plan") => None,
            Some(other) => {
                fields.problem(unknown("mode", other, &MODES));
                None
            }
        };
        let scenario = match (fields.text("scenario"), fields.text("toml")) {
            (Some(name), None) => by_name(&name, &mut fields),
            (None, Some(text)) => parsed(&text, &mut fields),
            (Some(_), Some(_)) => {
                fields.problem("`scenario` and `toml` exclude each other; send one of them");
                None
            }
            (None, None) => {
                fields.problem(
                    "no scenario: send `scenario` with a shipped name, or `toml` with the text of a scenario",
                );
                None
            }
        };
        fields.finish(&FIELDS)?;
        // Without a scenario there is a problem.
        let scenario = scenario.ok_or_else(|| unprocessable("the request is refused", Vec::new()))?;
        Ok(Self { scenario, mode, attended, by })
    }
}

fn by_name(name: &str, fields: &mut Fields) -> Option<Scenario> {
    let found = shipped(name);
    if found.is_none() {
        let known: Vec<_> = Shipped::all().iter().map(|shipped| shipped.name).collect();
        fields.problem(unknown("scenario", name, &known));
    }
    found.map(|shipped| shipped.scenario())
}

fn parsed(text: &str, fields: &mut Fields) -> Option<Scenario> {
    match Scenario::parse(text) {
        Ok(scenario) => Some(scenario),
        Err(error) => {
            error.to_string().lines().for_each(|problem| fields.problem(problem));
            None
        }
    }
}

/// `POST /chaos/experiments`
pub(super) async fn start(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    body: Body,
) -> Result<Response, Problem> {
    let Order { scenario, mode, attended, by } = Order::read(body)?;
    let mut runner = Runner::new(&app.registry, scenario.clone());
    if let Some(environment) = &app.chaos.environment {
        runner = runner.environment(environment);
    }
    let plan = runner.plan();
    let Some(mode) = mode else {
        let (text, problems) = (plan.to_string(), plan.problems());
        return Ok(
            Json(json!({ "plan": text, "problems": problems, "valid": problems.is_empty() })).into_response()
        );
    };
    if let Some(other) = runner::running(&app.registry) {
        return Err(conflict(other.name()));
    }
    if !plan.problems().is_empty() {
        return Err(unprocessable("the experiment is refused", plan.problems().to_vec()));
    }
    let journal = Journal::new();
    let expected = (mode == Mode::Run).then(|| duration(&scenario));
    let make = |id| Record::new(id, &scenario.name, &by, mode, expected, journal.clone());
    let record = app.chaos.add(make);
    tokio::spawn(supervise(runner.journal(&journal), mode, record.followers.subscribe(), attended, &app));
    // Before the wait, so that it is recorded even if the client disconnects.
    let (id, name) = (record.id, &scenario.name);
    app.registry.chaos().record_action(&format!("start experiment {id} ({name}), by {by}"));
    let refused = tokio::time::timeout(STARTS_WITHIN, refused(&journal)).await.unwrap_or_default();
    if !refused.is_empty() {
        app.chaos.forget(record.id);
        // Two requests at the same time.
        return Err(match runner::running(&app.registry) {
            Some(other) => conflict(other.name()),
            None => unprocessable("the experiment is refused", refused),
        });
    }
    let location = format!("{}/{id}", uri.path().trim_end_matches('/'));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(record.json())).into_response())
}

fn conflict(other: &str) -> Problem {
    let what = format!("the experiment `{other}` runs; wait until it ends, or stop it");
    Problem::new(StatusCode::CONFLICT, what).with("running", other)
}

/// Runs the experiment until it ends, its followers are gone, or the router is dropped.
fn supervise(
    runner: Runner,
    mode: Mode,
    followers: tokio::sync::watch::Receiver<usize>,
    attended: bool,
    app: &App,
) -> impl Future<Output = ()> + Send + use<> {
    let (dropped, registry) = (app.chaos.dropped(), app.registry.clone());
    let experiment = async move {
        match mode {
            Mode::Run => runner.run(std::future::pending()).await,
            Mode::Probes => runner.probes_only().await,
        }
    };
    let lost = async move { if attended { lost(followers).await } else { std::future::pending().await } };
    async move {
        let (experiment, dropped, lost) = (Box::pin(experiment), Box::pin(dropped), Box::pin(lost));
        let (reason, experiment) = match select(experiment, select(dropped, lost)).await {
            Either::Left(_) => return,
            Either::Right((Either::Left(_), experiment)) => {
                ("the admin API that started it was dropped".to_owned(), experiment)
            }
            Either::Right((Either::Right((reason, _)), experiment)) => (reason, experiment),
        };
        if let Some(running) = runner::running(&registry) {
            running.stop(&reason);
        }
        experiment.await;
    }
}

/// Waits for the start. Returns the reasons if it was refused.
async fn refused(journal: &Journal) -> Vec<String> {
    let mut count = 0;
    while count < 2 {
        let Some(entries) = journal.next(count).await else { break };
        count += entries.len();
    }
    let reasons = journal.entries_from(1).into_iter().take(1).map(|entry| match entry.what {
        EntryKind::Refused { reasons } => reasons,
        _ => Vec::new(),
    });
    reasons.flatten().collect()
}
