//! Runs the shipped scenarios against a model of `payments` in virtual time.

#![allow(clippy::disallowed_methods)] // The model runs on tokio and in its virtual time.

mod payments;

use std::time::Duration;

use payments::{Broken, Payments};
use resilient_chaos::report::{Outcome, Report};
use resilient_chaos::scenario::{Shipped, shipped};
use resilient_chaos::{GameDay, Runner, game_day};

fn runner(payments: &Payments, name: &str) -> Runner {
    let scenario = shipped(name).unwrap().scenario();
    Runner::new(&payments.registry, scenario)
        .environment("test")
        .started("2026-11-30 10:00:00 CET")
        // In virtual time, the machine decides how long an interval takes.
        .lease(Duration::from_mins(5))
}

async fn run(name: &str, broken: Broken) -> Report {
    let payments = Payments::start(40, broken);
    // Lets all operations be called once, so that they exist.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = runner(&payments, name).run(std::future::pending()).await;
    assert!(!payments.registry.chaos().is_armed(), "nothing stays injected");
    let most = payments.ledger.lock().unwrap().values().max().copied();
    assert_eq!(most, Some(1), "no order is charged twice");
    if let Some(folder) = std::env::var_os("REPORTS") {
        report.write(std::path::Path::new(&folder).join(format!("{broken:?}").to_lowercase())).unwrap();
    }
    report
}

/// Runs a scenario with all protections, and with one that is broken on purpose.
async fn holds_unless(name: &str, broken: Broken, reason: &str) {
    let report = run(name, Broken::Nothing).await;
    assert_eq!(report.outcome, Outcome::Held, "{}", report.to_markdown());
    let (passed, total) = report.score();
    assert!(passed == total && total > 5, "{passed} of {total}");
    let report = run(name, broken).await;
    assert_ne!(report.outcome, Outcome::Held, "{broken:?}: {}", report.to_markdown());
    assert!(report.reasons.iter().any(|text| text.contains(reason)), "{broken:?}: {}", report.to_markdown());
}

#[tokio::test(start_paused = true)]
async fn dependency_down_holds_with_a_breaker() {
    holds_unless("dependency-down", Broken::Breaker, "circuit `payment` is open within 5 s").await;
}

#[tokio::test(start_paused = true)]
async fn dependency_down_holds_with_a_fallback() {
    let report = run("dependency-down", Broken::Fallback).await;
    assert_eq!(report.outcome, Outcome::Deviated, "{}", report.to_markdown());
    assert!(report.reasons.iter().any(|text| text.contains("`order` sees an error")), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn dependency_slow_holds_with_timeouts() {
    holds_unless("dependency-slow", Broken::Timeout, "p95 latency of order").await;
}

#[tokio::test(start_paused = true)]
async fn errors_10_percent_holds_with_retries() {
    holds_unless("errors-10-percent", Broken::Retry, "degraded rate of charge is").await;
}

#[tokio::test(start_paused = true)]
async fn overload_holds_with_a_fallback() {
    holds_unless("overload", Broken::Fallback, "sees an error").await;
}

#[tokio::test(start_paused = true)]
async fn store_lost_holds_with_a_fallback() {
    holds_unless("store-lost", Broken::Fallback, "`order` sees an error").await;
}

#[tokio::test(start_paused = true)]
async fn retry_storm_holds_with_a_breaker() {
    holds_unless("retry-storm", Broken::Breaker, "circuit `payment` is open within 8 s").await;
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_hits_the_same_calls() {
    // T141
    let hits = |report: &Report| {
        let line = report.to_markdown();
        line.lines().find(|line| line.starts_with("| errors |")).map(str::to_owned)
    };
    let (one, other) =
        (run("errors-10-percent", Broken::Nothing).await, run("errors-10-percent", Broken::Nothing).await);
    assert_eq!(hits(&one), hits(&other));
    assert!(hits(&one).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_game_day_of_all_scenarios_ends_with_one_report() {
    let payments = Payments::start(40, Broken::Nothing);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let folder = std::env::var_os("REPORTS").map_or_else(
        || std::env::temp_dir().join(format!("resilient-game-day-{}", std::process::id())),
        |folder| std::path::Path::new(&folder).join("game-day"),
    );
    let day = GameDay::of(
        "payments",
        "Game day of the payments team",
        "Ada",
        Shipped::all().iter().map(|each| each.name),
    )
    .unwrap();
    let runner = game_day::GameDayRunner::new(&payments.registry, day)
        .reports_in(&folder)
        .configure(|runner| runner.environment("test").lease(Duration::from_mins(5)));
    let start = tokio::time::Instant::now();
    let report = runner.play(&mut game_day::Unattended::quiet(), std::future::pending()).await.unwrap();
    assert_eq!((report.exit_code(), report.acts.len()), (0, 6), "{}", report.summary());
    assert!(start.elapsed() < Duration::from_mins(3), "{:?}", start.elapsed());
    for file in ["agenda.md", "payments.md", "payments.html", "03-errors-10-percent.jsonl"] {
        assert!(folder.join(file).exists(), "{file}");
    }
    let again = Report::read(folder.join("01-dependency-down.jsonl")).unwrap();
    assert_eq!(again.to_html(), report.acts[0].1.to_html(), "the journal contains the whole report");
    if std::env::var_os("REPORTS").is_none() {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
