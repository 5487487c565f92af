//! The limit of each client of an HTTP server, shared by its instances.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use resilient_http::layer::RateLimitLayer;
use resilient_runtime::Component;
use tower::ServiceExt;

use crate::rate::{Instance, rate};
use crate::server::Server;

fn app(instance: &Instance) -> Router {
    let by = |parts: &http::request::Parts| parts.headers.get("x-api-key").cloned();
    let layer = RateLimitLayer::by(instance.limiter.clone(), by);
    Router::new().route("/", get(async || "ok")).layer(layer)
}

async fn ask(app: &Router, key: &str) -> StatusCode {
    let request = Request::get("/").header("x-api-key", key).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_client_has_one_limit_at_all_instances_and_the_server_works_without_redis() {
    let mut server = Server::start(&[]).await;
    let instances = [Instance::new(&server.url(), rate("2/h")), Instance::new(&server.url(), rate("2/h"))];
    let apps = instances.each_ref().map(app);
    assert_eq!(ask(&apps[0], "a").await, StatusCode::OK);
    assert_eq!(ask(&apps[1], "a").await, StatusCode::OK);
    assert_eq!(ask(&apps[0], "a").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&apps[1], "b").await, StatusCode::OK, "another client");
    server.kill();
    assert_eq!(ask(&apps[0], "c").await, StatusCode::OK, "a limiter in the process decides");
    assert!(instances[0].limiter.stats().shared.unwrap().degraded);
}
