//! Explains what went wrong: no service, another program, a missing token, another version, or a rejected request.

use serde_json::Value;
use ureq::Error;
use ureq::http::Method;

use super::Api;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text;

const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Maximum number of columns of a text of the service in a message.
const SHOWN: usize = 300;
const NO_CHAOS: &str = "the service was built without fault injection (the feature `chaos`)";

impl Api {
    /// Explains why no response arrived.
    pub(super) fn unreachable(&self, error: &Error) -> Failure {
        let base = self.base();
        let timeout = self.connection.timeout;
        #[cfg(feature = "tls")]
        if let Some((why, hint)) = crate::tls::explain(error, &self.connection) {
            let failure = Failure::new(Exit::Unreachable, format!("no secure connection to {base}: {why}"));
            return hint.into_iter().fold(failure, Failure::hint);
        }
        let why = match error {
            Error::Timeout(_) => format!("no answer within {timeout:?}"),
            Error::HostNotFound => "the host name is unknown".into(),
            Error::Io(error) => io_text(error, timeout),
            Error::ConnectionFailed => "connection refused".into(),
            Error::BodyExceedsLimit(limit) => format!("the answer is larger than {limit} bytes"),
            Error::Protocol(_) => "the answer is not HTTP".into(),
            other => text::fitted(&other.to_string(), SHOWN),
        };
        let failure = match error {
            Error::Protocol(_) | Error::BodyExceedsLimit(_) => {
                let failure = self.foreign(&why);
                if self.connection.is_tls() || !matches!(error, Error::Protocol(_)) {
                    failure
                } else {
                    failure.hint("if the service uses TLS, write https:// instead of http://")
                }
            }
            _ => {
                Failure::new(Exit::Unreachable, format!("no service at {base}: {why}")).hint(self.which_url())
            }
        };
        if matches!(error, Error::Timeout(_)) {
            return failure.hint("wait longer with --timeout, such as --timeout 30s");
        }
        if self.connection.is_local() && matches!(error, Error::Io(_) | Error::ConnectionFailed) {
            return failure.hint("start the example with: cargo run --example payments");
        }
        failure
    }

    /// Explains a response that is not the expected one.
    pub(super) fn explain(
        &self,
        path: &str,
        status: u16,
        media: &str,
        body: &str,
        retry_after: Option<&str>,
    ) -> Failure {
        let problem: Option<Value> = if media.starts_with("application/problem+json") {
            serde_json::from_str(body).ok()
        } else {
            None
        };
        let Some(problem) = problem else { return self.no_problem(path, status, media) };
        Failure { status: Some(status), ..self.explain_problem(path, status, &problem, retry_after) }
    }

    fn explain_problem(
        &self,
        path: &str,
        status: u16,
        problem: &Value,
        retry_after: Option<&str>,
    ) -> Failure {
        let detail = text::fitted(problem["detail"].as_str().unwrap_or("no details"), SHOWN);
        match status {
            401 => self.denied(&detail),
            403 if detail.contains("no admin token") || detail.contains("none is set") => Failure::new(
                Exit::Denied,
                "the service has no admin token, and rejects all changes and reads from other machines",
            )
            .hint("set `Admin::token` in the service and restart it"),
            403 => Failure::new(Exit::Denied, detail),
            429 => {
                let wait = wait_text(retry_after);
                Failure::new(Exit::Denied, format!("locked out after too many wrong tokens{wait}: {detail}"))
                    .hint(self.which_token())
            }
            503 => Failure::new(
                Exit::Refused,
                format!("the service is busy{}: {detail}", wait_text(retry_after)),
            ),
            404 | 405 if is_without_chaos(path, problem) => {
                self.with_version(Failure::new(Exit::Refused, NO_CHAOS).hint(
                    "enable the feature `chaos` of `resilient-http` in its Cargo.toml, and build it again",
                ))
            }
            404 if path.starts_with("/chaos/") => Failure::new(Exit::Refused, detail),
            404 => self.not_found(problem, detail),
            405 => self.with_version(Failure::new(
                Exit::Unreachable,
                format!("the service does not support this request: {detail}"),
            )),
            400..500 => Failure::new(Exit::Refused, with_problems(detail, problem)),
            _ => Failure::new(
                Exit::Unreachable,
                format!("the service at {} failed with status {status}: {detail}", self.base()),
            ),
        }
    }

    /// Explains a response in which a value is missing.
    pub(crate) fn unexpected(&self, path: &str) -> Failure {
        self.with_version(Failure::new(
            Exit::Unreachable,
            format!("the answer to {path} has not the expected form"),
        ))
    }

    fn denied(&self, detail: &str) -> Failure {
        if !self.has_token() {
            return Failure::new(Exit::Denied, "the admin token is required")
                .hint("set RESILIENT_TOKEN, or pass --token-file FILE")
                .hint("the example payments prints its token at the start, and `--token` sets it");
        }
        Failure::new(Exit::Denied, format!("the service rejected the token: {detail}"))
            .hint(self.which_token())
    }

    fn not_found(&self, problem: &Value, detail: String) -> Failure {
        if let Some(near) = problem["did_you_mean"].as_array() {
            let failure = Failure::new(Exit::Refused, detail);
            // The first near name is already in the text.
            let near: Vec<_> = near
                .iter()
                .skip(1)
                .take(5)
                .filter_map(Value::as_str)
                .map(|name| format!("`{}`", text::fitted(name, 60)))
                .collect();
            return if near.is_empty() {
                failure
            } else {
                failure.hint(format!("other similar names: {}", near.join(", ")))
            };
        }
        match self.version() {
            Some(_) if detail.contains("unknown component kind") => {
                self.with_version(Failure::new(Exit::Refused, detail))
            }
            Some(_) => self.with_version(Failure::new(
                Exit::Unreachable,
                format!("the service has no such endpoint: {detail}"),
            )),
            None => self.foreign(&format!("status 404, {detail}")),
        }
    }

    fn no_problem(&self, path: &str, status: u16, media: &str) -> Failure {
        let media = if media.is_empty() { "no content type".into() } else { text::fitted(media, 60) };
        match status {
            200 if media.starts_with("application/json") => self.unexpected(path),
            401 | 403 => {
                let failure = Failure::new(
                    Exit::Denied,
                    format!("access denied at {}: status {status}, but not by the admin API", self.base()),
                );
                failure
                    .hint("a proxy in front of the service may need credentials of its own")
                    .hint(self.which_url())
            }
            300..=399 => self
                .foreign(&format!("status {status}, a redirect"))
                .hint("use the URL to which it redirects"),
            502..=504 => {
                let failure = Failure::new(
                    Exit::Unreachable,
                    format!("a proxy at {} does not reach the service: status {status}", self.base()),
                );
                failure.hint(self.which_url())
            }
            _ => self.foreign(&format!("status {status}, {media}")),
        }
    }

    /// Another program answered.
    fn foreign(&self, how: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("no admin API at {}: another program answers ({how})", self.base()),
        )
        .hint(self.which_url())
        .hint("if the service sets `Admin::prefix`, pass it with --prefix")
    }

    fn which_url(&self) -> String {
        format!("the URL is from {}; change it with --url or RESILIENT_URL", self.connection.url_from)
    }

    fn which_token(&self) -> String {
        if self.has_token() {
            format!("the token is from {}", self.connection.token_from)
        } else {
            "no token was sent".into()
        }
    }

    /// The version of Resilient in the service, if it is one.
    pub(crate) fn version(&self) -> Option<String> {
        let (status, _, text) = self.exchange(Method::GET, "/openapi.json", None).ok()?;
        let document: Value = serde_json::from_str(&text).ok().filter(|_| status == 200)?;
        let info = &document["info"];
        (info["title"] == "Resilient")
            .then(|| text::fitted(info["version"].as_str().unwrap_or("unknown"), 40))
    }

    fn with_version(&self, failure: Failure) -> Failure {
        match self.version() {
            Some(version) if version != OWN_VERSION => failure.hint(format!(
                "the service uses Resilient {version}, and this command is version {OWN_VERSION}: install the same version"
            )),
            _ => failure,
        }
    }
}

fn io_text(error: &std::io::Error, timeout: std::time::Duration) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".into(),
        Kind::TimedOut | Kind::WouldBlock => format!("no answer within {timeout:?}"),
        Kind::ConnectionReset | Kind::UnexpectedEof | Kind::ConnectionAborted => {
            "the connection was closed".into()
        }
        _ => text::fitted(&error.to_string(), SHOWN),
    }
}

/// Whether a service does not know the endpoints of fault injection. An older one takes `chaos` for a component kind.
fn is_without_chaos(path: &str, problem: &Value) -> bool {
    let detail = problem["detail"].as_str().unwrap_or_default();
    let says = |text| detail.contains(text);
    path.starts_with("/chaos")
        && (says("feature `chaos`") || says("no such endpoint") || says("unknown component kind"))
}

/// The problems of a request that has several, one line each. The detail then ends with all of them on one line.
fn with_problems(detail: String, problem: &Value) -> String {
    const MOST: usize = 50;
    let all = problem["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut problems = all.iter().filter_map(Value::as_str).filter(|problem| !problem.is_empty()).peekable();
    let Some(first) = problems.peek() else { return detail };
    let whole = problem["detail"].as_str().unwrap_or_default();
    let what = whole.find(first).and_then(|start| whole.get(..start)).unwrap_or(whole);
    let mut lines = vec![text::fitted(what.trim_end_matches([':', ' ']), SHOWN)];
    lines.extend(problems.take(MOST).map(|problem| text::fitted(problem, SHOWN)));
    lines.join("\n")
}

fn wait_text(retry_after: Option<&str>) -> String {
    match retry_after.and_then(|wait| wait.parse::<u64>().ok()) {
        Some(seconds) => format!(", try again in {seconds} s"),
        None => String::new(),
    }
}
