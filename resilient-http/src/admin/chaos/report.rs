//! Reports of experiments that ended.

use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use resilient_chaos::Report;
use serde_json::json;

use super::body::{Parameters, unknown, unprocessable};
use super::experiments::{Id, find};
use crate::Problem;
use crate::admin::App;

const FORMATS: [&str; 3] = ["html", "markdown", "json"];
/// The page has a style of its own, and no script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; sandbox";

/// `GET /chaos/experiments/{id}/report`
pub(super) async fn report(State(app): State<App>, id: Id, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::of(&uri, &["format"])?;
    let record = find(&app, id)?;
    if record.outcome().is_none() {
        let what = format!("the experiment {} still runs; its report is made when it ends", record.id);
        return Err(Problem::new(StatusCode::CONFLICT, what));
    }
    let report = Report::of(record.journal.entries());
    match parameters.get("format").unwrap_or("html") {
        "html" => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
            ];
            Ok((headers, report.to_html()).into_response())
        }
        "markdown" => {
            let headers = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
            Ok((headers, report.to_markdown()).into_response())
        }
        "json" => {
            let mut all = record.json();
            all["began"] = json!(report.began);
            all["checks"] = json!(report.checks);
            Ok(Json(all).into_response())
        }
        other => Err(unprocessable("the query is refused", vec![unknown("format", other, &FORMATS)])),
    }
}
