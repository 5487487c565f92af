//! Payment service with a dashboard, and a gateway in which faults can be injected at run time.
//!
//! The service accepts orders over HTTP and charges them at the gateway over TCP.
//!
//!     cargo run --example payments [-- --scenario]
//!
//! A game day of six chaos experiments, with a report at the end:
//!
//!     cargo run --release --example payments -- --gameday

mod api;
mod client;
mod gameday;
mod gateway;
mod load;
mod options;
mod service;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use resilient_http::{Admin, HttpServer, Problem};
use resilient_runtime::config::ConfigFile;
use resilient_runtime::idempotency::DurableStore;
use resilient_runtime::registry;
use tokio::net::TcpListener;

use gateway::Gateway;
use options::Options;
use service::Service;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("payments: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let Some(options) = Options::from_args(std::env::args().skip(1))? else {
        println!("{}", options::HELP);
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(path) = &options.records {
        registry().idempotency("orders").set_store(Arc::new(DurableStore::open(path)?));
    }
    let gateway = Arc::new(Gateway::default());
    let gateway_listener = listen(options.gateway_port, "--gateway-port").await?;
    let gateway_address = gateway_listener.local_addr()?;
    tokio::spawn(gateway::serve(gateway_listener, Arc::clone(&gateway)));
    // The settings file makes this a deep check: the service accepts orders even if the gateway is down.
    registry().health("gateway").probe(move || async move { client::ping(gateway_address).await.map(drop) });

    let (admin, token) = admin(&options)?;
    let service = Arc::new(Service::new(gateway_address));
    let routes =
        Router::new().merge(api::routes(service, gateway.clone())?).merge(admin.router()).fallback(nothing);
    // After all components are created, so that settings for an unknown component are reported as mistakes.
    let _followed = ConfigFile::new(&options.config).watch(registry())?;
    if let Err(problems) = registry().validate() {
        eprintln!("problems in the settings:\n{problems}");
    }
    let listener = listen(options.port, "--port").await?;
    let address = listener.local_addr()?;
    tokio::spawn(load::run(address, options.load));
    if let Some(day) = &options.game_day {
        return gameday::play(day, &options.environment, routes, listener, &token).await;
    }
    introduce(address, gateway_address, &token, &options.config);
    if options.scenario {
        tokio::spawn(load::scenario(Arc::clone(&gateway)));
    }
    HttpServer::new(routes).run(listener, interrupted()).await;
    println!("\n{}", resilient_runtime::stats());
    Ok(ExitCode::SUCCESS)
}

fn admin(options: &Options) -> Result<(Admin, String), Box<dyn Error>> {
    let admin = Admin::new(registry()).environment(&options.environment);
    let admin = api::paths().into_iter().fold(admin, |admin, (path, item)| admin.path(path, item));
    match &options.token {
        Some(token) => Ok((admin.token(token)?, token.clone())),
        None => Ok(admin.random_token()?),
    }
}

async fn nothing() -> Problem {
    let what = "no such path; the output of the program lists the paths";
    Problem::new(axum::http::StatusCode::NOT_FOUND, what)
}

/// Completes on Ctrl-C.
async fn interrupted() {
    // If the signal handler cannot be installed, the program runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn listen(port: u16, option: &str) -> Result<TcpListener, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another port with `{option} N`")
    })
}

fn introduce(service: SocketAddr, gateway: SocketAddr, token: &str, config: &Path) {
    let api = format!("http://{service}/api/resilience");
    println!("service http://{service}");
    println!("gateway tcp://{gateway}");
    println!("\nDashboard:     http://{service}/dashboard");
    println!("Admin token:   {token}");
    println!("Settings file: {} (changes take effect within a second)", config.display());
    println!("\nCharge an order (repeating the request does not charge it twice):");
    println!("  curl -sX POST {api}/protected-endpoint \\");
    println!("    -H 'content-type: application/json' -d '{{\"order_id\": \"a-1\", \"cents\": 995}}'");
    println!("  curl -s {api}/simple-protected");
    println!("\nMake the gateway fail, hang, reset connections or respond slowly, then end the faults:");
    for faults in
        ["{\"error_rate\": 1}", "{\"hang_rate\": 1}", "{\"reset_rate\": 0.5}", "{\"latency_ms\": 300}"]
    {
        println!(
            "  curl -sX PUT http://{service}/gateway/faults -H 'content-type: application/json' -d '{faults}'"
        );
    }
    println!("  curl -sX DELETE http://{service}/gateway/faults");
    println!("\nInspect and control components:");
    println!("  curl -s {api}/stats/circuit_breaker/payment");
    println!("  curl -s {api}/health");
    println!("  curl -s {api}/health/deep");
    println!("  curl -s {api}/metrics");
    println!("  curl -sX POST {api}/reset/circuit_breaker/payment -H 'authorization: Bearer {token}'");
    println!("\nPress Ctrl-C to stop.");
}
