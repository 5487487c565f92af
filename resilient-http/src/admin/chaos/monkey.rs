//! The chaos monkey.

use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{Json, State};
use axum::response::Response;
use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use resilient_chaos::Monkey;
use resilient_chaos::monkey::{self, Config};
use resilient_chaos::report::{EntryKind, Journal};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::attended::{Follower, lost};
use super::body::{Body, Fields, Parameters, unprocessable};
use super::journal::{Form, stream};
use crate::Problem;
use crate::admin::App;
use crate::admin::stream::HasToken;

const FIELDS: [&str; 3] = ["toml", "attended", "by"];
/// How long the first entry of the journal, and the end, may take.
const WITHIN: Duration = Duration::from_secs(1);

/// A monkey that the API knows.
#[derive(Debug)]
pub(super) struct MonkeyRecord {
    name: String,
    by: String,
    started: Timestamp,
    config: Option<Config>,
    pub(super) journal: Journal,
    /// The number of clients that follow the journal.
    followers: watch::Sender<usize>,
    seen: Mutex<Seen>,
}

/// The state after the entries that were read so far.
#[derive(Debug, Default)]
struct Seen {
    entries: usize,
    injected: Vec<String>,
    decision: Option<Value>,
}

impl MonkeyRecord {
    /// A monkey that this API did not start.
    pub(super) fn adopted(name: &str, by: &str, journal: Journal) -> Self {
        let (name, by, started) = (name.to_owned(), by.to_owned(), Timestamp::now());
        let (followers, _) = watch::channel(0);
        Self { name, by, started, config: None, journal, followers, seen: Mutex::default() }
    }

    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    pub(super) fn name_and_by(&self) -> (&str, &str) {
        (&self.name, &self.by)
    }

    /// Returns its state.
    pub(super) fn json(&self) -> Value {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for entry in self.journal.entries_from(seen.entries) {
            seen.entries += 1;
            match entry.what {
                EntryKind::Step { step, runs, .. } => {
                    seen.injected.retain(|known| *known != step);
                    if runs {
                        seen.injected.push(step);
                    }
                }
                EntryKind::Decision { fault, reason, local } => {
                    seen.decision = Some(json!({ "fault": fault, "reason": reason, "local": local }));
                }
                _ => {}
            }
        }
        let mut members = Map::from_iter([
            ("name".to_owned(), json!(self.name)),
            ("by".to_owned(), json!(self.by)),
            ("started".to_owned(), json!(self.started.to_string())),
            ("injected".to_owned(), json!(seen.injected)),
            ("last_decision".to_owned(), json!(seen.decision)),
        ]);
        if let Some(config) = &self.config {
            let faults: Vec<_> = config.faults.iter().map(|fault| &fault.id).collect();
            members.insert("owner".to_owned(), json!(config.owner));
            members.insert("budget_per_hour".to_owned(), json!(config.budget_per_hour));
            members.insert("faults".to_owned(), json!(faults));
        }
        Value::Object(members)
    }
}

fn none() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no monkey runs; start one with POST")
}

/// `GET /chaos/monkey`
pub(super) async fn state(State(app): State<App>) -> Result<Json<Value>, Problem> {
    app.chaos.monkey(&app.registry).map(|(record, _)| Json(record.json())).ok_or_else(none)
}

/// `POST /chaos/monkey`
pub(super) async fn start(State(app): State<App>, body: Body) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut fields = Fields::of(body)?;
    let (by, text) = (fields.by(), fields.text("toml"));
    let attended = fields.flag("attended").unwrap_or(false);
    let config = text.as_deref().map(Config::parse);
    match &config {
        Some(Ok(_)) => {}
        Some(Err(error)) => error.to_string().lines().for_each(|problem| fields.problem(problem)),
        None => fields.problem("`toml` is missing: the text of the settings of a monkey"),
    }
    fields.finish(&FIELDS)?;
    // Otherwise there is a problem.
    let Some(Ok(config)) = config else { return Err(none()) };
    if let Some(other) = monkey::running(&app.registry) {
        return Err(conflict(other.name()));
    }
    let journal = Journal::new();
    let mut runner = Monkey::new(&app.registry, config.clone()).journal(&journal);
    if let Some(environment) = &app.chaos.environment {
        runner = runner.environment(environment);
    }
    let problems = runner.problems();
    if !problems.is_empty() {
        return Err(unprocessable("the monkey is refused", problems));
    }
    let adopted = MonkeyRecord::adopted(&config.name, &by, journal.clone());
    let record = MonkeyRecord { config: Some(config), ..adopted };
    let (dropped, registry, followers) =
        (app.chaos.dropped(), app.registry.clone(), record.followers.subscribe());
    let unattended = async move {
        if attended {
            let reason = lost(followers).await;
            monkey::running(&registry).iter().for_each(|running| running.stop(&reason));
        }
        std::future::pending::<()>().await;
    };
    let stop = async move { drop(select(Box::pin(dropped), Box::pin(unattended)).await) };
    let mut task = tokio::spawn(runner.run(stop));
    // Before the wait, so that it is recorded even if the client disconnects.
    app.registry.chaos().record_action(&format!("start monkey {}, by {by}", record.name));
    let first = Box::pin(tokio::time::timeout(WITHIN, journal.next(0)));
    // A monkey that ends at once was refused, because another one was started at the same time.
    if let Either::Right((ended, _)) = select(first, &mut task).await {
        let reason = ended.ok().and_then(Result::err).unwrap_or_else(|| "it ended at once".to_owned());
        return Err(Problem::new(StatusCode::CONFLICT, format!("the monkey does not run: {reason}")));
    }
    let record = app.chaos.set_monkey(record);
    Ok((StatusCode::ACCEPTED, Json(record.json())))
}

fn conflict(other: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("the monkey `{other}` runs; stop it first"))
        .with("running", other)
}

/// `DELETE /chaos/monkey`
pub(super) async fn stop(State(app): State<App>, uri: Uri) -> Result<Json<Value>, Problem> {
    let by = Parameters::of(&uri, &["by"])?.by()?;
    let (record, running) = app.chaos.monkey(&app.registry).ok_or_else(none)?;
    running.stop(&format!("stopped by {by}"));
    let ended = async { while record.journal.next(usize::MAX).await.is_some() {} };
    if tokio::time::timeout(WITHIN, ended).await.is_err() {
        let what = "the monkey has not answered within 1 s; send the request again, or end everything with `/chaos/stop`";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what));
    }
    app.registry.chaos().record_action(&format!("stop monkey {}, by {by}", record.name));
    Ok(Json(record.json()))
}

/// `GET /chaos/monkey/journal`
pub(super) async fn journal(
    State(app): State<App>,
    token: HasToken,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let running = app.chaos.monkey(&app.registry).map(|(record, _)| record);
    let record = running.or_else(|| app.chaos.last_monkey()).ok_or_else(none)?;
    let slot = app.viewers.slot(token.is_some())?;
    let held = (Follower::new(&record.followers), slot);
    Ok(stream(record.journal.clone(), Form::accepted(&headers), held, move || record.json()))
}
