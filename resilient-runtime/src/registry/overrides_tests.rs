//! Tests of external settings and of validation.

use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::component::{Component, Kind};
use crate::observe::EventKind;
use crate::rate_limit::Rate;
use crate::settings::{Raw, Setting, Value};
use crate::site::{Site, SiteMeta, StageUse};
use crate::{Ratio, bulkhead, circuit_breaker, hedge, rate_limit, retry, timeout};

fn registry() -> Registry {
    Registry::with_clock(ManualClock::new().clock())
}

fn tables(settings: &[(Kind, &str, &str, Raw)]) -> Tables {
    let mut tables = Tables::default();
    for (kind, name, field, raw) in settings {
        tables.set(*kind, Some(*name), field, raw).unwrap();
    }
    tables
}

fn text(text: &str) -> Raw {
    Raw::Text(text.into())
}

fn problems(registry: &Registry) -> Vec<String> {
    registry.validate().map_or_else(|error| error.problems().to_vec(), |()| Vec::new())
}

#[test]
fn settings_for_a_missing_component_are_reported() {
    let registry = registry();
    let mut events = registry.subscribe();
    registry.circuit_breaker("postgres");
    let settings = [
        (Kind::CircuitBreaker, "postgress", "open_for", text("1s")),
        (Kind::Retry, "postgres", "max", Raw::Integer(1)),
        (Kind::Bulkhead, "later", "max_concurrent", Raw::Integer(1)),
    ];
    registry.apply("file", &tables(&settings)).unwrap();
    let found = problems(&registry);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().any(|problem| problem.starts_with("circuit_breaker `postgress`")
        && problem.ends_with("did you mean `postgres`?")));
    assert!(found.iter().any(|problem| problem.starts_with("retry `postgres`")
        && problem.ends_with("there is a circuit_breaker with this name")));
    assert_eq!(registry.stats().unused_settings, found);
    let unused = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event.what {
        EventKind::SettingsUnused { settings } => Some(settings),
        _ => None,
    });
    assert_eq!(
        unused.unwrap().len(),
        1,
        "at load only likely misspellings; the other components can be created later"
    );
    registry.bulkhead("later");
    registry.retry("postgres");
    registry.circuit_breaker("postgress");
    assert_eq!(problems(&registry), [""; 0], "no false alarm for components created later");
    assert_eq!(registry.bulkhead("later").config().max_concurrent, 1);
}

#[cfg(feature = "config-file")]
#[test]
fn a_variable_for_a_missing_component_is_reported() {
    let path = std::env::temp_dir().join(format!("resilient-unused-{}.toml", std::process::id()));
    std::fs::write(&path, "[retry_budget.gatway]\nratio = 0.2\n").unwrap();
    let registry = registry();
    registry.circuit_breaker("pay.ment");
    registry.retry_budget("gateway");
    let variables = [
        ("RESILIENT__CIRCUIT_BREAKER__PAYMENT__OPEN_FOR", "1s"),
        ("RESILIENT__CIRCUIT_BREAKER__PAY_MENT__MIN_CALLS", "3"),
    ];
    crate::config::ConfigFile::new(&path).variables(variables).apply(&registry).unwrap();
    std::fs::remove_file(&path).unwrap();
    let found = problems(&registry);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("retry_budget `gatway`") && found[0].ends_with("did you mean `gateway`?"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("circuit_breaker `PAYMENT`") && found[1].ends_with("did you mean `PAY_MENT`?"),
        "{found:?}"
    );
}

#[test]
fn a_misspelled_budget_is_reported() {
    let registry = registry();
    let settings = [("a", "gateway"), ("b", "gateway"), ("c", "gatewya")];
    let settings = settings.map(|(name, budget)| (Kind::Retry, name, "budget", text(budget)));
    registry.apply("file", &tables(&settings)).unwrap();
    for name in ["a", "b", "c"] {
        registry.retry(name);
    }
    let expected = "retry_budget: `gatewya` is used only by retry `c`; did you mean `gateway`?";
    assert_eq!(problems(&registry), [expected]);
}

#[test]
fn a_limiter_without_a_rate_is_reported() {
    let registry = registry();
    registry.rate_limiter("100/s");
    registry.rate_limiter("api");
    let found = problems(&registry);
    assert!(
        found[0].contains("`100/s` is used as a name") && found[0].contains("rate = \"100/s\""),
        "{found:?}"
    );
    assert!(found[1].contains("`api` has no rate"), "{found:?}");
    for name in ["100/s", "api"] {
        let config = rate_limit::Config::default().rate("1/s".parse::<Rate>().unwrap());
        registry.rate_limiter(name).reconfigure(config).unwrap();
    }
    assert_eq!(problems(&registry), [""; 0]);
    registry.hedge("50ms");
    registry.retry("3");
    assert_eq!(
        problems(&registry),
        ["hedge: `50ms` is used as a component name but looks like a duration; name the setting it is for"]
    );
}

#[test]
fn settings_that_a_timeout_makes_ineffective_are_reported() {
    // T127
    let (registry, second) = (registry(), Duration::from_secs(1));
    registry.timeout("t").reconfigure(timeout::Config::default().total(second).attempt(second / 2)).unwrap();
    registry.retry("r").reconfigure(retry::Config::default().base(4 * second)).unwrap();
    registry.hedge("h").reconfigure(hedge::Config::default().after(second / 2)).unwrap();
    let queue = bulkhead::Config::default().max_queue(3).max_wait(2 * second);
    registry.bulkhead("b").reconfigure(queue).unwrap();
    let rate = rate_limit::Config::default().rate("1/s".parse::<Rate>().unwrap()).max_wait(2 * second);
    registry.rate_limiter("l").reconfigure(rate).unwrap();
    registry
        .circuit_breaker("c")
        .reconfigure(circuit_breaker::Config::default().slow_call(2 * second))
        .unwrap();
    let pipeline = registry.pipeline("op").timeout("t").retry("r").hedge("h").bulkhead("b").rate_limit("l");
    pipeline.circuit_breaker("c").build();
    let found = problems(&registry);
    let about = |kind: &str, what: &str| {
        found.iter().any(|problem| problem.starts_with(kind) && problem.contains(what))
    };
    assert!(about("retry: `r`", "starts after at least 2s"), "{found:#?}");
    assert!(about("hedge: `h`", "the first hedge starts after 500ms"), "{found:#?}");
    assert!(
        about("bulkhead: `b`", "max_wait = 2s") && about("rate_limit: `l`", "max_wait = 2s"),
        "{found:#?}"
    );
    assert!(about("circuit_breaker: `c`", "slow_call = 2s"), "{found:#?}");
    registry.timeout("t").reconfigure(timeout::Config::default().total(10 * second)).unwrap();
    assert_eq!(problems(&registry), [""; 0]);
}

#[test]
fn a_retry_that_cannot_happen_is_refused() {
    let (registry, seconds) = (registry(), Duration::from_secs);
    let retry = registry.retry("r");
    let refused = |config: retry::Config| retry.reconfigure(config).unwrap_err().problems()[0].field;
    let base = |span| retry::Config::default().base(seconds(span)).jitter(Ratio::ZERO);
    assert_eq!(refused(base(2).max_elapsed(seconds(1))), "max_elapsed");
    assert_eq!(refused(base(1).max_elapsed(seconds(1))), "max_elapsed");
    assert_eq!(refused(base(30).max_delay(seconds(5))), "max_delay");
    assert_eq!(refused(retry::Config::default().base(Duration::MAX)), "base");
    retry.reconfigure(base(2).jitter(Ratio::HALF).max_elapsed(seconds(2))).unwrap();
    retry.reconfigure(retry::Config::default().max_delay(Duration::from_millis(1))).unwrap();
    let settings = [
        (Kind::Retry, "r", "base", text("2s")),
        (Kind::Retry, "r", "jitter", Raw::Integer(0)),
        (Kind::Retry, "r", "max_elapsed", text("1s")),
    ];
    let refused = self::registry().apply("file", &tables(&settings)).unwrap_err();
    assert!(
        refused[0].to_string().contains("more than 2s, the shortest delay before the first retry"),
        "{}",
        refused[0]
    );
}

#[test]
fn a_budget_that_never_has_a_token_is_reported() {
    let registry = registry();
    let empty = [
        (Kind::Retry, "r", "budget_ratio", Raw::Integer(0)),
        (Kind::Retry, "r", "budget_reserve", Raw::Integer(0)),
        (Kind::RetryBudget, "b", "ratio", Raw::Integer(0)),
        (Kind::RetryBudget, "b", "reserve", Raw::Integer(0)),
        (Kind::Hedge, "h", "budget_ratio", Raw::Integer(0)),
        (Kind::Hedge, "h", "budget_reserve", Raw::Integer(0)),
    ];
    registry.apply("file", &tables(&empty)).unwrap();
    let (retry, _, _) = (registry.retry("r"), registry.retry_budget("b"), registry.hedge("h"));
    let found = problems(&registry);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("retry: `r`: ratio = 0 and reserve = 0"), "{found:?}");
    retry.reconfigure(retry::Config::default().budget_ratio(Ratio::ZERO)).unwrap();
    assert_eq!(problems(&registry).len(), 2, "the reserve provides tokens");
}

#[test]
fn a_long_base_delay_raises_the_longest_delay() {
    let time = ManualClock::new();
    let retry = Registry::with_clock(time.clock()).retry("r");
    let config = retry::Config::default().base(Duration::from_secs(30)).jitter(Ratio::ZERO);
    retry.reconfigure(config.max(1)).unwrap();
    let before = time.clock().now();
    retry.call(|| None::<u32>);
    assert_eq!(time.clock().now().since(before), Duration::from_secs(30));
}

/// An annotated function with its own registry and these stages.
fn site(line: u32, stages: &'static [StageUse]) -> &'static Site {
    let meta = SiteMeta {
        retry_when: false,
        breaker_when: false,
        function: "f",
        module: "overrides_tests",
        file: "overrides_tests.rs",
        line,
        inside: || "f",
        name: Some("f"),
        asynchronous: false,
        idempotent: false,
        own_registry: true,
        stages,
        levels: &[],
        keeps: false,
    };
    Box::leak(Box::new(Site::new(meta)))
}

#[test]
fn a_file_can_complete_settings_of_a_function_that_was_not_called_yet() {
    const WAITS: &[StageUse] = &[StageUse {
        kind: Kind::Bulkhead,
        name: Some("completed"),
        settings: &[Setting { field: "max_wait", value: Value::Duration(Duration::from_secs(1)) }],
    }];
    // The link-time list is not available in this test; building the pipeline registers the site.
    let site = site(1, WAITS);
    site.pipeline_or(|| Registry::new().pipeline("elsewhere").build());
    let settings = tables(&[(Kind::Bulkhead, "completed", "max_queue", Raw::Integer(1))]);
    for exists_before in [false, true] {
        let registry = registry();
        if exists_before {
            registry.bulkhead("completed");
        }
        registry.apply("file", &settings).unwrap();
        site.pipeline_in(&registry);
        let config = registry.bulkhead("completed").config();
        assert_eq!((config.max_queue, config.max_wait), (1, Some(Duration::from_secs(1))), "{exists_before}");
        assert_eq!(problems(&registry), [""; 0]);
    }
    // Without such a function the settings are refused, and so are settings that contradict it.
    let other = tables(&[(Kind::Bulkhead, "without a function", "max_queue", Raw::Integer(1))]);
    assert!(registry().apply("file", &other).is_err());
    let wrong = tables(&[(Kind::Bulkhead, "completed", "max_concurrent", Raw::Integer(0))]);
    assert!(registry().apply("file", &wrong).is_err());
}

#[test]
fn settings_that_stay_invalid_without_the_function_are_reported() {
    const WAITS: &[StageUse] = &[StageUse {
        kind: Kind::Bulkhead,
        name: Some("never completed"),
        settings: &[Setting { field: "max_wait", value: Value::Duration(Duration::from_secs(1)) }],
    }];
    site(2, WAITS).pipeline_or(|| Registry::new().pipeline("elsewhere").build());
    let registry = registry();
    registry
        .apply("file", &tables(&[(Kind::Bulkhead, "never completed", "max_queue", Raw::Integer(1))]))
        .unwrap();
    assert_eq!(registry.bulkhead("never completed").config().max_queue, 0);
    assert!(problems(&registry)[0].contains("it needs `max_wait`"), "{:?}", problems(&registry));
}

#[test]
fn external_settings_switch_all_protection() {
    let registry = registry();
    let enabled_after = |enabled: Option<bool>| {
        let mut tables = Tables::default();
        enabled.into_iter().for_each(|enabled| tables.set_enabled(enabled));
        registry.apply("file", &tables).unwrap();
        registry.is_enabled()
    };
    assert!(!enabled_after(Some(false)));
    assert!(registry.to_toml().starts_with("enabled = false\n"));
    assert!(enabled_after(None));
    registry.set_enabled(false);
    assert!(!enabled_after(Some(true)), "the run-time value overrides");
    assert!(!enabled_after(Some(false)));
    assert!(enabled_after(Some(true)), "until both agree");
}

#[test]
fn each_kind_can_be_switched_off_or_reports_why_not() {
    for kind in Kind::all() {
        let outcome = crate::component::by_kind::read(kind, "enabled", &Raw::Flag(false));
        match kind {
            Kind::Fallback | Kind::Idempotency | Kind::Health | Kind::ConfigSource | Kind::Store => {
                assert!(outcome.unwrap_err().contains("cannot be disabled"));
            }
            _ => assert_eq!(outcome, Ok(("enabled", Value::Flag(false))), "{kind}"),
        }
    }
}

#[test]
fn a_component_that_is_switched_off_admits_every_call() {
    let kinds = [
        Kind::CircuitBreaker,
        Kind::Retry,
        Kind::Bulkhead,
        Kind::Timeout,
        Kind::RateLimit,
        Kind::LoadShed,
        Kind::Hedge,
        Kind::Coalesce,
    ];
    for made_first in [false, true] {
        let registry = registry();
        if made_first {
            tighten(&registry);
        }
        let off = kinds.map(|kind| (kind, "x", "enabled", Raw::Flag(false)));
        registry.apply("file", &tables(&off)).unwrap();
        if !made_first {
            tighten(&registry);
        }
        let pipeline = registry.pipeline("op").circuit_breaker("x").retry("x").bulkhead("x").rate_limit("x");
        let pipeline = pipeline.load_shed("x").timeout("x").build();
        let (bulkhead, shedder) = (registry.bulkhead("x"), registry.load_shedder("x"));
        let _permits = (bulkhead.try_acquire(), shedder.try_acquire());
        for _ in 0..20 {
            assert_eq!(pipeline.call(|| None::<u32>), None);
        }
        assert_eq!(registry.circuit_breaker("x").state(), circuit_breaker::State::Disabled);
        assert_eq!(registry.retry("x").stats().retries, 0);
        assert_eq!(registry.stats().operations["op"].failed, 20, "{}", registry.stats());
        registry.circuit_breaker("x").resume();
        registry.reset(Kind::CircuitBreaker, "x").unwrap();
        assert_eq!(registry.circuit_breaker("x").state(), circuit_breaker::State::Disabled);
        registry.apply("file", &Tables::default()).unwrap();
        assert_eq!(registry.circuit_breaker("x").state(), circuit_breaker::State::Closed);
        assert_eq!(pipeline.call(|| Some(1)), None, "the permit is taken");
    }
}

/// One call at a time, one call per hour, and a circuit that opens at the first failure.
fn tighten(registry: &Registry) {
    let keep = |enabled: bool| enabled;
    let breaker = registry.circuit_breaker("x");
    let enabled = keep(breaker.config().enabled);
    breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(1).enabled(enabled)).unwrap();
    let bulkhead = registry.bulkhead("x");
    let enabled = keep(bulkhead.config().enabled);
    bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(1).enabled(enabled)).unwrap();
    let limiter = registry.rate_limiter("x");
    let enabled = keep(limiter.config().enabled);
    let config = rate_limit::Config::default().rate("1/h".parse::<Rate>().unwrap());
    limiter.reconfigure(config.enabled(enabled)).unwrap();
    let shedder = registry.load_shedder("x");
    let enabled = keep(shedder.config().enabled);
    let config = crate::load_shed::Config::default().adaptive(false).max_in_flight(1);
    shedder.reconfigure(config.enabled(enabled)).unwrap();
}

#[test]
fn too_many_names_are_reported_once() {
    let registry = registry();
    let mut events = registry.subscribe();
    for number in 0..shelf::MOST_NAMES + 50 {
        registry.timeout(&number.to_string());
    }
    let published: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
    let first = EventKind::TooManyNames { name: shelf::MOST_NAMES.to_string() };
    assert_eq!(published.iter().map(|event| &event.what).collect::<Vec<_>>(), [&first]);
    assert_eq!(registry.stats().overflowed_names[&Kind::Timeout], 50);
    assert!(problems(&registry)[0].contains("(50 times so far)"), "{:?}", problems(&registry));
}
