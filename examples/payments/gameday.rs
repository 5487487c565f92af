//! Plays a game day against the running service, under its own load.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use resilient_chaos::GameDay;
use resilient_chaos::game_day::{GameDayReport, GameDayRunner, Prompt, Terminal, Unattended};
use resilient_http::HttpServer;
use resilient_runtime::registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{interrupted, options};

/// The times of a quick game day are divided by this number. The times in `quick.toml` are, too.
const QUICK: f64 = 4.0;

/// Serves the routes while the game day is played, and returns the exit code of the program.
pub(crate) async fn play(
    options: &options::GameDay,
    environment: &str,
    routes: Router,
    listener: TcpListener,
    token: &str,
) -> Result<ExitCode, Box<dyn Error>> {
    let day = day(options)?;
    println!("Watch the dashboard: http://{}/dashboard (token {token})\n", listener.local_addr()?);
    let (ended, end) = oneshot::channel::<()>();
    let server = HttpServer::new(routes).run(listener, async {
        let _ = end.await;
    });
    let report = async {
        let report = run(options, environment, day).await;
        // The server stops.
        drop(ended);
        report
    };
    let ((), report) = tokio::join!(server, report);
    Ok(ExitCode::from(report?.exit_code()))
}

fn day(options: &options::GameDay) -> Result<GameDay, Box<dyn Error>> {
    let day = GameDay::parse(include_str!("gameday.toml"))?.only(options.only.iter().map(String::as_str))?;
    if !options.quick {
        return Ok(day);
    }
    let mut day = day.in_less_time(QUICK);
    let briefing = day.briefing.get_or_insert_default();
    briefing.push_str(" This is a quick run: all times are a quarter of the times in the hypotheses.");
    Ok(day)
}

async fn run(options: &options::GameDay, environment: &str, day: GameDay) -> std::io::Result<GameDayReport> {
    let mut prompt: Box<dyn Prompt> = if options.pauses.unwrap_or_else(|| std::io::stdin().is_terminal()) {
        Box::new(Terminal)
    } else {
        Box::new(Unattended::printing())
    };
    // On a busy machine, the runner can be late by more than the two intervals that are the default.
    let lease = Duration::from_secs(if options.quick { 10 } else { 1 });
    let environment = environment.to_owned();
    let runner = GameDayRunner::new(registry(), day)
        .reports_in(&options.reports)
        .configure(move |runner| runner.lease(lease).environment(&environment));
    let report = runner.play(&mut *prompt, interrupted()).await?;
    println!("\nReport: {}", options.reports.join(format!("{}.html", report.day.name)).display());
    Ok(report)
}
