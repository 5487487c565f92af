//! A payment service that takes orders over HTTP and charges a gateway over TCP, and a gateway that can be made
//! to fail while it runs.
//!
//!     cargo run --release --example payments [-- --port 3000 --gateway-port 3001]

mod api;
mod client;
mod gateway;
mod service;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;

use gateway::Gateway;
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
    let ports = Ports::from_args(std::env::args().skip(1))?;
    if let Err(problems) = resilient::registry().validate() {
        eprintln!("settings to look at:\n{problems}");
    }
    let gateway = Arc::new(Gateway::default());
    let gateway_listener = listen(ports.gateway, "--gateway-port").await?;
    let gateway_address = gateway_listener.local_addr()?;
    tokio::spawn(gateway::serve(gateway_listener, Arc::clone(&gateway)));

    let listener = listen(ports.service, "--port").await?;
    introduce(listener.local_addr()?, gateway_address);
    let service = Arc::new(Service::new(gateway_address));
    axum::serve(listener, api::routes(service, gateway)).with_graceful_shutdown(interrupted()).await?;
    println!("\n{}", resilient::stats());
    Ok(())
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

struct Ports {
    service: u16,
    gateway: u16,
}

impl Ports {
    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut ports = Self { service: 3000, gateway: 3001 };
        while let Some(option) = args.next() {
            let port = match option.as_str() {
                "--port" => &mut ports.service,
                "--gateway-port" => &mut ports.gateway,
                _ => {
                    return Err(format!("unknown option `{option}`; known: --port N, --gateway-port N"));
                }
            };
            let value = args.next().ok_or_else(|| format!("`{option}` needs a number"))?;
            *port = value
                .parse()
                .map_err(|_| format!("`{option} {value}`: a port is a number from 0 to 65535"))?;
        }
        Ok(ports)
    }
}

fn introduce(service: SocketAddr, gateway: SocketAddr) {
    println!("service http://{service}");
    println!("gateway tcp://{gateway}");
    println!("\nCharge an order:");
    println!("  curl -sX POST http://{service}/api/resilience/protected-endpoint \\");
    println!("    -H 'content-type: application/json' -d '{{\"order_id\": \"a-1\", \"cents\": 995}}'");
    println!("  curl -s http://{service}/api/resilience/simple-protected");
    println!("\nMake the gateway fail, hang, reset or dawdle; then charge a few orders:");
    for faults in
        ["{\"error_rate\": 1}", "{\"hang_rate\": 1}", "{\"reset_rate\": 0.5}", "{\"latency_ms\": 300}"]
    {
        println!(
            "  curl -sX PUT http://{service}/gateway/faults -H 'content-type: application/json' -d '{faults}'"
        );
    }
    println!("  curl -sX DELETE http://{service}/gateway/faults");
    println!("\nLook, and reset:");
    println!("  curl -s http://{service}/api/resilience/stats");
    println!("  curl -s http://{service}/api/resilience/stats/circuit_breaker/payment");
    println!("  curl -s http://{service}/api/resilience/health");
    println!("  curl -sX POST http://{service}/api/resilience/reset/circuit_breaker/payment");
    println!("\nCtrl-C ends it.");
}
