//! Alerts on real operations, in virtual time.

use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::observe::Event;
use crate::ratio::Ratio;
use crate::registry::Registry;

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    time: ManualClock,
    registry: Registry,
}

impl Fixture {
    fn new(alert: Config) -> Self {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock());
        registry.alert("a").reconfigure(alert).unwrap();
        registry.evaluate_alerts();
        Self { time, registry }
    }

    /// Runs a second with `calls` calls and lets `failures` of them fail. Returns the severity afterwards.
    fn second(&self, operation: &str, calls: u32, failures: u32) -> Option<Severity> {
        let pipeline = self.registry.pipeline(operation).build();
        for call in 0..calls {
            let outcome = || if call < failures { None } else { Some(call) };
            let _ = pipeline.call(outcome);
        }
        self.time.advance(SECOND);
        self.registry.evaluate_alerts();
        self.registry.stats().alert["a"].severity
    }
}

#[test]
fn lasting_errors_fire_a_critical_alert_that_ends_afterwards() {
    let config = Config::default().warning(0.1).critical(0.5).hold(SECOND * 3).window(SECOND * 5);
    let fixture = Fixture::new(config);
    let mut events = fixture.registry.subscribe();
    let seen: Vec<_> = (0..5).map(|_| fixture.second("charge", 10, 9)).collect();
    assert_eq!(seen, [None, None, None, None, Some(Severity::Critical)], "after 20 calls and 3 s");
    let after: Vec<_> = (0..6).map(|_| fixture.second("charge", 10, 0)).collect();
    assert_eq!(after.last(), Some(&None));
    let reported = std::iter::from_fn(|| events.try_recv()).filter_map(|event: Event| match event.what {
        EventKind::AlertChanged { severity, .. } => Some(severity),
        _ => None,
    });
    assert_eq!(reported.collect::<Vec<_>>(), [Some("critical"), Some("warning"), None]);
    assert_eq!(fixture.registry.stats().alert["a"].fired, 1);
}

#[test]
fn one_operation_or_all_together() {
    let config = Config::default().critical(0.5).hold(Duration::ZERO).operation(Arc::<str>::from("b"));
    let fixture = Fixture::new(config.clone());
    assert_eq!(fixture.second("a", 100, 100), None);
    assert_eq!(fixture.second("b", 100, 100), Some(Severity::Critical));
    let mut all = config;
    all.operation = None;
    let fixture = Fixture::new(all);
    assert_eq!(fixture.second("a", 100, 100), Some(Severity::Critical));
}

#[test]
fn saturation_and_traffic() {
    let fixture = Fixture::new(
        Config::default().signal(Signal::Saturation).warning(0.6).hold(Duration::ZERO).min_samples(0),
    );
    let bulkhead = fixture.registry.bulkhead("b");
    bulkhead.reconfigure(crate::bulkhead::Config::default().max_concurrent(4)).unwrap();
    let permits: Vec<_> = (0..3).map(|_| bulkhead.try_acquire().unwrap()).collect();
    assert_eq!(fixture.second("a", 0, 0), Some(Severity::Warning));
    drop(permits);
    assert_eq!(fixture.second("a", 0, 0), None);

    let traffic = Config::default().signal(Signal::Traffic).critical(5.0).below(true).hold(Duration::ZERO);
    let fixture = Fixture::new(traffic.window(SECOND * 2));
    let seen: Vec<_> = [10, 10, 10, 0, 0].into_iter().map(|calls| fixture.second("a", calls, 0)).collect();
    assert_eq!(seen, [None, None, None, None, Some(Severity::Critical)]);
}

#[test]
fn signals_without_history_fire_at_the_first_evaluation() {
    let registry = Registry::new();
    let full = Config::default().signal(Signal::Saturation).critical(0.9).hold(Duration::ZERO).min_samples(0);
    registry.alert("full").reconfigure(full).unwrap();
    let gate = registry.bulkhead("gate");
    gate.reconfigure(crate::bulkhead::Config::default().max_concurrent(1)).unwrap();
    let _permit = gate.try_acquire().unwrap();
    registry.evaluate_alerts();
    assert_eq!(registry.alert("full").stats().severity, Some(Severity::Critical));
}

fn full(hold: Duration) -> Config {
    Config::default().signal(Signal::Saturation).critical(0.9).hold(hold).min_samples(0)
}

#[test]
fn an_outage_during_a_gap_between_evaluations_does_not_fire() {
    let fixture = Fixture::new(Config::default().critical(0.5));
    assert_eq!(fixture.second("charge", 100, 100), None, "shorter than the hold");
    let pipeline = fixture.registry.pipeline("charge").build();
    (0..200).for_each(|_| assert!(pipeline.call(|| None::<u32>).is_none()));
    fixture.time.advance(SECOND * 600);
    for second in 0..60 {
        assert_eq!(fixture.second("charge", 20, 0), None, "{second} s after the gap");
    }
    assert_eq!(fixture.registry.stats().alert["a"].value, Some(0.0));
}

#[test]
fn infrequent_evaluations_report_the_rate_but_do_not_complete_the_hold() {
    let fixture = Fixture::new(Config::default().critical(0.5));
    for _ in 0..10 {
        fixture.time.advance(SECOND * 29);
        assert_eq!(fixture.second("charge", 100, 80), None);
        let value = fixture.registry.stats().alert["a"].value;
        assert_eq!(value, Some(0.8));
    }
    let seen: Vec<_> = (0..40).map(|_| fixture.second("charge", 100, 80)).collect();
    assert_eq!(seen.iter().position(Option::is_some), Some(29), "30 s after the last infrequent evaluation");
    // A short delay does not count as a gap.
    fixture.time.advance(SECOND * 12);
    assert_eq!(fixture.second("charge", 100, 80), Some(Severity::Critical));
}

#[test]
fn a_gap_restarts_the_hold_and_a_firing_alert_continues() {
    let fixture = Fixture::new(full(SECOND * 30));
    let gate = fixture.registry.bulkhead("gate");
    gate.reconfigure(crate::bulkhead::Config::default().max_concurrent(1)).unwrap();
    let _permit = gate.try_acquire().unwrap();
    assert_eq!(fixture.second("a", 0, 0), None);
    fixture.time.advance(SECOND * 60);
    let seen: Vec<_> = (0..31).map(|_| fixture.second("a", 0, 0)).collect();
    assert_eq!(seen.iter().position(Option::is_some), Some(30));
    fixture.time.advance(SECOND * 60);
    assert_eq!(fixture.second("a", 0, 0), Some(Severity::Critical), "it still fires");
}

#[test]
fn watch_alerts_evaluates_once_a_second_on_the_clock_of_the_registry() {
    let fixture = Fixture::new(full(SECOND * 3));
    let gate = fixture.registry.bulkhead("gate");
    gate.reconfigure(crate::bulkhead::Config::default().max_concurrent(1)).unwrap();
    let _permit = gate.try_acquire().unwrap();
    let mut watch = Box::pin(fixture.registry.watch_alerts());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut after = |span| {
        fixture.time.advance(span);
        assert!(watch.as_mut().poll(&mut cx).is_pending(), "it never ends");
        fixture.registry.alert("a").stats().severity
    };
    assert_eq!([SECOND / 2; 8].map(&mut after).iter().filter(|seen| seen.is_some()).count(), 2);
    assert_eq!(after(SECOND), Some(Severity::Critical));
}

#[test]
fn a_change_of_subject_discards_collected_data() {
    let config = Config::default().critical(0.5).hold(Duration::ZERO);
    let busy = config.clone().operation(Arc::<str>::from("busy"));
    let fixture = Fixture::new(busy.clone());
    for _ in 0..3 {
        fixture.second("calm", 50, 0);
        assert_eq!(fixture.second("busy", 100, 30), None);
    }
    fixture.second("calm", 1000, 0);
    let alert = fixture.registry.alert("a");
    let evaluate_as = |config: &Config| {
        alert.reconfigure(config.clone()).unwrap();
        fixture.registry.evaluate_alerts();
        alert.stats()
    };
    // More calls than the other operation had, and fewer failures.
    let calm = evaluate_as(&busy.clone().operation(Arc::<str>::from("calm")));
    assert_eq!((calm.value, calm.severity), (None, None));
    fixture.second("calm", 50, 0);
    assert_eq!(alert.stats().value, Some(0.0));
    for other in [
        busy.clone(),
        busy.clone().window(SECOND * 5),
        busy.clone().window(SECOND * 5).signal(Signal::DegradedRate),
        busy.window(SECOND * 5).signal(Signal::DegradedRate).operation(None),
    ] {
        assert_eq!(evaluate_as(&other).value, None, "{other:?}");
        fixture.second("busy", 100, 30);
        assert!(alert.stats().value.is_some_and(|value| value < 0.5), "{other:?}");
    }
    assert_eq!((alert.stats().severity, alert.stats().fired), (None, 0));
}

#[test]
fn a_burn_rate_of_another_operation_discards_data_and_ends_the_alert() {
    let objective = Config::default().signal(Signal::BurnRate).objective(Ratio::new(0.999).unwrap());
    let fixture = Fixture::new(objective.clone().operation(Arc::<str>::from("bad")));
    fixture.second("good", 5000, 0);
    fixture.second("bad", 100, 0);
    assert_eq!(fixture.second("bad", 100, 90), Some(Severity::Critical));
    let mut events = fixture.registry.subscribe();
    let good = objective.operation(Arc::<str>::from("good"));
    fixture.registry.alert("a").reconfigure(good).unwrap();
    fixture.registry.evaluate_alerts();
    let stats = fixture.registry.alert("a").stats();
    assert_eq!((stats.severity, stats.value, stats.fired), (None, Some(0.0), 1));
    let ended = |event: Event| matches!(event.what, EventKind::AlertChanged { severity: None, .. });
    assert!(std::iter::from_fn(|| events.try_recv()).any(ended));
}

#[test]
fn a_missing_operation_has_no_value_and_is_a_validation_problem() {
    let traffic = Config::default().signal(Signal::Traffic).critical(5.0).below(true).hold(Duration::ZERO);
    let fixture = Fixture::new(traffic.window(SECOND).operation(Arc::<str>::from("chrage")));
    for _ in 0..3 {
        assert_eq!(fixture.second("charge", 10, 0), None);
    }
    let alert = fixture.registry.alert("a");
    assert_eq!(serde_json::to_value(alert.stats()).unwrap()["value"], serde_json::Value::Null);
    let problems = fixture.registry.validate().unwrap_err();
    assert_eq!(problems.problems(), ["alert: `a`: there is no operation `chrage`; did you mean `charge`?"]);
    let mended = alert.config().as_ref().clone().operation(Arc::<str>::from("charge"));
    alert.reconfigure(mended).unwrap();
    assert_eq!(fixture.registry.validate(), Ok(()));
}

#[test]
fn a_limit_that_the_signal_cannot_cross_is_refused() {
    let alert = Registry::new().alert("a");
    let share = Config::default().signal(Signal::ErrorRate);
    assert!(alert.reconfigure(share.clone().critical(1.0)).is_err());
    assert!(alert.reconfigure(share.clone().critical(0.99)).is_ok());
    assert!(alert.reconfigure(share.warning(0.0).below(true)).is_err());
    assert!(alert.reconfigure(Config::default().signal(Signal::Traffic).warning(100.0)).is_ok());
    assert!(alert.reconfigure(Config::default().signal(Signal::Traffic).warning(0.0).below(true)).is_err());
}

#[test]
fn a_budget_that_burns_fast_is_critical() {
    let objective = Ratio::new(0.999).unwrap();
    let fixture = Fixture::new(Config::default().signal(Signal::BurnRate).objective(objective));
    assert_eq!(fixture.second("a", 100, 0), None);
    assert_eq!(fixture.second("a", 100, 50), Some(Severity::Critical));
    assert!(fixture.registry.stats().alert["a"].value.unwrap() > 14.4);
}

#[test]
fn an_alert_from_a_file_needs_no_code() {
    use crate::component::Kind;
    use crate::settings::Raw;
    let mut tables = crate::config::Tables::default();
    tables.set(Kind::Alert, Some("errors"), "critical", &Raw::Float(0.5)).unwrap();
    tables.set(Kind::Alert, Some("errors"), "hold", &Raw::Text("0s".into())).unwrap();
    let registry = Registry::with_clock(ManualClock::new().clock());
    registry.apply("a file", &tables).unwrap();
    registry.evaluate_alerts();
    let pipeline = registry.pipeline("charge").build();
    (0..20).for_each(|_| assert!(pipeline.call(|| None::<u32>).is_none()));
    registry.evaluate_alerts();
    assert_eq!(registry.stats().alert["errors"].severity, Some(Severity::Critical));
}

#[test]
fn settings_that_contradict_are_refused() {
    // T127
    let problems =
        |config: Config| crate::settings::Settings::validate(&config).err().map_or(0, |e| e.problems().len());
    assert_eq!(problems(Config::default().warning(0.5).critical(0.1)), 1);
    assert_eq!(problems(Config::default().warning(0.5).critical(0.1).below(true)), 0);
    assert_eq!(problems(Config::default().warning(f64::NAN)), 1);
    assert_eq!(problems(Config::default().signal(Signal::BurnRate)), 1, "without an objective");
    assert_eq!(problems(Config::default().objective(Ratio::HALF)), 1, "without a burn rate");
}
