//! A payment service that takes orders over HTTP and charges a gateway over TCP, with its dashboard, and a gateway that
//! can be made to fail while it runs.
//!
//!     cargo run --release --example payments [-- --scenario]

mod api;
mod client;
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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payments: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::from_args(std::env::args().skip(1))?;
    if let Some(path) = &options.records {
        registry().idempotency("orders").set_store(Arc::new(DurableStore::open(path)?));
    }
    let gateway = Arc::new(Gateway::default());
    let gateway_listener = listen(options.gateway_port, "--gateway-port").await?;
    let gateway_address = gateway_listener.local_addr()?;
    tokio::spawn(gateway::serve(gateway_listener, Arc::clone(&gateway)));
    // Not part of readiness: without its gateway the service still takes orders.
    registry().health("gateway").probe(move || async move { client::ping(gateway_address).await.map(drop) });

    let (admin, token) = admin(&options)?;
    let service = Arc::new(Service::new(gateway_address));
    let routes =
        Router::new().merge(api::routes(service, gateway.clone())?).merge(admin.router()).fallback(nothing);
    // Once all components are there, so that a setting for none of them is a slip.
    let _followed = ConfigFile::new(&options.config).watch(registry())?;
    if let Err(problems) = registry().validate() {
        eprintln!("settings to look at:\n{problems}");
    }
    let listener = listen(options.port, "--port").await?;
    let address = listener.local_addr()?;
    introduce(address, gateway_address, &token, &options.config);
    tokio::spawn(load::run(address, options.load));
    if options.scenario {
        tokio::spawn(load::scenario(Arc::clone(&gateway)));
    }
    HttpServer::new(routes).run(listener, interrupted()).await;
    println!("\n{}", resilient_runtime::stats());
    Ok(())
}

fn admin(options: &Options) -> Result<(Admin, String), Box<dyn Error>> {
    let admin =
        api::paths().into_iter().fold(Admin::new(registry()), |admin, (path, item)| admin.path(path, item));
    match &options.token {
        Some(token) => Ok((admin.token(token)?, token.clone())),
        None => Ok(admin.random_token()?),
    }
}

async fn nothing() -> Problem {
    let what = "there is nothing here; see the program's output for the paths";
    Problem::new(axum::http::StatusCode::NOT_FOUND, what)
}

async fn interrupted() {
    // Without the signal the program just runs on.
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
    println!("\nLook at it:       http://{service}/dashboard");
    println!("To change things: {token}");
    println!("To set things:    {}, in force within a second", config.display());
    println!("\nCharge an order; the same one again is not charged twice:");
    println!("  curl -sX POST {api}/protected-endpoint \\");
    println!("    -H 'content-type: application/json' -d '{{\"order_id\": \"a-1\", \"cents\": 995}}'");
    println!("  curl -s {api}/simple-protected");
    println!("\nMake the gateway fail, hang, reset or dawdle, and well again:");
    for faults in
        ["{\"error_rate\": 1}", "{\"hang_rate\": 1}", "{\"reset_rate\": 0.5}", "{\"latency_ms\": 300}"]
    {
        println!(
            "  curl -sX PUT http://{service}/gateway/faults -H 'content-type: application/json' -d '{faults}'"
        );
    }
    println!("  curl -sX DELETE http://{service}/gateway/faults");
    println!("\nAsk, and steer:");
    println!("  curl -s {api}/stats/circuit_breaker/payment");
    println!("  curl -s {api}/health");
    println!("  curl -s {api}/health/deep");
    println!("  curl -s {api}/metrics");
    println!("  curl -sX POST {api}/reset/circuit_breaker/payment -H 'authorization: Bearer {token}'");
    println!("\nCtrl-C ends it.");
}
