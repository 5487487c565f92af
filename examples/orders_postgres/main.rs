//! Payments in a `PostgreSQL` transaction. Their process is killed at every step, and no order is charged twice.
//!
//!     cargo run --example orders_postgres [-- --dashboard]

mod options;
mod payment;
mod report;
mod server;
mod worker;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use resilient_http::{Admin, HttpServer};
use resilient_postgres::{Config, PostgresStore};
use resilient_runtime::registry;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;

use options::{Options, Task};
use report::Report;
use server::Server;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("orders_postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    match Options::from_args(std::env::args().skip(1))? {
        Task::Help => println!("{}", options::HELP),
        Task::Work { url, first, orders } => {
            worker::work(&connect(&url).await?, first, orders).await?;
        }
        Task::Show(options) => return show(&options).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Kills workers and the server, then checks the payments.
async fn show(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let (mut server, url) = match &options.database {
        Some(url) => (None, url.clone()),
        None => {
            let server = Server::start().await?;
            let url = server.url();
            (Some(server), url)
        }
    };
    let pool = connect(&url).await?;
    payment::create_tables(&pool, options.orders).await?;
    let dashboard = serve_dashboard(options).await?;

    let mut report = Report::default();
    for kill in 0..options.kills {
        let step = worker::STEPS[kill % worker::STEPS.len()];
        let first = i32::try_from(kill)? * 7 % options.orders;
        let killed = worker::run_and_kill(&url, (first, options.orders), step).await?;
        report.add(killed)?;
        if let Some(server) = server.as_mut().filter(|_| (kill + 1) % worker::STEPS.len() == 0) {
            server.kill_and_restart().await?;
            report.server_kills += 1;
        }
    }
    // The rest, in this process. Orders that were paid are replayed.
    for order in 0..options.orders {
        report.paid(order, payment::pay_in_transaction(&pool, order, &|_| ()).await?)?;
    }
    let is_right = report.print(&pool, options.orders).await?;
    if let Some(dashboard) = dashboard {
        println!("\n{dashboard}\nPress Ctrl-C to stop.");
        tokio::signal::ctrl_c().await?;
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Connects, registers the store of the attribute, and creates its tables.
async fn connect(url: &str) -> Result<PgPool, Box<dyn Error>> {
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options);
    let store = PostgresStore::new(Config::of_pool(&pool).table("example_idempotency"))?;
    store.migrate().await?;
    registry().use_store("orders", store);
    Ok(pool)
}

/// Serves the dashboard of this process, if asked. Returns its address and the token.
async fn serve_dashboard(options: &Options) -> Result<Option<String>, Box<dyn Error>> {
    let Some(port) = options.dashboard else { return Ok(None) };
    let (admin, token) = Admin::new(registry()).random_token()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let text = format!("Dashboard:   http://{}/dashboard\nAdmin token: {token}", listener.local_addr()?);
    tokio::spawn(async move {
        HttpServer::new(admin.router()).run(listener, std::future::pending::<()>()).await;
    });
    Ok(Some(text))
}
