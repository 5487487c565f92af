//! Checks the tables of `resilient-options`: every attribute option takes effect, every setting can be loaded from a
//! settings file, and every default is the effective one.
//!
//! For a new row, use its option in one of the functions below.

use std::collections::BTreeSet;
use std::io;

use resilient_options::{ARGUMENTS, TABLES, Takes};
use resilient_runtime::config::Tables;
use resilient_runtime::settings::{Effective, Origin, Raw, Value};
use resilient_runtime::{Component, Kind, Registry, Rejection, RejectionKind, registry, resilient};

/// Operation names of the functions below.
const OPERATIONS: &[&str] = &[
    "options breaker",
    "options share",
    "options retry",
    "options shared budget",
    "options bulkhead",
    "options adaptive bulkhead",
    "options threads",
    "options timeout",
    "options limiter",
    "options hedge",
    "options percentile",
    "options coalesce",
    "options shed",
    "options once",
    "options levels",
    "options kept",
];

#[resilient(
    name = "options breaker",
    crate = ::resilient_runtime,
    map_err = |rejection: Rejection| io::Error::other(rejection.to_string()),
    failure = |result: &io::Result<u32>| result.as_ref().is_ok_and(|value| *value > 9),
    circuit_breaker(
        "options",
        window = "20s",
        failure_rate = 0.4,
        min_calls = 10,
        low_volume_failures = 4,
        failure_threshold = 7,
        slow_call = "1s",
        slow_rate = 0.7,
        slow_in_flight = true,
        open_for = "4s",
        open_max = "50s",
        open_jitter = 0.4,
        probe_lease = "50s",
        half_open_calls = 4,
        success_threshold = 3,
        store = "elsewhere",
        coordinate = enforce,
        quorum = 3,
        scope = "zone-a",
        max_shared_open = "2m",
        poll = "2s",
        when = |error: &io::Error| error.kind() != io::ErrorKind::NotFound
    )
)]
fn breaker() -> io::Result<u32> {
    Ok(1)
}

#[resilient(name = "options share", circuit_breaker("share", store = "elsewhere", quorum_share = 0.4))]
fn share() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(registry = registry(), retry(max = 1), chaos = "options")]
fn elsewhere() -> io::Result<u32> {
    Ok(1)
}

#[resilient(name = "options retry", clone(text), retry(
    max = 2,
    backoff = linear,
    base = "20ms",
    factor = 3,
    max_delay = "1s",
    jitter = 0.2,
    max_elapsed = "9s",
    max_retry_after = "30s",
    budget(ratio = 0.2, reserve = 2, free = 10),
    when = |_: &io::Error| true
))]
fn retry(text: String) -> io::Result<String> {
    Ok(text)
}

#[resilient(name = "options shared budget", retry(attempts = 4, budget = "options"))]
fn shared_budget() -> io::Result<u32> {
    Ok(1)
}

#[resilient(
    name = "options bulkhead",
    priority = high,
    bulkhead("options", max_concurrent = 9, max_queue = 2, max_wait = "1s", reserve(critical = 1, high = 1))
)]
fn bulkhead() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(
    name = "options adaptive bulkhead",
    bulkhead("options adaptive", adaptive(min = 2, max = 9, initial = 3))
)]
fn adaptive_bulkhead() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(name = "options threads", bulkhead("options threads", threads = 2, max_queue = 1))]
fn threads() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(
    name = "options timeout",
    timeout(
        total = "50s",
        attempt = "2s",
        connect = "1s",
        read = "20s",
        adaptive(percentile = 90, factor = 2, min = "60ms", max = "20s", window = "50s", min_samples = 50)
    )
)]
async fn timeout() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(name = "options limiter", rate_limit(
    "options",
    rate = "10/s",
    burst = 9,
    algorithm = token_bucket,
    max_wait = "1s",
    max_queue = 9,
    max_keys = 99,
    store = "options",
    mode = exact,
    on_store_failure = open,
    key = user,
    weight = 1
))]
fn limiter(user: u32) -> Result<u32, Rejection> {
    Ok(user)
}

#[resilient(
    name = "options hedge",
    idempotent,
    hedge(after = "20ms", min_delay = "2ms", max = 2, budget(ratio = 0.2, reserve = 2))
)]
async fn hedge() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(name = "options percentile", idempotent, hedge(percentile = 90))]
async fn percentile() -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(
    name = "options coalesce",
    coalesce("options", key = id, share_errors = false, max_wait = "1s", max_flights = 9)
)]
async fn coalesce(id: u32) -> Result<u32, Rejection> {
    Ok(id)
}

#[resilient(name = "options shed", load_shed(
    "options",
    max_in_flight = 99,
    adaptive = true,
    min_in_flight = 9,
    initial_in_flight = 19,
    share(low = 0.4, normal = 0.6, high = 0.7),
    target_delay = "10ms",
    target_latency = "20ms",
    interval = "200ms",
    throttle(factor = 3, window = "1m", floor = 0.2, min_calls = 9),
    retry_after = "2s",
    arrived_at = arrived_at
))]
fn shed(arrived_at: resilient_runtime::clock::Instant) -> Result<u32, Rejection> {
    Ok(1)
}

#[resilient(name = "options once", idempotent(
    "options",
    key = id,
    fingerprint = id,
    ttl = "3d",
    lease = "2m",
    on_unknown = reexecute,
    max_wait = "1s",
    keep_errors = false,
    store = "options",
    on_store_failure = open,
    store_timeout = "2s",
    max_value = 99
))]
fn once(id: u32) -> Result<u32, Rejection> {
    Ok(id)
}

/// A transaction of a database driver.
struct Transaction(u32);

impl resilient_runtime::idempotency::StoreTransaction for Transaction {
    type Connection = u32;

    fn connection(&mut self) -> &mut u32 {
        &mut self.0
    }
}

#[resilient(idempotent("options in a transaction", key = id, store = "memory", transaction = tx))]
async fn in_transaction(tx: &mut Transaction, id: u32) -> Result<u32, Rejection> {
    tx.0 += id;
    Ok(tx.0)
}

#[tokio::test]
async fn a_store_that_cannot_join_the_transaction_does_not_run_the_body() {
    use resilient_runtime::idempotency::MemoryStore;
    let memory = MemoryStore::new(registry().clock().clone(), 9);
    registry().use_store("memory", memory);
    let mut tx = Transaction(0);
    let rejection = in_transaction(&mut tx, 7).await.unwrap_err();
    assert!(rejection.to_string().contains("the store `memory` cannot join a transaction"), "{rejection}");
    assert_eq!(tx.0, 0);
}

#[resilient(name = "options levels", fallback(
    replica(Ok(1), timeout = "1s"),
    distributed_cache(Ok(1), timeout = "1s"),
    local_cache(Ok(1), timeout = "1s"),
    backup(Ok(1), timeout = "1s"),
    default = Ok(1),
    level_timeout = "2s",
    grace = "1ms",
    max_concurrent = 9
))]
async fn levels() -> io::Result<u32> {
    Ok(1)
}

#[resilient(
    name = "options kept",
    fallback(
        distributed_cache(
            store = "memory",
            key = id,
            max_age = "1d",
            reread_after = "2s",
            remember_absent = "5s",
            max_bytes = 99,
            max_entries = 99
        ),
        local_cache(max_age = "1d", key = id, max_entries = 99),
        default = Ok(1)
    )
)]
fn kept(id: u32) -> io::Result<u32> {
    Ok(id)
}

/// The settings that the attributes above set.
fn set_by_attributes() -> BTreeSet<(Kind, &'static str)> {
    let explained =
        OPERATIONS.iter().map(|name| registry().explain(name).expect("the function is annotated above"));
    let stages = explained.flat_map(|explanation| explanation.stages);
    stages
        .flat_map(|stage| {
            let set = stage.settings.into_iter().filter(|setting| setting.origin == Origin::Attribute);
            set.map(move |setting| (stage.kind, setting.field))
        })
        .collect()
}

#[test]
fn every_option_of_the_attribute_takes_effect() {
    let set = set_by_attributes();
    let source = include_str!("options.rs");
    for table in TABLES.iter().filter(|table| !table.argument.is_empty()) {
        let kind: Kind = table.kind.parse().expect("a table has the name of its kind");
        for row in table.settings.iter().filter(|row| !row.option.is_empty()) {
            let takes_effect = if row.field.is_empty() {
                // The option takes code. It is checked by compiling the functions.
                source.contains(&format!("{} = ", row.option)) || source.contains(&format!("{}(", row.option))
            } else {
                set.contains(&(kind, row.field))
            };
            assert!(takes_effect, "use `{}` of `{}` in a function above", row.option, table.argument);
        }
    }
    for argument in ARGUMENTS {
        assert!(source.contains(argument.name), "use `{}` in a function above", argument.name);
    }
}

#[test]
fn every_setting_except_enabled_is_an_option_of_the_attribute() {
    for table in TABLES.iter().filter(|table| !table.argument.is_empty()) {
        for row in table.settings.iter().filter(|row| row.option.is_empty()) {
            assert_eq!(row.field, "enabled", "`{}` of `{}` is not an option", row.field, table.kind);
        }
    }
}

/// A valid value, as in a settings file.
fn sample(takes: Takes) -> Raw {
    let time = |nanos: u64| Raw::Text(format!("{nanos}ns"));
    match takes {
        Takes::Duration { max, .. } | Takes::Limit { max } => time(max),
        Takes::Count { min, .. } => Raw::Integer(i64::try_from(min).expect("a small number")),
        Takes::Ratio { .. } => Raw::Text("50%".into()),
        Takes::Number { min, .. } => Raw::Float(min + 1.0),
        Takes::Word(words) => Raw::Text(words[words.len() - 1].into()),
        Takes::Window => Raw::Text("10s".into()),
        Takes::Rate => Raw::Text("10/s".into()),
        Takes::Name | Takes::Secret => Raw::Text("x".into()),
        Takes::Flag => Raw::Flag(true),
        Takes::Code | Takes::Group => Raw::Unset,
    }
}

#[test]
fn every_setting_can_be_loaded_from_a_settings_file() {
    for table in TABLES {
        let kind: Kind = table.kind.parse().expect("a table has the name of its kind");
        for row in table.settings.iter().filter(|row| !row.field.is_empty()) {
            let mut tables = Tables::default();
            let loaded = tables.set(kind, Some("options"), row.field, &sample(row.takes));
            assert_eq!(loaded, Ok(()), "`{}` of `{}`", row.field, table.kind);
        }
    }
}

#[test]
fn every_documented_default_is_effective() {
    let registry = Registry::new();
    let effective: [(Kind, Vec<Effective>); 13] = [
        (Kind::CircuitBreaker, registry.circuit_breaker("x").effective()),
        (Kind::Retry, registry.retry("x").effective()),
        (Kind::Bulkhead, registry.bulkhead("x").effective()),
        (Kind::Timeout, registry.timeout("x").effective()),
        (Kind::RateLimit, registry.rate_limiter("x").effective()),
        (Kind::Hedge, registry.hedge("x").effective()),
        (Kind::Coalesce, registry.coalesce("x").effective()),
        (Kind::Fallback, registry.fallback("x").effective()),
        (Kind::LoadShed, registry.load_shedder("x").effective()),
        (Kind::Idempotency, registry.idempotency("x").effective()),
        (Kind::RetryBudget, registry.retry_budget("x").effective()),
        (Kind::Health, registry.health("x").effective()),
        (Kind::Alert, registry.alert("x").effective()),
    ];
    for (kind, settings) in effective {
        let table = TABLES.iter().find(|table| table.kind == kind.as_str()).expect("each kind has a table");
        assert!(!settings.is_empty());
        for Effective { field, value, origin, .. } in settings {
            assert_eq!(origin, Origin::Default);
            let row = table.field(field).expect("each field has a row");
            assert_eq!(value, Value::from(row.default), "`{field}` of `{kind}`");
        }
    }
}

#[tokio::test]
async fn the_annotated_functions_work() {
    assert_eq!(breaker().unwrap(), 1);
    assert_eq!(share(), Ok(1));
    assert_eq!(retry("x".into()).unwrap(), "x");
    assert_eq!(shared_budget().unwrap(), 1);
    assert_eq!(bulkhead(), Ok(1));
    assert_eq!(adaptive_bulkhead(), Ok(1));
    assert_eq!(threads(), Ok(1));
    assert_eq!(timeout().await, Ok(1));
    assert_eq!(limiter(1), Ok(1));
    assert_eq!(hedge().await, Ok(1));
    assert_eq!(percentile().await, Ok(1));
    assert_eq!(coalesce(1).await, Ok(1));
    assert_eq!(shed(registry().clock().now()), Ok(1));
    assert_eq!(levels().await.unwrap(), 1);
    assert_eq!(kept(1).unwrap(), 1);
    assert_eq!(elsewhere().unwrap(), 1);
    let refused = once(1).expect_err("the registry has no store of this name");
    assert_eq!(refused.kind(), RejectionKind::NoStore);
}
