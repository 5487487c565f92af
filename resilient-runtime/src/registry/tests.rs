use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::component::{Component, Kind};
use crate::observe::EventKind;
use crate::settings::{Origin, Setting, Value};
use crate::site::{Site, SiteMeta, StageUse};
use crate::{Ratio, Rejection, bulkhead, circuit_breaker, rate_limit, timeout};

#[test]
fn a_thousand_threads_get_one_instance() {
    // T120
    let registry = Registry::new();
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..1000).map(|_| scope.spawn(|| registry.circuit_breaker("x"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|breaker| Arc::ptr_eq(breaker, &found[0])));
}

#[test]
fn a_million_names_are_bounded() {
    // T121
    let registry = Registry::new();
    for number in 0..1_000_000 {
        registry.timeout(&number.to_string());
    }
    let names = registry.stats().timeout;
    assert_eq!(names.len(), shelf::MOST_NAMES + 1);
    assert!(names.contains_key(shelf::OVERFLOW));
    let error = registry.validate().unwrap_err();
    assert!(error.to_string().contains("too many names"), "{error}");
}

#[test]
fn registries_do_not_bleed() {
    // T158
    let (one, other) = (Registry::new(), Registry::new());
    one.circuit_breaker("x").force_open();
    assert_eq!(other.circuit_breaker("x").state(), circuit_breaker::State::Closed);
    assert!(!Arc::ptr_eq(&one.circuit_breaker("x"), &other.circuit_breaker("x")));
}

#[test]
fn invalid_names_work_and_are_reported() {
    let registry = Registry::new();
    let long = "n".repeat(10_000);
    for name in ["", "payment", "Payment", &long] {
        let breaker = registry.circuit_breaker(name);
        assert!(
            Arc::ptr_eq(&breaker, &registry.circuit_breaker(name)),
            "the same name returns the same component"
        );
    }
    for name in ["", "payment", &long] {
        assert!(registry.component_stats(Kind::CircuitBreaker, name).is_ok());
        assert!(registry.reset(Kind::CircuitBreaker, name).is_ok());
        registry.pipeline(name).build();
        assert!(registry.explain(name).is_some());
    }
    assert_eq!(registry.stats().circuit_breaker.len(), 4);
    let error = registry.validate().unwrap_err();
    assert_eq!(error.problems().len(), 3, "{error}");
    assert!(error.to_string().contains("`Payment` and `payment` differ only in case"), "{error}");
}

#[test]
fn an_unknown_component_is_an_error_with_the_nearest_names() {
    let registry = Registry::new();
    registry.bulkhead("gateway");
    registry.bulkhead("gateway-eu");
    let error = registry.reset(Kind::Bulkhead, "gatway").unwrap_err();
    assert_eq!(error.nearest(), ["gateway", "gateway-eu"]);
    assert!(registry.component_stats(Kind::Retry, "gateway").is_err());
    assert!(registry.component_stats(Kind::Bulkhead, "gateway").is_ok());
    let kind = "circut_breaker".parse::<Kind>().unwrap_err();
    assert_eq!(kind.to_string(), "unknown component kind `circut_breaker`; did you mean `circuit_breaker`?");
}

#[test]
fn an_arc_stays_current_after_reconfiguration() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let held = registry.timeout("t");
    registry.timeout("t").reconfigure(timeout::Config::default().total(Duration::from_secs(2))).unwrap();
    assert_eq!(held.stats().total, Some(Duration::from_secs(2)));
}

#[test]
fn every_value_has_its_origin() {
    // T123
    let registry = Registry::new();
    let timeout = registry.timeout("t");
    timeout.reconfigure(timeout::Config::default().total(Duration::from_secs(2))).unwrap();
    let effective = timeout.effective();
    assert_eq!(effective[0].field, "total");
    assert_eq!(effective[0].value, Value::Duration(Duration::from_secs(2)));
    assert_eq!(effective[0].origin, crate::settings::Origin::Runtime);
    assert_eq!(effective[1].origin, crate::settings::Origin::Default);
}

#[test]
fn a_refused_change_changes_nothing_and_a_later_valid_one_works() {
    // T118, T127
    let timeout = Registry::new().timeout("t");
    let good = timeout::Config::default().total(Duration::from_secs(2));
    timeout.reconfigure(good.clone()).unwrap();
    let bad = timeout::Config::default().total(Duration::from_secs(1)).attempt(Duration::from_secs(9));
    assert!(timeout.reconfigure(bad).is_err());
    assert_eq!(*timeout.config(), good);
    timeout.reconfigure(good.attempt(Duration::from_secs(1))).unwrap();
}

#[test]
fn events_can_be_subscribed_to() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let mut events = registry.subscribe();
    registry.circuit_breaker("x").force_open();
    let event = events.try_recv().unwrap();
    assert_eq!((event.kind, event.component), (Kind::CircuitBreaker, "x"));
    let EventKind::Transition { from, to, .. } = event.what else { panic!("{event:?}") };
    assert_eq!((from, to), ("closed", "forced_open"));
}

#[test]
fn golden_signals_exist_per_operation_and_in_total() {
    let registry = Registry::new();
    let (gate, wide) = (registry.bulkhead("gate"), registry.bulkhead("wide"));
    gate.reconfigure(bulkhead::Config::default().max_concurrent(4)).unwrap();
    wide.reconfigure(bulkhead::Config::default().max_concurrent(100)).unwrap();
    let fast = registry.pipeline("fast").bulkhead("wide").timeout("t").build();
    let slow = registry.pipeline("slow").bulkhead("gate").timeout("t").build();
    for _ in 0..99 {
        fast.call(|| Ok::<_, Rejection>(())).unwrap();
    }
    slow.call(|| Err::<(), _>(std::io::Error::other("down"))).unwrap_err();
    let _held = [gate.try_acquire().unwrap(), gate.try_acquire().unwrap(), wide.try_acquire().unwrap()];
    let stats = registry.stats();
    let of = |name: &str| &stats.operations[name];
    assert_eq!((of("slow").saturation.get(), of("fast").saturation.get()), (0.5, 0.01));
    let total = &stats.total;
    assert_eq!((total.calls, total.succeeded, total.failed, total.saturation.get()), (100, 99, 1, 0.5));
    assert_eq!((total.latency.measured, total.error_latency.measured), (99, 1));
    // Computed from all times together, not as a mean of percentiles.
    assert_eq!(total.latency, of("fast").latency);
    assert_eq!(total.error_latency, of("slow").error_latency);
}

#[test]
fn a_leaky_bucket_is_not_saturated_after_each_call() {
    use rate_limit::Algorithm;
    let saturation = |algorithm| {
        let registry = Registry::with_clock(ManualClock::new().clock());
        let config = rate_limit::Config::default().rate("10/s".parse::<rate_limit::Rate>().unwrap());
        let config = config.algorithm(algorithm).max_wait(Duration::from_secs(1));
        registry.rate_limiter("x").reconfigure(config).unwrap();
        let pipeline = registry.pipeline("x").rate_limit("x").build();
        pipeline.call(|| Ok::<_, Rejection>(())).unwrap();
        registry.stats().operations["x"].saturation
    };
    let seen = [saturation(Algorithm::LeakyBucket), saturation(Algorithm::TokenBucket)];
    assert_eq!(seen, [Ratio::ZERO, Ratio::new(0.1).unwrap()]);
}

#[test]
fn a_snapshot_serializes_and_displays() {
    let registry = Registry::new();
    let pipeline = registry
        .pipeline("op")
        .circuit_breaker("cb")
        .retry("r")
        .bulkhead("b")
        .timeout("t")
        .fallback("f")
        .build();
    let _: Result<u32, crate::Rejection> = pipeline.call(|| Ok(1));
    let stats = registry.stats();
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["operations"]["op"]["calls"], 1);
    assert!(json["operations"]["op"]["latency"]["p50"].is_number());
    assert_eq!(json["circuit_breaker"]["cb"]["state"], "closed");
    let text = stats.to_string();
    for line in [
        "operation op: 1 calls",
        "retry r:",
        "circuit_breaker cb:",
        "bulkhead b:",
        "timeout t:",
        "fallback f:",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}

/// An annotated function at this line with these stages.
fn site(line: u32, stages: &'static [StageUse]) -> &'static Site {
    Box::leak(Box::new(Site::new(SiteMeta {
        function: "f",
        module: "m",
        file: "m.rs",
        line,
        inside: || "f",
        name: Some("f"),
        asynchronous: false,
        idempotent: false,
        own_registry: true,
        stages,
        levels: &[],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    })))
}

/// A log subscriber that reads the registry on every event.
struct Reader(Registry);

impl tracing::Subscriber for Reader {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("resilient")
    }
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.stats();
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_log_subscriber_can_read_the_registry() {
    // T23
    const REFUSED: &[StageUse] = &[StageUse {
        kind: Kind::Retry,
        name: Some("r"),
        settings: &[Setting { field: "max", value: Value::Count(5000) }],
    }];
    let registry = Registry::new();
    tracing::subscriber::with_default(Reader(registry.clone()), || {
        site(1, REFUSED).pipeline_in(&registry);
        for number in 0..=shelf::MOST_NAMES {
            registry.timeout(&number.to_string());
        }
    });
    assert_eq!(registry.stats().conflicts.len(), 1);
}

const fn retry_with(settings: &'static [Setting]) -> StageUse {
    StageUse { kind: Kind::Retry, name: Some("r"), settings }
}

#[test]
fn the_settings_of_the_first_place_apply_whatever_the_order_of_calls() {
    // T119
    const FIRST: &[StageUse] = &[retry_with(&[Setting { field: "max", value: Value::Count(1) }])];
    const SECOND: &[StageUse] = &[retry_with(&[
        Setting { field: "max", value: Value::Count(9) },
        Setting { field: "base", value: Value::Duration(Duration::from_millis(1)) },
    ])];
    for second_is_called_first in [false, true] {
        let registry = Registry::new();
        let (first, second) = (site(10, FIRST), site(20, SECOND));
        let order = if second_is_called_first { [second, first] } else { [first, second] };
        for site in order {
            site.pipeline_in(&registry);
        }
        let retry = registry.retry("r");
        assert_eq!(*retry.config(), crate::retry::Config::default().max(1));
        let origins: Vec<_> = retry.effective().into_iter().take(3).map(|set| set.origin).collect();
        assert_eq!(origins, [Origin::Attribute, Origin::Default, Origin::Default]);
        assert_eq!(registry.validate().unwrap_err().problems().len(), 1);
    }
}

#[test]
fn a_run_time_setting_stays_although_an_attribute_sets_the_same_value() {
    // T123
    const SITE: &[StageUse] = &[retry_with(&[
        Setting { field: "max", value: Value::Count(5) },
        Setting { field: "base", value: Value::Duration(Duration::from_millis(1)) },
    ])];
    let registry = Registry::new();
    registry.retry("r").reconfigure(crate::retry::Config::default().max(5)).unwrap();
    site(1, SITE).pipeline_in(&registry);
    let origins: Vec<_> = registry.retry("r").effective().into_iter().take(3).map(|set| set.origin).collect();
    assert_eq!(origins, [Origin::Runtime, Origin::Default, Origin::Attribute]);
    assert!(registry.validate().is_ok());
}

#[test]
fn an_attribute_setting_that_comes_too_late_is_reported_and_the_others_apply() {
    // T119, T127
    const SITE: &[StageUse] = &[
        retry_with(&[
            Setting { field: "max", value: Value::Count(7) },
            Setting { field: "budget", value: Value::Text(std::borrow::Cow::Borrowed("shared")) },
        ]),
        StageUse {
            kind: Kind::Bulkhead,
            name: Some("b"),
            settings: &[
                Setting { field: "reserve_critical", value: Value::Count(4) },
                Setting { field: "max_queue", value: Value::Count(3) },
                Setting { field: "max_wait", value: Value::Duration(Duration::from_millis(1)) },
            ],
        },
    ];
    let registry = Registry::new();
    registry.retry("r");
    let two = crate::bulkhead::Config::default().max_concurrent(2);
    registry.bulkhead("b").reconfigure(two.clone()).unwrap();
    site(1, SITE).pipeline_in(&registry);
    assert_eq!(registry.retry("r").config().max, 7);
    assert_eq!(*registry.bulkhead("b").config(), two.max_queue(3).max_wait(Duration::from_millis(1)));
    let error = registry.validate().unwrap_err().to_string();
    assert!(error.contains("retry `r`: `budget` = shared is invalid"), "{error}");
    assert!(error.contains("bulkhead `b`: `reserve_critical` = 4 is invalid"), "{error}");
}

#[test]
fn concurrent_changes_of_one_component_preserve_each_other() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let check = registry.health("db");
    let change = |field: &str, number: u32| {
        let change = [(field.to_owned(), crate::settings::Raw::Integer(number.into()))];
        registry.set_overrides(Kind::Health, "db", &change).unwrap();
    };
    let start = std::sync::Barrier::new(2);
    // Each thread changes a field that the other does not, and checks whether its change stays.
    let lost = |field: &str, value: fn(&crate::health::Config) -> u32| {
        start.wait();
        let numbers = (1..=1000).cycle().take(10_000);
        let is_lost = |number: &u32| {
            change(field, *number);
            std::thread::yield_now();
            value(&check.config()) != *number
        };
        numbers.filter(is_lost).count()
    };
    let lost = std::thread::scope(|threads| {
        let one = threads.spawn(|| lost("failures", |config| config.failures));
        let other = threads.spawn(|| lost("successes", |config| config.successes));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!(lost, (0, 0));
}

/// A registry with a component of each kind, named `shop`.
fn one_of_each() -> Registry {
    let registry = Registry::new();
    macro_rules! make {
        ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
            $(registry.$accessor("shop");)*
        };
    }
    crate::kind::table::components!(all make);
    registry
}

#[test]
fn every_kind_has_a_line_in_the_table() {
    let table = one_of_each().stats().to_string();
    for kind in Kind::all() {
        assert!(table.contains(&format!("{kind} shop: ")), "{kind} is not in\n{table}");
    }
    let (alert, health) = (
        "alert shop: quiet, error_rate of all operations, fired 0\n",
        "health shop: unknown (readiness), 0 of 0 probes failed\n",
    );
    assert!(table.contains(alert) && table.contains(health), "{table}");
}

#[test]
fn the_list_of_metrics_does_not_depend_on_the_components() {
    let names = |registry: &Registry| -> Vec<_> {
        registry.stats().metrics().iter().map(|family| family.metric().name).collect()
    };
    let all = names(&one_of_each());
    assert_eq!(names(&Registry::new()), all);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "each name once");
}

#[test]
fn a_component_is_found_by_type_only_if_it_exists() {
    let registry = Registry::new();
    assert!(registry.find::<crate::Bulkhead>("shop").is_none());
    assert!(registry.names().iter().all(|(_, names)| names.is_empty()), "nothing is created");
    let made = registry.bulkhead("shop");
    assert!(Arc::ptr_eq(&registry.find("shop").unwrap(), &made));
    assert!(registry.find::<crate::Hedge>("shop").is_none());
}
