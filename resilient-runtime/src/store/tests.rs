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

fn lost() -> StoreError {
    StoreError::Unavailable("connection refused".into())
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
    faulty.fail(Some(lost()));
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
        faulty.fail(Some(lost()));
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
    let (_time, registry, faulty, once) = setup();
    let store = registry.store("shared");
    assert_eq!(store.stats().instances, None);
    store.guard.announce();
    store.guard.announce();
    while store.guard.live_instances() != 3 {
        std::thread::yield_now();
    }
    assert_eq!((store.stats().instances, faulty.seen()), (Some(3), vec!["announce"]));
    assert_ne!(store.guard.instance(), 0);
    drop((store, registry, once));
    while !faulty.seen().contains(&"leave") {
        std::thread::yield_now();
    }
}

#[test]
fn a_rejected_claim_sends_nothing_to_the_store() {
    let (_time, registry, faulty, once) = setup();
    faulty.fail(Some(lost()));
    (0..9).for_each(|key| _ = call(&once, &key.to_string()));
    assert!(registry.store("shared").stats().degraded);
    faulty.seen();
    (0..9).for_each(|key| assert_eq!(call(&once, &key.to_string()), Some(1)));
    assert_eq!(faulty.seen(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_degraded_although_its_callers_leave_early() {
    let registry = Registry::with_clock(Clock::tokio());
    let faulty = Faulty::new(&ManualClock::new());
    registry.use_store("shared", faulty.clone());
    let once = registry.idempotency("charge");
    once.reconfigure(OnceConfig::default().store("shared")).unwrap();
    faulty.fail(Some(StoreError::TimedOut));
    for _ in 0..5 {
        let call = once.claim("a", Fingerprint::NONE);
        tokio::time::timeout(Duration::from_millis(100), call).await.unwrap_err();
    }
    assert!(registry.store("shared").stats().degraded);
}

#[test]
fn a_change_of_other_settings_does_not_open_the_store_again() {
    #[derive(Debug)]
    struct Counting(Arc<std::sync::atomic::AtomicU32>);
    impl Connector for Counting {
        fn schemes(&self) -> &[&str] {
            &["count"]
        }
        fn connect(&self, _: &str, _: &Config) -> Result<Arc<dyn Backend>, String> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Faulty::new(&ManualClock::new()))
        }
    }
    let registry = Registry::with_clock(ManualClock::new().clock());
    let opened = Arc::default();
    registry.add_store_connector(Counting(Arc::clone(&opened)));
    let once = registry.idempotency("charge");
    once.reconfigure(OnceConfig::default().store("shared")).unwrap();
    for settings in [
        Config::default().url("count://a"),
        Config::default().url("count://a").open_after(9),
        Config::default().url("count://b"),
    ] {
        registry.store("shared").reconfigure(settings).unwrap();
        assert_eq!(call(&once, "k"), Some(1));
    }
    assert_eq!(opened.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn the_time_for_which_a_store_is_degraded_includes_the_attempts_to_use_it_again() {
    let (time, registry, faulty, once) = setup();
    faulty.fail(Some(lost()));
    for key in 0..100 {
        call(&once, &key.to_string());
        time.advance(Duration::from_millis(100));
    }
    let degraded_for = registry.store("shared").stats().degraded_for.unwrap();
    assert!(degraded_for > Duration::from_secs(9), "{degraded_for:?}");
}

#[cfg(feature = "config-file")]
#[test]
fn a_store_can_be_only_in_the_environment() {
    let path = std::env::temp_dir().join(format!("resilient-store-env-{}.toml", std::process::id()));
    std::fs::write(&path, "[idempotency.charge]\nstore = \"shared\"\n").unwrap();
    let registry = Registry::with_clock(ManualClock::new().clock());
    registry.add_store_connector(TestConnector);
    let once = registry.idempotency("charge");
    let variables = [
        ("RESILIENT__STORE__SHARED__URL", "test://u53r:s3cret@host/0"),
        ("RESILIENT__STORE__SHARED__PREFIX", "shop"),
    ];
    let applied = crate::config::ConfigFile::new(&path).variables(variables).apply(&registry);
    std::fs::remove_file(&path).unwrap();
    applied.unwrap();
    assert_eq!(call(&once, "k"), Some(1));
    assert_eq!(registry.find::<Store>("shared").unwrap().stats().address.as_deref(), Some("test://host"));
}

#[test]
fn a_call_does_not_wait_for_a_store_after_its_deadline() {
    // T192
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let registry = Registry::with_clock(Clock::tokio());
        let faulty = Faulty::new(&ManualClock::new());
        registry.use_store("shared", faulty.clone());
        let once = registry.idempotency("charge");
        once.reconfigure(OnceConfig::default().store("shared")).unwrap();
        faulty.fail(Some(StoreError::TimedOut));
        let began = registry.clock().now();
        let deadline = crate::deadline::Deadline::after_on(registry.clock(), Duration::from_millis(50));
        deadline.scope_async(once.claim("a", Fingerprint::NONE)).await.unwrap_err();
        assert_eq!(registry.clock().now().since(began), Duration::from_millis(50));
    });
}

#[test]
fn a_component_that_is_older_than_its_store_in_the_settings_uses_it() {
    use crate::circuit_breaker::shared::MemoryCircuits;

    #[derive(Debug)]
    struct Circuits(Arc<MemoryCircuits>);
    impl Connector for Circuits {
        fn schemes(&self) -> &[&str] {
            &["circuits"]
        }
        fn connect(&self, _: &str, _: &Config) -> Result<Arc<dyn Backend>, String> {
            Ok(Arc::clone(&self.0) as Arc<dyn Backend>)
        }
    }
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    registry.add_store_connector(Circuits(Arc::new(MemoryCircuits::new(time.clock()))));
    let breaker = registry.circuit_breaker("stock");
    breaker.reconfigure(crate::circuit_breaker::Config::default().store("shared")).unwrap();
    let mut tables = Tables::default();
    tables.set(Kind::Store, Some("shared"), "url", &Raw::Text("circuits://".into())).unwrap();
    registry.apply("test", &tables).unwrap();
    while breaker.stats().shared.and_then(|shared| shared.state).is_none() {
        std::thread::yield_now();
    }
}
