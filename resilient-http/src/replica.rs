//! Replica sets in HTTP services: errors as problems, and sessions in a header.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponseParts, ResponseParts};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use resilient_replica::{ReplicaError, Session};
use resilient_runtime::{Class, Classify};

use crate::Problem;

const SESSION: HeaderName = HeaderName::from_static("resilient-session");

/// | problem | status |
/// |---|---|
/// | too few members, or none that has what the session has seen; other writes came first each time | 503 |
/// | a wrong clock, values of another type, a value that cannot be stored | 500 |
///
/// The names and errors of members are not sent to the client.
///
/// ```
/// use http::StatusCode;
/// use resilient_http::Problem;
/// use resilient_replica::{ReplicaError, Problem as Reason};
///
/// let (needed, reached, members, causes) = (2, 1, 3, vec!["`eu-2`: connection refused".to_owned()]);
/// let reason = Reason::ReadRefused { needed, reached, members, causes };
/// let problem = Problem::from(ReplicaError { set: "profiles".into(), problem: reason });
/// assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
/// ```
impl From<&ReplicaError> for Problem {
    fn from(error: &ReplicaError) -> Self {
        use resilient_replica::Problem as Reason;
        let unavailable = |text: &str| Self::new(StatusCode::SERVICE_UNAVAILABLE, text);
        let problem = match &error.problem {
            Reason::ReadRefused { .. } => unavailable("too few copies of the data can be reached to read it"),
            Reason::BehindSession { .. } => {
                unavailable("no copy of the data that can be reached has what this session has seen")
            }
            Reason::WriteRefused { can_take_effect: false, .. } => {
                unavailable("too few copies of the data can be reached to change it; nothing was changed")
            }
            Reason::WriteRefused { .. } => unavailable(
                "too few copies of the data can be reached to change it; the change can still take effect",
            ),
            Reason::Contended { .. } => {
                unavailable("the data was changed by others each time; the change can still take effect")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the copies of the data cannot be used"),
        };
        let problem = problem.with("replica_set", &*error.set);
        match error.classify() {
            Class::Uncertain { .. } | Class::Unknown { .. } => problem,
            _ => problem.unexecuted(),
        }
    }
}

impl From<ReplicaError> for Problem {
    fn from(error: ReplicaError) -> Self {
        Self::from(&error)
    }
}

/// The session of a client: an extractor that reads the header `Resilient-Session`, and a part of a response that sets it.
///
/// A request without the header starts a new session. A text that is no session gets status 400.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, extract::State, http::Request, routing::put};
/// use resilient_http::{Problem, ReplicaSession};
/// use resilient_replica::{MemoryReplica, ReplicaSet, resolve::{Actor, HybridClock}};
/// use resilient_runtime::Registry;
///
/// type Names = ReplicaSet<String>;
/// async fn name(
///     State(names): State<Names>,
///     ReplicaSession(mut session): ReplicaSession,
///     name: String,
/// ) -> Result<(ReplicaSession, ()), Problem> {
///     names.write_in(&mut session, "user 7", &name).await?;
///     Ok((ReplicaSession(session), ()))
/// }
///
/// let registry = Registry::new();
/// registry.use_store("near", MemoryReplica::new());
/// let clock = HybridClock::new(Actor::named("orders-0"));
/// let names = Names::builder("names", clock).member("near").build(&registry)?;
/// let app: Router = Router::new().route("/", put(name)).with_state(names);
/// let response = app.oneshot(Request::put("/").body(Body::from("Ada"))?).await?;
/// assert!(response.headers().contains_key("resilient-session"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaSession(pub Session);

impl<S: Send + Sync> FromRequestParts<S> for ReplicaSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(text) = parts.headers.get(SESSION) else { return Ok(Self::default()) };
        let session = text.to_str().ok().and_then(|text| text.parse().ok());
        let problem = || {
            let text = "the header `Resilient-Session` is not the unchanged value of an earlier response: leave it out, or send \
                        that value";
            Problem::new(StatusCode::BAD_REQUEST, text).unexecuted()
        };
        session.map(Self).ok_or_else(problem)
    }
}

impl IntoResponseParts for ReplicaSession {
    type Error = Problem;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Problem> {
        let text = HeaderValue::try_from(self.0.to_string())
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        response.headers_mut().insert(SESSION, text);
        Ok(response)
    }
}

#[cfg(test)]
mod tests;
