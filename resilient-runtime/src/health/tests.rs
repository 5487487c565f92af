//! Tests of health checks: status changes, probe intervals and isolation.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::registry::Registry;

const SECOND: Duration = Duration::from_secs(1);

/// A check whose result is controlled by the returned flag.
fn switched(registry: &Registry, name: &str, kind: CheckKind) -> (Arc<HealthCheck>, Arc<AtomicBool>) {
    let check = registry.health(name);
    check.reconfigure(Config::default().kind(kind).cache(Duration::ZERO)).unwrap();
    let works = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&works);
    check.probe(move || {
        let works = asked.load(Ordering::Relaxed);
        async move { if works { Ok(()) } else { Err("it is down") } }
    });
    (check, works)
}

#[tokio::test]
async fn three_failures_fail_a_check_and_one_success_recovers_it() {
    // T133
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (check, works) = switched(&registry, "db", CheckKind::Readiness);
    assert_eq!(check.check().await.status, Status::Pass);
    works.store(false, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Pass);
    let second = check.check().await;
    assert_eq!((second.status, second.output.as_deref()), (Status::Pass, Some("it is down")));
    assert_eq!(check.check().await.status, Status::Fail);
    let report = registry.health_report(Ask::Readiness).await;
    assert_eq!((report.status, report.http_status()), (Status::Fail, 503));
    works.store(true, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Pass);
    assert_eq!(registry.stats().health["db"].failed, 4);
}

#[tokio::test]
async fn a_result_is_cached_and_concurrent_reports_share_one_probe() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let check = registry.health("db");
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    check.probe(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::task::yield_now().await;
            Ok::<_, String>(())
        }
    });
    let ask = || registry.health_report(Ask::Readiness);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert!([a, b, c].iter().all(|report| report.status == Status::Pass));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    time.advance(SECOND);
    ask().await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_delays_no_other_and_fails_after_its_timeout() {
    let registry = Registry::with_clock(Clock::tokio());
    let hangs = registry.health("hangs");
    hangs.probe(std::future::pending::<Result<(), String>>);
    let (quick, _) = switched(&registry, "quick", CheckKind::Readiness);
    let began = registry.clock().now();
    assert_eq!(quick.check().await.status, Status::Pass);
    assert_eq!(registry.clock().now(), began);
    let report = registry.health_report(Ask::Readiness).await;
    let took = registry.clock().now().since(began);
    assert!((800..900).contains(&took.as_millis()), "its own timeout: {took:?}");
    assert_eq!(
        report.checks.iter().map(|check| check.status).collect::<Vec<_>>(),
        [Status::Fail, Status::Pass]
    );
    assert!(report.checks[0].output.as_ref().unwrap().contains("within 800ms"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_fails_even_if_its_callers_give_up_early() {
    let registry = Registry::with_clock(Clock::tokio());
    let hangs = registry.health("hangs");
    hangs.probe(std::future::pending::<Result<(), String>>);
    for _ in 0..5 {
        let asked = tokio::time::timeout(SECOND / 2, hangs.check()).await;
        assert!(asked.is_err(), "given up");
        tokio::time::sleep(SECOND * 15).await;
    }
    let stats = hangs.stats();
    assert_eq!((stats.probes, stats.failed, stats.status), (5, 5, Status::Fail));
    assert_eq!(stats.took.map(|took| took.as_millis() / 10), Some(80));
}

#[tokio::test(start_paused = true)]
async fn the_next_caller_joins_a_probe_whose_caller_gave_up() {
    let registry = Registry::with_clock(Clock::tokio());
    let slow = registry.health("slow");
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    slow.probe(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(SECOND * 7 / 10).await;
            Ok::<_, String>(())
        }
    });
    let began = registry.clock().now();
    assert!(tokio::time::timeout(SECOND / 10, slow.check()).await.is_err());
    assert!(tokio::time::timeout(SECOND / 10, slow.check()).await.is_err());
    let stats = slow.check().await;
    assert_eq!((stats.status, stats.probes, asked.load(Ordering::Relaxed)), (Status::Pass, 1, 1));
    assert_eq!(registry.clock().now().since(began).as_millis() / 10, 70);
}

#[test]
fn outside_a_runtime_the_next_caller_takes_over_a_dropped_probe() {
    // T146
    let registry = Registry::with_clock(ManualClock::new().clock());
    let check = registry.health("db");
    check.probe(std::future::pending::<Result<(), String>>);
    let mut first = Box::pin(check.check());
    assert!(futures_poll(&mut first).is_pending());
    let (_, works) = switched(&registry, "db", CheckKind::Readiness);
    let mut second = Box::pin(check.check());
    assert!(futures_poll(&mut second).is_pending(), "the first call runs the probe");
    drop(first);
    assert!(works.load(Ordering::Relaxed));
    assert!(matches!(futures_poll(&mut second), Poll::Ready(Stats { status: Status::Pass, .. })));
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx)
}

#[tokio::test]
async fn a_report_that_is_polled_once_and_never_again_blocks_no_other() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let check = registry.health("db");
    check.probe(|| async {
        tokio::task::yield_now().await;
        Ok::<_, String>(())
    });
    let mut kept = Box::pin(registry.health_report(Ask::Readiness));
    assert!(futures_poll(&mut kept).is_pending());
    assert_eq!(registry.health_report(Ask::Readiness).await.status, Status::Pass);
    assert_eq!(check.stats().probes, 1, "the same probe");
    assert_eq!(kept.await.status, Status::Pass);
}

#[test]
fn a_probe_whose_task_is_never_polled_again_is_replaced_after_its_timeout() {
    // Without a runtime, no task can continue the probe.
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let check = registry.health("db");
    check.probe(std::future::pending::<Result<(), String>>);
    let mut kept = Box::pin(check.check());
    assert!(futures_poll(&mut kept).is_pending());
    let (_, works) = switched(&registry, "db", CheckKind::Readiness);
    works.store(false, Ordering::Relaxed);
    let mut second = Box::pin(check.check());
    assert!(futures_poll(&mut second).is_pending());
    time.advance(SECOND * 2);
    let Poll::Ready(stats) = futures_poll(&mut second) else { panic!("the second call still waits") };
    assert_eq!((stats.probes, stats.output.as_deref()), (1, Some("it is down")));
    assert!(futures_poll(&mut kept).is_ready());
    assert_eq!(check.stats().probes, 1, "the result of the replaced probe does not count");
}

#[tokio::test]
async fn a_check_is_unknown_before_its_first_result_and_when_the_result_is_old() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let mut events = registry.subscribe();
    let (check, works) = switched(&registry, "db", CheckKind::Readiness);
    assert_eq!((check.stats().status, check.stats().age), (Status::Unknown, None));
    works.store(false, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Fail, "a check that has never passed fails at once");
    let changes = std::iter::from_fn(|| events.try_recv());
    let to_fail = |event: &crate::Event| matches!(event.what, EventKind::HealthChanged { status: "fail" });
    assert_eq!(changes.filter(to_fail).count(), 1);
    time.advance(SECOND * 30);
    assert_eq!((check.stats().status, check.stats().age), (Status::Fail, Some(SECOND * 30)));
    time.advance(SECOND);
    assert_eq!(check.stats().status, Status::Unknown);
    works.store(true, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn the_watch_probes_due_checks_except_deep_ones() {
    let registry = Registry::with_clock(Clock::tokio());
    let (startup, started) = switched(&registry, "migrated", CheckKind::Startup);
    let (ready, _) = switched(&registry, "db", CheckKind::Readiness);
    let (deep, _) = switched(&registry, "query", CheckKind::Deep);
    started.store(false, Ordering::Relaxed);
    let watch = tokio::spawn(registry.watch_health());
    tokio::time::sleep(SECOND * 15).await;
    assert_eq!((startup.stats().probes, startup.stats().status), (2, Status::Fail));
    assert_eq!(ready.stats().status, Status::Unknown, "the process is starting");
    started.store(true, Ordering::Relaxed);
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!((startup.stats().probes, startup.stats().status), (3, Status::Pass));
    assert_eq!((ready.stats().probes, ready.stats().status), (6, Status::Pass));
    assert_eq!((deep.stats().probes, deep.stats().status), (0, Status::Unknown));
    watch.abort();
}

#[tokio::test]
async fn a_blocking_probe_that_hangs_uses_one_thread_and_a_panic_is_a_failure() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let check = registry.health("disk");
    check.reconfigure(Config::default().cache(Duration::ZERO).timeout(SECOND)).unwrap();
    check.probe_blocking(|| {
        if std::thread::current().name() == Some("health disk") { Ok(()) } else { Err("where?") }
    });
    assert_eq!(check.check().await.status, Status::Pass);
    let (let_go, hold) = std::sync::mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    check.probe_blocking(move || hold.lock().recv().map_err(|error| error.to_string()));
    let mut first = Box::pin(check.check());
    assert!(futures_poll(&mut first).is_pending());
    drop(first);
    time.advance(SECOND);
    assert!(check.check().await.output.unwrap().contains("did not finish within 1s"), "the same probe");
    assert!(check.check().await.output.unwrap().contains("is still running"));
    let_go.send(()).unwrap();
    check.probe_blocking(|| -> Result<(), String> { panic!("out of disks") });
    assert!(check.check().await.output.unwrap().contains("out of disks"));
    check.probe(|| async { if true { panic!("out of luck") } else { Ok::<_, String>(()) } });
    assert!(check.check().await.output.unwrap().contains("out of luck"));
}

#[tokio::test]
async fn open_circuits_degrade_readiness_and_never_touch_liveness() {
    // T132
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (_, works) = switched(&registry, "alive", CheckKind::Liveness);
    registry.circuit_breaker("payment").force_open();
    let ready = registry.health_report(Ask::Readiness).await;
    assert_eq!((ready.status, ready.http_status()), (Status::Warn, 200));
    assert_eq!((ready.checks[0].name.as_str(), ready.checks[0].kind), ("payment", "circuit_breaker"));
    assert_eq!(registry.health_report(Ask::Liveness).await.status, Status::Pass);
    works.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        assert_eq!(registry.health_report(Ask::Liveness).await.status, Status::Pass, "grace");
    }
    assert_eq!(registry.health_report(Ask::Liveness).await.status, Status::Fail);
}

#[tokio::test]
async fn a_starting_process_is_alive_and_not_ready() {
    // T136
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (startup, works) = switched(&registry, "migrated", CheckKind::Startup);
    let (ready, _) = switched(&registry, "db", CheckKind::Readiness);
    works.store(false, Ordering::Relaxed);
    let report = registry.health_report(Ask::Readiness).await;
    assert_eq!((report.status, report.starting), (Status::Fail, true));
    assert_eq!(ready.stats().probes, 0, "no other check is probed");
    assert_eq!(registry.health_report(Ask::Liveness).await.status, Status::Pass);
    works.store(true, Ordering::Relaxed);
    assert_eq!(registry.health_report(Ask::Readiness).await.status, Status::Pass);
    let probes = startup.stats().probes;
    works.store(false, Ordering::Relaxed);
    assert_eq!(registry.health_report(Ask::Readiness).await.status, Status::Pass);
    assert_eq!(startup.stats().probes, probes, "a startup check is not probed again once it has passed");
}

#[tokio::test(start_paused = true)]
async fn a_liveness_report_starts_startup_checks_without_waiting_for_them() {
    // T136
    let registry = Registry::with_clock(Clock::tokio());
    let startup = registry.health("migrated");
    startup.reconfigure(Config::default().kind(CheckKind::Startup)).unwrap();
    startup.probe(|| async {
        tokio::time::sleep(SECOND / 2).await;
        Ok::<_, String>(())
    });
    let (alive, works) = switched(&registry, "alive", CheckKind::Liveness);
    works.store(false, Ordering::Relaxed);
    let began = registry.clock().now();
    let report = registry.health_report(Ask::Liveness).await;
    assert_eq!((report.status, report.starting), (Status::Pass, true));
    assert_eq!(registry.clock().now(), began);
    assert_eq!(alive.stats().probes, 0, "no other check is probed");
    tokio::time::sleep(SECOND).await;
    let report = registry.health_report(Ask::Liveness).await;
    assert_eq!((report.starting, report.checks[0].name.as_str()), (false, "alive"));
    assert_eq!((startup.stats().probes, alive.stats().probes), (1, 1));
}

#[tokio::test]
async fn a_deep_check_has_a_response_limit_and_a_group_is_reported_alone() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let check = registry.health("query");
    let limit = Config::default().kind(CheckKind::Deep).max_response(SECOND / 10).failures(1);
    check.reconfigure(limit.group(Arc::<str>::from("storage"))).unwrap();
    let slow = time.clone();
    check.probe(move || {
        slow.advance(SECOND / 5);
        async { Ok::<_, String>(()) }
    });
    assert!(registry.health_report(Ask::Readiness).await.checks.is_empty());
    let deep = registry.health_report(Ask::Deep).await;
    assert_eq!(deep.status, Status::Fail);
    assert!(deep.checks[0].output.as_ref().unwrap().contains("max_response is 100ms"));
    assert_eq!(registry.health_report(Ask::Group("storage".into())).await.checks.len(), 1);
    let json = serde_json::to_value(&deep).unwrap();
    assert_eq!(json["status"], "fail");
    assert_eq!(json["checks"]["query:responseTime"][0]["observedValue"], 200.0);
}

#[test]
fn settings_out_of_range_are_refused() {
    // T127
    let error = |config: Config| crate::settings::Settings::validate(&config).unwrap_err().problems().len();
    assert_eq!(error(Config::default().timeout(Duration::ZERO)), 1);
    assert_eq!(error(Config::default().failures(0).successes(0)), 2);
    assert_eq!(error(Config::default().max_response(SECOND * 2)), 1, "longer than the timeout");
}
