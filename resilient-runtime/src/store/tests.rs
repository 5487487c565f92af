//! A store that fails, and settings that are secret.

use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::Tables;
use crate::health::{Ask, Status};
use crate::idempotency::{
    Claim, Claimed, Config as OnceConfig, Fingerprint, IdempotencyStore, MemoryStore, OnStoreFailure, Owner,
};
use crate::registry::Registry;
use crate::settings::Raw;
use crate::sync::Mutex;

/// A store whose failures are set by the test, and that counts its operations.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    fault: Mutex<Option<StoreError>>,
    operations: Mutex<Vec<&'static str>>,
}

impl Faulty {
    fn new(time: &ManualClock) -> Arc<Self> {
        let inner = MemoryStore::new(time.clock(), 100);
        Arc::new(Self { inner, fault: Mutex::default(), operations: Mutex::default() })
    }

    fn fail(&self, with: Option<StoreError>) {
        *self.fault.lock() = with;
    }

    fn answer<'a, T: Send + 'a>(
        &self,
        name: &'static str,
        ask: impl FnOnce() -> Answer<'a, T>,
    ) -> Answer<'a, T> {
        self.operations.lock().push(name);
        match self.fault.lock().clone() {
            None => ask(),
            // Hangs, so that the caller reaches its time limit.
            Some(StoreError::TimedOut) => Box::pin(std::future::pending()),
            Some(error) => ready(Err(error)),
        }
    }

    fn seen(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.operations.lock())
    }
}

impl Backend for Faulty {
    fn address(&self) -> String {
        "test://host".to_owned()
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        Some(self)
    }

    fn instances(&self) -> Option<&dyn InstanceStore> {
        Some(self)
    }
}

impl IdempotencyStore for Faulty {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        self.answer("claim", || self.inner.claim(claim))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        self.answer("renew", || self.inner.renew(key, owner, lease))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        self.answer("complete", || self.inner.complete(key, owner, answer, ttl))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.answer("abandon", || self.inner.abandon(key, owner))
    }
}

impl InstanceStore for Faulty {
    fn announce(&self, _: u128, lasts: Duration) -> Answer<'_, u32> {
        assert_eq!(lasts, Duration::from_secs(7));
        self.answer("announce", || ready(Ok(3)))
    }

    fn leave(&self, _: u128) -> Answer<'_, ()> {
        self.answer("leave", || ready(Ok(())))
    }
}

fn lost() -> Option<StoreError> {
    Some(StoreError::Unavailable("connection refused".into()))
}

/// A clock, a registry, a faulty store named `shared`, and a component that uses it.
fn setup() -> (ManualClock, Registry, Arc<Faulty>, Arc<crate::Idempotency>) {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let faulty = Faulty::new(&time);
    registry.use_store("shared", faulty.clone());
    let once = registry.idempotency("charge");
    once.reconfigure(OnceConfig::default().store("shared").on_store_failure(OnStoreFailure::Open)).unwrap();
    (time, registry, faulty, once)
}

fn call(once: &crate::Idempotency, key: &str) -> Option<u32> {
    once.call(key, Fingerprint::NONE, || Some(1))
}

#[test]
fn after_several_failures_in_a_row_requests_fail_at_once_until_one_succeeds() {
    // T189
    let (time, registry, faulty, once) = setup();
    let mut events = registry.subscribe();
    faulty.fail(lost());
    for key in 0..20 {
        assert_eq!(call(&once, &key.to_string()), Some(1), "`on_store_failure = open`");
    }
    // A failed claim is followed by a request to free its key.
    let claims = faulty.seen().into_iter().filter(|name| *name == "claim").count();
    let stats = registry.store("shared").stats();
    assert!(stats.degraded && claims == 3 && stats.rejected == 17, "`open_after` is 5: {claims} {stats:?}");
    assert_eq!(stats.last_error.as_deref(), Some("connection refused"));
    let told = std::iter::from_fn(|| events.try_recv()).map(|event| event.what);
    let degraded = EventKind::StoreDegraded { problem: "connection refused".into() };
    assert_eq!(told.filter(|what| *what == degraded).count(), 1);
    let report = crate::store::wait::blocking(registry.health_report(Ask::Readiness));
    let shown = format!("{report:?}");
    assert!(
        report.status == Status::Warn && shown.contains("the store is degraded: connection refused"),
        "{shown}"
    );

    faulty.fail(None);
    time.advance(Duration::from_millis(100));
    assert_eq!(call(&once, "a"), Some(1));
    assert!(faulty.seen().starts_with(&["claim"]), "after `open_for`, one request tries the store");
    assert!(!registry.store("shared").stats().degraded);
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event.what == EventKind::StoreRecovered));
}

#[test]
fn the_result_of_a_call_is_sent_to_a_degraded_store() {
    // T190
    let (_time, registry, faulty, once) = setup();
    let outcome = once.call("slow", Fingerprint::NONE, || {
        // While this call runs, other calls find out that the store fails.
        faulty.fail(lost());
        (0..9).for_each(|key| _ = call(&once, &key.to_string()));
        assert!(registry.store("shared").stats().degraded);
        faulty.fail(None);
        faulty.seen();
        Some(995)
    });
    assert_eq!((outcome, faulty.seen()), (Some(995), vec!["complete"]));
    assert_eq!(once.stats().not_kept, 0);
}

#[test]
fn a_store_that_refuses_an_operation_is_not_degraded() {
    let (_time, registry, faulty, once) = setup();
    faulty.fail(Some(StoreError::Refused("another program uses the key".into())));
    (0..20).for_each(|key| _ = call(&once, &key.to_string()));
    let stats = registry.store("shared").stats();
    assert_eq!((stats.degraded, stats.failures, stats.rejected), (false, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_no_longer_than_the_time_limit_of_the_store() {
    // T192
    let registry = Registry::with_clock(Clock::tokio());
    let faulty = Faulty::new(&ManualClock::new());
    registry.use_store("shared", faulty.clone());
    let once = registry.idempotency("charge");
    once.reconfigure(OnceConfig::default().store("shared")).unwrap();
    faulty.fail(Some(StoreError::TimedOut));
    let began = registry.clock().now();
    once.claim("a", Fingerprint::NONE).await.unwrap_err();
    let waited = registry.clock().now().since(began);
    assert_eq!(waited, Duration::from_millis(250), "although `store_timeout` is 1 s");
    let stats = registry.store("shared").stats();
    assert_eq!((stats.timeouts, stats.failures, stats.in_flight), (1, 1, 0), "{stats:?}");
}

#[derive(Debug)]
struct TestConnector;

impl Connector for TestConnector {
    fn schemes(&self) -> &[&str] {
        &["test"]
    }

    fn connect(&self, url: &str, settings: &Config) -> Result<Arc<dyn Backend>, String> {
        if url.contains("wrong") {
            return Err("the host is wrong: use another one".to_owned());
        }
        assert_eq!((url, settings.prefix.as_deref()), ("test://u53r:s3cret@host/0", Some("shop")));
        Ok(Faulty::new(&ManualClock::new()))
    }
}

fn applied(registry: &Registry, field: &str, value: &str) {
    let mut tables = Tables::default();
    tables.set(Kind::Store, Some("shared"), "prefix", &Raw::Text("shop".into())).unwrap();
    tables.set(Kind::Store, Some("shared"), field, &Raw::Text(value.into())).unwrap();
    assert!(!format!("{tables:?}").contains("s3cret"));
    registry.apply("test", &tables).unwrap();
}

#[test]
fn a_url_in_the_settings_opens_the_store_and_its_login_is_shown_nowhere() {
    // T191
    let registry = Registry::with_clock(ManualClock::new().clock());
    let mut events = registry.subscribe();
    applied(&registry, "url", "test://u53r:s3cret@host/0");
    let store = registry.find::<Store>("shared").expect("a store in the settings exists without a call");
    let problem = registry.validate().unwrap_err().to_string();
    assert_eq!(
        problem,
        "store `shared`: no connector opens `test://`: register one with `registry.add_store_connector(..)`"
    );
    registry.add_store_connector(TestConnector);
    registry.validate().unwrap();
    assert_eq!(store.stats().address.as_deref(), Some("test://host"));
    let shown = [
        problem,
        registry.to_toml(),
        format!("{:?} {:?}", store, store.config()),
        serde_json::to_string(&store.effective()).unwrap(),
        format!("{:?}", std::iter::from_fn(|| events.try_recv()).collect::<Vec<_>>()),
        format!("{:?} {}", registry.stats(), serde_json::to_string(&registry.stats()).unwrap()),
    ];
    for text in shown {
        assert!(!text.contains("s3cret") && !text.contains("u53r"), "{text}");
    }
    assert!(registry.to_toml().contains("# url is secret  # file"), "{}", registry.to_toml());

    applied(&registry, "url", "test://u53r:s3cret@wrong");
    let problem = registry.validate().unwrap_err().to_string();
    assert_eq!(problem, "store `shared`: the host is wrong: use another one");
}

#[test]
fn the_url_can_be_in_a_file_of_its_own() {
    let path = std::env::temp_dir().join(format!("resilient-store-url-{}", std::process::id()));
    let registry = Registry::with_clock(ManualClock::new().clock());
    registry.add_store_connector(TestConnector);
    applied(&registry, "url_file", path.to_str().unwrap());
    let problem = registry.validate().unwrap_err().to_string();
    assert!(
        problem.starts_with("store `shared`: its `url_file` ") && problem.contains("cannot be read"),
        "{problem}"
    );
    std::fs::write(&path, "test://u53r:s3cret@host/0\n").unwrap();
    let validated = registry.validate();
    std::fs::remove_file(&path).unwrap();
    validated.unwrap();
    let both = Config::default().url("test://a").url_file("b");
    let refused = registry.store("shared").reconfigure(both).unwrap_err().to_string();
    assert!(refused.contains("`url_file`") && refused.contains("use one of them"), "{refused}");
}

#[test]
fn instances_are_counted_in_the_background_and_the_last_number_stays() {
    let (_time, registry, faulty, _once) = setup();
    let store = registry.store("shared");
    assert_eq!(store.stats().instances, None);
    store.guard.announce();
    store.guard.announce();
    while store.guard.live_instances() != 3 {
        std::thread::yield_now();
    }
    assert_eq!((store.stats().instances, faulty.seen()), (Some(3), vec!["announce"]));
    assert_ne!(store.guard.instance(), 0);
}
