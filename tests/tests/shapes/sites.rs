//! Annotated functions in the registry: sites, settings and explanations.

use resilient_runtime::{Component, Registry, registry, resilient};

use crate::E;

#[resilient(circuit_breaker("never called", failure_threshold = 7), timeout = "3s", name = "never called")]
#[allow(dead_code)]
async fn never_called() -> Result<u32, E> {
    Ok(1)
}

#[test]
fn a_function_is_listed_before_its_first_call() {
    let sites = registry().sites();
    let site = sites.iter().find(|site| site.operation == "never called").expect("it is listed");
    assert!(site.asynchronous && site.place.contains("sites.rs:"), "{site:?}");
    assert!(site.function.ends_with("sites::never_called"));
    assert_eq!(site.stats.calls, 0);
}

trait Listed {
    #[resilient(circuit_breaker = "listed")]
    #[allow(dead_code)]
    fn defaulted(&self) -> Option<u32> {
        Some(1)
    }
}

struct Generic<T>(T);

impl<T> Listed for Generic<T> {}

impl<T> Generic<T> {
    #[resilient(retry(max = 1), registry = Registry::new())]
    #[allow(dead_code)]
    fn of_its_own(&self) -> Option<&T> {
        Some(&self.0)
    }
}

#[resilient(bulkhead = "listed")]
#[allow(dead_code)]
fn r#raw() -> Option<u32> {
    Some(1)
}

#[test]
fn each_function_is_listed_once_even_if_it_is_never_called() {
    let listed = |end: &str| registry().sites().iter().filter(|site| site.function.ends_with(end)).count();
    assert_eq!((listed("sites::defaulted"), listed("sites::raw"), listed("r#raw")), (1, 1, 0));
    // A function with its own registry is listed in that registry.
    assert_eq!(listed("sites::of_its_own"), 0);
}

#[test]
fn a_component_created_directly_has_the_settings_of_the_attribute() {
    assert_eq!(registry().circuit_breaker("never called").config().failure_threshold, Some(7));
}

#[test]
fn explain_shows_the_origin_of_each_value() {
    // T123
    let text = registry().explain("never called").expect("it is an operation").to_string();
    assert!(text.contains("failure_threshold = 7  (attribute)"), "{text}");
    assert!(text.contains("open_for = 5s  (default)"), "{text}");
    assert!(text.contains("total = 3s  (attribute)"), "{text}");
    assert!(registry().explain("no such operation").is_none());
}

#[resilient(bulkhead("disputed", max_concurrent = 3), name = "first")]
fn first() -> Option<u32> {
    Some(1)
}

#[resilient(bulkhead("disputed", max_concurrent = 9), name = "second")]
fn second() -> Option<u32> {
    Some(2)
}

#[test]
fn of_two_conflicting_attributes_the_first_in_the_source_applies_with_a_warning() {
    // T119: the order of the first calls does not matter
    assert_eq!((second(), first()), (Some(2), Some(1)));
    assert_eq!(registry().bulkhead("disputed").config().max_concurrent, 3);
    let said = |text: &str| text.contains("bulkhead `disputed`") && text.contains("sites.rs");
    assert!(
        resilient_runtime::stats().conflicts.iter().any(|line| said(line)),
        "{:?}",
        resilient_runtime::stats().conflicts
    );
    let error = registry().validate().expect_err("it is a problem");
    assert!(error.problems().iter().any(|line| said(line)), "{error}");
}

#[test]
fn run_time_settings_override_the_attribute() {
    // T123
    #[resilient(registry = registry, bulkhead("x", max_concurrent = 5, max_queue = 2, max_wait = "1s"))]
    fn call(registry: &Registry) -> Option<u32> {
        Some(1)
    }
    let registry = Registry::new();
    let bulkhead = registry.bulkhead("x");
    bulkhead.reconfigure(resilient_runtime::bulkhead::Config::default().max_concurrent(40)).unwrap();
    assert_eq!(call(&registry), Some(1));
    let config = bulkhead.config();
    assert_eq!((config.max_concurrent, config.max_queue), (40, 2));
    let origins: Vec<_> = bulkhead.effective().iter().map(|set| set.origin.to_string()).collect();
    assert_eq!(origins[..2], ["run-time", "attribute"]);
}

#[tokio::test]
async fn annotated_functions_skip_their_stages_while_protection_is_disabled() {
    // T124
    #[resilient(
        registry = registry, circuit_breaker("off", failure_threshold = 1), retry(max = 3, base = "0ms"), idempotent,
        hedge(after = "50ms"), bulkhead("off", max_concurrent = 1), timeout = "5s", fallback = Ok(attempts.get() + 100)
    )]
    async fn call(registry: &Registry, attempts: &std::cell::Cell<u32>) -> Result<u32, E> {
        attempts.set(attempts.get() + 1);
        Err(E::Bad)
    }
    #[resilient(registry = registry, bulkhead("off, too", threads = 1), timeout = "5s")]
    fn in_pool(registry: Registry) -> Result<Option<String>, E> {
        Ok(std::thread::current().name().map(str::to_owned))
    }
    let (registry, attempts) = (Registry::new(), std::cell::Cell::new(0));
    registry.set_enabled(false);
    assert_eq!(call(&registry, &attempts).await.unwrap(), 101, "one attempt and the fallback");
    let breaker = registry.circuit_breaker("off");
    assert_eq!((breaker.stats().window.calls, registry.bulkhead("off").stats().in_use), (0, 0));
    let here = std::thread::current().name().map(str::to_owned);
    assert_eq!(in_pool(registry.clone()).unwrap(), here);
    registry.set_enabled(true);
    assert!(call(&registry, &attempts).await.unwrap() > 101);
    assert!(breaker.stats().window.calls > 0);
    assert_ne!(in_pool(registry.clone()).unwrap(), here);
}
