//! Runs the shipped scenarios against a model of `payments` in virtual time.

#![allow(clippy::disallowed_methods)] // The model runs on tokio and in its virtual time.

mod payments;

use std::time::Duration;

use payments::{Broken, Payments};
use resilient_chaos::report::{Outcome, Report};
use resilient_chaos::scenario::{OnDeviation, Scenario, Shipped, shipped};
use resilient_chaos::{GameDay, Runner, game_day};

fn runner(payments: &Payments, scenario: Scenario) -> Runner {
    Runner::new(&payments.registry, scenario)
        .environment("test")
        .started("2026-11-30 10:00:00 CET")
        // In virtual time, the machine decides how long an interval takes.
        .lease(Duration::from_mins(5))
}

async fn run(name: &str, broken: Broken) -> Report {
    run_scenario(shipped(name).unwrap().scenario(), broken).await
}

async fn run_scenario(scenario: Scenario, broken: Broken) -> Report {
    let payments = Payments::start(40, broken);
    // Lets all operations be called once, so that they exist.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = runner(&payments, scenario).run(std::future::pending()).await;
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
async fn overload_holds_with_a_short_wait_for_a_permit() {
    let report = run("overload", Broken::PatientBulkhead).await;
    assert_eq!(report.outcome, Outcome::Deviated, "{}", report.to_markdown());
}

// Each kind of expectation can fail: a hypothesis that cannot be wrong shows nothing.

/// Runs a scenario with a protection that is broken, and returns the check with this text in its name.
async fn check_of(name: &str, broken: Broken, text: &str) -> (Report, Option<bool>) {
    let report = run(name, broken).await;
    let check = report.checks.iter().find(|check| check.name.contains(text));
    let passed = check.unwrap_or_else(|| panic!("{text}: {}", report.to_markdown())).passed;
    (report, passed)
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_of_retries_a_retry_storm_deviates() {
    let mut scenario = shipped("retry-storm").unwrap().scenario();
    // The circuit does not open, and the scenario must not stop at that deviation.
    scenario.on_deviation = OnDeviation::Continue;
    let report = run_scenario(scenario, Broken::ManyRetries).await;
    let check = report.checks.iter().find(|check| check.name.contains("retry `payment` adds")).unwrap();
    assert_eq!((report.outcome, check.passed), (Outcome::Deviated, Some(false)), "{}", report.to_markdown());
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_does_not_fire_deviates() {
    let (report, passed) = check_of("dependency-down", Broken::Alert, "alert `charges_degraded` fires").await;
    assert_eq!((report.outcome, passed), (Outcome::Deviated, Some(false)), "{}", report.to_markdown());
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_too_early_deviates() {
    let name = "circuit payment is not open";
    let (report, passed) = check_of("errors-10-percent", Broken::SensitiveBreaker, name).await;
    assert_eq!((report.outcome, passed), (Outcome::Deviated, Some(false)), "{}", report.to_markdown());
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_stays_open_for_too_long_prevents_the_recovery() {
    let (report, passed) = check_of("dependency-down", Broken::SlowBreaker, "after the last fault").await;
    assert_eq!((report.outcome, passed), (Outcome::Deviated, Some(false)), "{}", report.to_markdown());
    assert!(report.reasons[0].contains("did not return within 30 s"), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn lost_orders_abort_a_scenario_that_continues_after_deviations() {
    let mut scenario = shipped("dependency-down").unwrap().scenario();
    scenario.on_deviation = OnDeviation::Continue;
    let report = run_scenario(scenario, Broken::Fallback).await;
    assert_eq!(report.outcome, Outcome::Aborted, "{}", report.to_markdown());
    let rule = "an abort rule applies: critical alert orders_failing is quiet";
    assert!(report.reasons.iter().any(|reason| reason.contains(rule)), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn a_farther_fallback_level_than_expected_deviates() {
    let with = |level: &str| {
        let expect = format!(
            "[[expect]]\nexpect = \"fallback\"\nof = \"outage\"\nfallback = \"exchange\"\nat_most = \"{level}\"\n"
        );
        let text = shipped("dependency-down").unwrap().text.replacen(
            "[[expect]]",
            &format!("{expect}\n[[expect]]"),
            1,
        );
        Scenario::parse(&text).unwrap()
    };
    let report = run_scenario(with("default"), Broken::Nothing).await;
    assert_eq!(report.outcome, Outcome::Held, "{}", report.to_markdown());
    let report = run_scenario(with("local_cache"), Broken::Nothing).await;
    assert_eq!(report.outcome, Outcome::Deviated, "{}", report.to_markdown());
    assert!(report.reasons[0].contains("served by a farther level"), "{:?}", report.reasons);
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
