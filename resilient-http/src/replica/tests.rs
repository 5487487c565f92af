use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, put};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use resilient_replica::resolve::{Actor, HybridClock};
use resilient_replica::{Level, MemoryReplica, Mode, ReplicaSet};
use resilient_runtime::Registry;
use tower::ServiceExt as _;

use super::ReplicaSession;
use crate::Problem;
use crate::layer::DegradedLayer;

type Names = ReplicaSet<String>;

/// A service with a set of three members. Only the members in `reached` exist.
fn service(mode: Mode, reached: &[&str]) -> Router {
    async fn read(
        State(names): State<Names>,
        ReplicaSession(mut session): ReplicaSession,
    ) -> Result<(ReplicaSession, String), Problem> {
        let read = names.at(Level::One).read_in(&mut session, "user 7").await?;
        Ok((ReplicaSession(session), read.value.unwrap_or_default()))
    }
    async fn read_all(State(names): State<Names>) -> Result<String, Problem> {
        Ok(names.read("user 7").await?.value.unwrap_or_default())
    }
    async fn write(
        State(names): State<Names>,
        ReplicaSession(mut session): ReplicaSession,
        name: String,
    ) -> Result<(ReplicaSession, ()), Problem> {
        names.write_in(&mut session, "user 7", &name).await?;
        Ok((ReplicaSession(session), ()))
    }
    let registry = Registry::new();
    for name in reached {
        registry.use_store(name, MemoryReplica::new());
    }
    let names = Names::builder("names", HybridClock::new(Actor::named("orders-0"))).mode(mode);
    let names = names.member("a").member("b").member("c").build(&registry).unwrap();
    let app = Router::new().route("/", put(write).get(read)).route("/all", get(read_all));
    app.layer(DegradedLayer).with_state(names)
}

async fn send(app: &Router, request: http::request::Builder, body: &str) -> (StatusCode, HeaderMap, String) {
    let response = app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (parts.status, parts.headers, text)
}

#[tokio::test]
async fn a_minority_refuses_with_503_and_names_no_member() {
    let app = service(Mode::Cp, &["a"]);
    let (status, headers, text) = send(&app, Request::get("/all"), "").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"application/problem+json".parse().unwrap())
    );
    assert!(
        text.contains("too few copies of the data can be reached to read it") && !text.contains("`b`"),
        "{text}"
    );
    let (status, _, text) = send(&app, Request::put("/"), "Ada").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("the change can still take effect"), "one member has it: {text}");
    // After some failures, the stores are degraded, and no request is sent to them.
    let app = service(Mode::Cp, &[]);
    for _ in 0..20 {
        let (status, _, text) = send(&app, Request::put("/"), "Ada").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        if text.contains("nothing was changed") {
            return;
        }
    }
    panic!("the stores are not degraded");
}

#[tokio::test]
async fn a_value_that_may_be_stale_marks_the_response() {
    let app = service(Mode::Ap, &["a", "b", "c"]);
    assert_eq!(send(&app, Request::put("/"), "Ada").await.0, StatusCode::OK);
    // One of them reads at `One`, which is a choice of the service and not a failure.
    for path in ["/all", "/"] {
        let (_, headers, text) = send(&app, Request::get(path), "").await;
        assert_eq!((&*text, headers.get("x-resilience-degraded")), ("Ada", None), "{path}");
    }

    let app = service(Mode::Ap, &["a"]);
    assert_eq!(send(&app, Request::put("/"), "Ada").await.0, StatusCode::OK);
    let (_, headers, text) = send(&app, Request::get("/all"), "").await;
    assert_eq!((&*text, &headers["x-resilience-degraded"]), ("Ada", &"true".parse().unwrap()));
    assert_eq!(headers["x-resilience-level"], "replica");
}

#[tokio::test]
async fn a_session_travels_in_a_header() {
    let app = service(Mode::Cp, &["a", "b", "c"]);
    let (status, headers, _) = send(&app, Request::put("/"), "Ada").await;
    let session = &headers["resilient-session"];
    assert_eq!(status, StatusCode::OK);
    let (_, headers, text) = send(&app, Request::get("/").header("Resilient-Session", session), "").await;
    assert!(text == "Ada" && headers.contains_key("resilient-session"));

    let (status, _, text) = send(&app, Request::get("/").header("Resilient-Session", "x y"), "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("is not the unchanged value of an earlier response"), "{text}");

    // A service that has lost what the session has seen.
    let empty = service(Mode::Cp, &["a", "b", "c"]);
    let (status, _, text) = send(&empty, Request::get("/").header("Resilient-Session", session), "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("has what this session has seen"), "{text}");
}
