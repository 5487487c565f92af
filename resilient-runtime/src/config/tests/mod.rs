//! Tests of files and variables, valid and invalid.

mod faults;
mod files;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::circuit_breaker::{self, State};
use crate::clock::ManualClock;
use crate::component::{Component, Kind};
use crate::registry::Registry;
use crate::settings::{Origin, Raw, Value};

/// A directory that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("resilient-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NONE: [(&str, &str); 0] = [];

fn file(text: &str) -> (Folder, ConfigFile) {
    let folder = Folder::new();
    let path = folder.write("resilient.toml", text);
    (folder, ConfigFile::new(path).variables(NONE))
}

fn registry() -> Registry {
    Registry::with_clock(ManualClock::new().clock())
}

fn origin(registry: &Registry, name: &str, field: &str) -> (Value, Origin) {
    let effective = registry.circuit_breaker(name).effective();
    let found = effective.into_iter().find(|effective| effective.field == field).unwrap();
    (found.value, found.origin)
}

fn seconds(seconds: u64) -> Value {
    Value::Duration(Duration::from_secs(seconds))
}

const FILE: &str = r#"
[circuit_breaker.default]
open_for = "10s"
min_calls = 7

[circuit_breaker."pay.ment"]
open_for = "20s"
failure_rate = "30%"
"#;

#[test]
fn the_later_layer_wins_and_every_value_has_its_origin() {
    // T123
    let (_folder, file) = file(FILE);
    let registry = registry();
    let early = registry.circuit_breaker("pay.ment");
    let variables = [("RESILIENT__CIRCUIT_BREAKER__PAY_MENT__OPEN_FOR", "30s"), ("OTHER__X", "y")];
    let changed = file.clone().variables(variables).apply(&registry).unwrap();
    assert_eq!(changed, 1);
    assert_eq!(origin(&registry, "pay.ment", "open_for"), (seconds(30), Origin::Environment));
    assert_eq!(origin(&registry, "pay.ment", "failure_rate"), (Value::Ratio(0.3), Origin::File));
    assert_eq!(origin(&registry, "pay.ment", "min_calls"), (Value::Count(7), Origin::FileDefault));
    assert_eq!(origin(&registry, "pay.ment", "half_open_calls").1, Origin::Default);
    assert_eq!(
        origin(&registry, "later", "open_for"),
        (seconds(10), Origin::FileDefault),
        "for components created later"
    );

    let config = early.config().as_ref().clone().open_for(Duration::from_secs(40));
    early.reconfigure(config).unwrap();
    assert_eq!(origin(&registry, "pay.ment", "open_for"), (seconds(40), Origin::Runtime));
    file.apply(&registry).unwrap();
    assert_eq!(
        origin(&registry, "pay.ment", "open_for"),
        (seconds(40), Origin::Runtime),
        "the run-time value stays"
    );
    registry.clear_overrides(Kind::CircuitBreaker, "pay.ment").unwrap();
    assert_eq!(origin(&registry, "pay.ment", "open_for"), (seconds(20), Origin::File));
}

#[test]
fn a_removed_setting_reverts_to_its_previous_value() {
    let (folder, file) = file(FILE);
    let registry = registry();
    file.apply(&registry).unwrap();
    registry.circuit_breaker("pay.ment");
    folder.write("resilient.toml", "# nothing");
    assert_eq!(file.apply(&registry).unwrap(), 1);
    assert_eq!(origin(&registry, "pay.ment", "open_for"), (seconds(5), Origin::Default));
    assert_eq!(file.apply(&registry).unwrap(), 0, "nothing changes");
}

#[test]
fn state_and_permits_survive() {
    // T117
    let (_folder, file) = file("[circuit_breaker.a]\nmin_calls = 9\n[bulkhead.b]\nmax_concurrent = 1\n");
    let registry = registry();
    let (breaker, bulkhead) = (registry.circuit_breaker("a"), registry.bulkhead("b"));
    let opens = circuit_breaker::Config::default().failure_threshold(1);
    breaker.reconfigure(opens).unwrap();
    assert!(breaker.call(|| None::<u32>).is_none());
    let permits = [bulkhead.try_acquire().unwrap(), bulkhead.try_acquire().unwrap()];
    file.apply(&registry).unwrap();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().limit), (2, 1));
    drop(permits);
    assert_eq!(bulkhead.stats().in_use, 0);
    assert!(bulkhead.try_acquire().is_ok());
}

#[test]
fn an_invalid_file_changes_nothing_is_reported_and_the_next_valid_one_works() {
    // T118
    let (folder, file) = file(FILE);
    let registry = registry();
    file.apply(&registry).unwrap();
    let mut events = registry.subscribe();
    folder.write("resilient.toml", "[circuit_breaker.default]\nopen_for = \"1s\"\nmin_calls = \"many\"\n");
    let error = file.apply(&registry).unwrap_err();
    assert!(error.to_string().contains("resilient.toml:3:1: `min_calls`"), "{error}");
    assert_eq!(origin(&registry, "x", "open_for"), (seconds(10), Origin::FileDefault));
    let source = registry.config_source(&file.path().display().to_string());
    assert_eq!((source.stats().applied, source.stats().refused), (1, 1));
    assert_eq!(source.stats().problem.unwrap(), error.to_string());
    assert_eq!(events.try_recv().unwrap().kind, Kind::ConfigSource);
    folder.write("resilient.toml", "[circuit_breaker.default]\nopen_for = \"1s\"\n");
    file.apply(&registry).unwrap();
    assert_eq!(origin(&registry, "x", "open_for"), (seconds(1), Origin::FileDefault));
    assert_eq!(source.stats().problem, None);
}

#[test]
fn a_setting_can_be_changed_by_name() {
    let registry = registry();
    registry.circuit_breaker("a");
    let change =
        |field: &str, raw: Raw| registry.set_overrides(Kind::CircuitBreaker, "a", &[(field.into(), raw)]);
    change("open_for", Raw::Text("7s".into())).unwrap();
    assert_eq!(origin(&registry, "a", "open_for"), (seconds(7), Origin::Runtime));
    assert!(change("open_fro", Raw::Integer(1)).unwrap_err().to_string().contains("did you mean `open_for`"));
    assert!(change("open_for", Raw::Text("0s".into())).unwrap_err().to_string().contains("open_for"));
    assert!(
        registry
            .set_overrides(Kind::CircuitBreaker, "b", &[])
            .unwrap_err()
            .to_string()
            .contains("there is no")
    );
    assert_eq!(origin(&registry, "a", "open_for").0, seconds(7));
}

#[test]
fn effective_settings_round_trip_through_a_file() {
    let (_folder, file) = file(FILE);
    let registry = registry();
    registry.circuit_breaker("pay.ment");
    registry.circuit_breaker("default");
    registry.timeout("a \"b\"\\");
    registry.retry("a").reconfigure(crate::retry::Config::default().factor(1e20f64.recip() + 1.5)).unwrap();
    registry.set_overrides(Kind::Timeout, "a \"b\"\\", &[("read".into(), Raw::Unset)]).unwrap();
    registry.rate_limiter("api");
    registry.set_overrides(Kind::RateLimit, "api", &[("rate".into(), Raw::Text("100/s".into()))]).unwrap();
    file.apply(&registry).unwrap();
    let text = registry.to_toml();
    assert!(text.contains("[circuit_breaker.\"pay.ment\"]\n"), "{text}");
    assert!(text.contains("\nopen_for = \"20s\"  # file\n"), "{text}");

    let (_folder, written) = super::tests::file(&text);
    let other = self::registry();
    written.apply(&other).unwrap();
    let values = |registry: &Registry| {
        let without = |effective: Vec<crate::settings::Effective>| {
            effective.into_iter().map(|set| (set.field, set.value)).collect::<Vec<_>>()
        };
        [
            without(registry.circuit_breaker("pay.ment").effective()),
            without(registry.timeout("a \"b\"\\").effective()),
            without(registry.retry("a").effective()),
            without(registry.rate_limiter("api").effective()),
        ]
    };
    assert_eq!(values(&other), values(&registry));
}

#[test]
fn every_kind_lists_all_its_settings() {
    let registry = registry();
    registry.circuit_breaker("x");
    registry.retry("x");
    registry.retry_budget("x");
    registry.bulkhead("x");
    registry.timeout("x");
    registry.fallback("x");
    registry.rate_limiter("x");
    registry.load_shedder("x");
    registry.hedge("x");
    registry.coalesce("x");
    registry.idempotency("x");
    registry.health("x");
    registry.alert("x");
    registry.store("x");
    let text = registry.to_toml();
    for kind in Kind::all().filter(|kind| *kind != Kind::ConfigSource) {
        let (_, table) =
            text.split_once(&format!("[{kind}.x]")).unwrap_or_else(|| panic!("no {kind}: {text}"));
        let table = table.split("\n[").next().unwrap_or_default();
        let settings =
            resilient_options::TABLES.iter().find(|table| table.kind == kind.as_str()).unwrap().settings;
        for field in settings.iter().map(|row| row.field).filter(|field| !field.is_empty()) {
            let is_listed = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{field} "));
            assert!(table.lines().any(is_listed), "{kind}: no `{field}` in {table}");
        }
    }
}

#[test]
fn the_explanation_of_a_pipeline_follows_the_file() {
    // T123
    let (folder, file) = file("[bulkhead.b]\nmax_concurrent = 3\n");
    let registry = registry();
    registry.pipeline("op").bulkhead("b").build();
    file.apply(&registry).unwrap();
    let explained = || registry.explain("op").unwrap().to_string();
    assert!(explained().contains("max_concurrent = 3  (file)"), "{}", explained());
    folder.write("resilient.toml", "[bulkhead.default]\nmax_concurrent = 4\n");
    file.apply(&registry).unwrap();
    assert!(explained().contains("max_concurrent = 4  (file default)"), "{}", explained());
}

#[test]
fn statistics_show_the_settings_in_effect_and_refusals() {
    let (folder, file) = file("[bulkhead.b]\nmax_concurrent = 3\n");
    let registry = registry();
    file.apply(&registry).unwrap();
    let stats = || registry.config_source(&file.path().display().to_string()).stats();
    let first = stats().digest;
    assert!(first.is_some());
    folder.write("resilient.toml", "[bulkhead.b]\nmax_concurrent = 0\n");
    file.apply(&registry).unwrap_err();
    assert_eq!(stats().digest, first, "the previous text is in effect");
    let shown = registry.stats().to_string();
    assert!(shown.contains("applied 1, refused 1") && shown.contains(":2:18: bulkhead `b`"), "{shown}");
    assert!(registry.validate().unwrap_err().to_string().contains("max_concurrent"));
}

#[test]
fn the_file_in_the_documentation_is_valid() {
    let page = include_str!("../../../../docs/configuration.md");
    let (_, after) = page.split_once("```toml\n#:schema").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    let (_folder, file) = file(&format!("#:schema{text}"));
    let registry = registry();
    file.apply(&registry).unwrap();
    assert_eq!(origin(&registry, "payment", "failure_rate"), (Value::Ratio(0.3), Origin::File));
    assert_eq!(origin(&registry, "payment", "open_for"), (seconds(10), Origin::FileDefault));
}

#[test]
fn the_schema_in_the_repository_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../resilient.schema.json");
    let mut now = serde_json::to_string_pretty(&schema()).unwrap();
    now.push('\n');
    if std::env::var_os("RESILIENT_SCHEMA").is_some_and(|value| value == "overwrite") {
        fs::write(path, &now).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == now,
        "update it with `RESILIENT_SCHEMA=overwrite cargo test -p resilient-runtime --all-features schema`"
    );
    let schema = schema();
    let open_for = &schema["properties"]["circuit_breaker"]["additionalProperties"]["properties"]["open_for"];
    assert!(
        open_for["description"].as_str().unwrap().len() > 10 && open_for["pattern"].is_string(),
        "{open_for}"
    );
}

#[test]
fn a_file_or_variable_turns_protection_off() {
    let (folder, file) = file("enabled = false\n[circuit_breaker.a]\nenabled = false\n");
    let registry = registry();
    let breaker = registry.circuit_breaker("a");
    file.apply(&registry).unwrap();
    assert!(!registry.is_enabled());
    assert_eq!(breaker.state(), State::Disabled);
    let on = file
        .clone()
        .variables([("RESILIENT__ENABLED", "true"), ("RESILIENT__CIRCUIT_BREAKER__A__ENABLED", "true")]);
    on.apply(&registry).unwrap();
    assert!(registry.is_enabled(), "the environment overrides the file");
    assert_eq!(breaker.state(), State::Closed);
    folder.write(
        "resilient.toml",
        "enabled = \"no\"\n[fallback.f]\nenabled = false\n[health.h]\nenabled = false\n",
    );
    let off =
        file.clone().variables([("RESILIENT__ENABLED", "no")]).apply(&registry).unwrap_err().to_string();
    let lines: Vec<_> = off.lines().collect();
    assert_eq!(lines.len(), 4, "{off}");
    assert!(
        lines[0].contains(":1:11: `enabled` turns all protection on or off; expected `true` or `false`"),
        "{off}"
    );
    assert!(
        off.contains("a fallback cannot be disabled") && off.contains("a health check cannot be disabled")
    );
    assert!(off.contains("RESILIENT__ENABLED: turns all protection on or off"), "{off}");
    assert!(registry.is_enabled(), "nothing has changed");
}

#[test]
fn a_file_can_turn_the_budget_off() {
    let (_folder, file) = file("[retry.a]\nbudget = \"off\"\nmax = 50\nbase = \"0s\"\n");
    let registry = registry();
    let retry = registry.retry("a");
    file.apply(&registry).unwrap();
    for _ in 0..2000 {
        retry.call(|| None::<u32>);
    }
    assert_eq!((retry.stats().retries, retry.stats().denied_by_budget), (100_000, 0));
    assert!(registry.stats().retry_budget.is_empty(), "`off` is not a name");
}
