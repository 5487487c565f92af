//! One instance of the service. Its state that matters to the other instances is in the store `shared`.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use resilient_http::{Admin, HttpServer, Problem};
use resilient_runtime::config::ConfigFile;
use resilient_runtime::{Class, Classify, Rejection, registry, replayed, resilient};
use tokio::net::TcpListener;

use crate::http;
use crate::options::Instance;

/// The settings of all instances. The URL of Redis is in the environment.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fleet/fleet.toml");

#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error("cannot reach the gateway: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the gateway returned {0}")]
    Refused(StatusCode),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Classify for ServiceError {
    fn classify(&self) -> Class {
        match self {
            Self::Connection(error) => error.classify(),
            Self::Refused(status) => status.classify(),
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

/// 100 quotes per second, over all instances.
#[resilient(rate_limit("quotes", rate = "100/s", burst = 20, store = "shared", mode = exact))]
async fn quote() -> Result<&'static str, ServiceError> {
    Ok("1.07")
}

/// Charges an order once, however often and at whichever instance it is sent.
#[resilient(idempotent("orders", key = order, lease = "3s", max_wait = "10s", store = "shared", fingerprint = none))]
async fn charge(gateway: SocketAddr, order: &str) -> Result<String, ServiceError> {
    ask(gateway, &format!("/charge/{order}")).await
}

/// If two of three instances cannot reach the stock, the circuit is open in all of them.
#[resilient(
    circuit_breaker("stock", failure_threshold = 3, open_for = "2s", store = "shared", coordinate = enforce, quorum = 2)
)]
async fn stock(gateway: SocketAddr, instance: u16) -> Result<String, ServiceError> {
    ask(gateway, &format!("/stock/{instance}")).await
}

async fn ask(gateway: SocketAddr, path: &str) -> Result<String, ServiceError> {
    let response = http::send("POST", gateway, path).await?;
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    if status.is_success() { Ok(response.body) } else { Err(ServiceError::Refused(status)) }
}

/// Runs the instance until it is killed.
pub(crate) async fn run(settings: Instance) -> Result<(), Box<dyn Error>> {
    resilient_redis::register(registry());
    let _followed = ConfigFile::new(SETTINGS).watch(registry())?;
    if let Err(problems) = registry().validate() {
        eprintln!("problems in the settings:\n{problems}");
    }
    let admin = Admin::new(registry()).environment("fleet").token(&settings.token)?;
    let routes = Router::new()
        .route("/quotes", get(async || answer(quote().await.map(str::to_owned))))
        .route("/orders/{order}", post(order))
        .route(
            "/stock",
            get(async |State(settings): State<Instance>| {
                answer(stock(settings.gateway, settings.number).await)
            }),
        )
        .with_state(settings.clone())
        .merge(admin.router());
    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    HttpServer::new(routes).run(listener, std::future::pending::<()>()).await;
    Ok(())
}

async fn order(State(settings): State<Instance>, Path(order): Path<String>) -> Response {
    let charged = charge(settings.gateway, &order).await;
    let mark = if replayed() { " (stored result)" } else { "" };
    answer(charged.map(|receipt| format!("{receipt}{mark}")))
}

fn answer(outcome: Result<String, ServiceError>) -> Response {
    match outcome {
        Ok(text) => text.into_response(),
        Err(error) => Problem::of(&error, StatusCode::BAD_GATEWAY).into_response(),
    }
}
