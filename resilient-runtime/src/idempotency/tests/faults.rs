//! Stores that fail and stores that are not registered.

use super::*;

/// A store that can respond, fail or hang, and that counts renewals.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    fault: Mutex<Fault>,
    renewals: Mutex<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Error,
    Hangs,
    /// Makes the change, but does not respond in time.
    Mute,
    /// When it is called.
    Panics,
    /// When its future is polled.
    PanicsLater,
}

impl Faulty {
    fn new(time: &ManualClock) -> Arc<Self> {
        let inner = MemoryStore::new(time.clock(), 100);
        Arc::new(Self { inner, fault: Mutex::new(Fault::None), renewals: Mutex::new(0) })
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    fn answer<'a, T: Send + 'a>(&self, ask: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
        match *self.fault.lock() {
            Fault::None => ask(),
            Fault::Error => crate::store::ready(Err(StoreError::Unavailable("the disk is gone".into()))),
            Fault::Hangs => Box::pin(std::future::pending()),
            Fault::Panics => panic!("the store is broken"),
            Fault::PanicsLater => Box::pin(async { panic!("the store is broken") }),
            Fault::Mute => {
                drop(ask());
                Box::pin(std::future::pending())
            }
        }
    }
}

impl IdempotencyStore for Faulty {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        self.answer(|| self.inner.claim(claim))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        *self.renewals.lock() += 1;
        self.answer(|| self.inner.renew(key, owner, lease))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        self.answer(|| self.inner.complete(key, owner, answer, ttl))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        // Never fails: it runs after the request that it undoes has ended.
        self.inner.abandon(key, owner)
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.answer(|| self.inner.lose(key, owner))
    }
}

fn faulty(config: Config) -> (ManualClock, Arc<Faulty>, Arc<Idempotency>) {
    let time = ManualClock::new();
    let (store, once) = (Faulty::new(&time), Registry::with_clock(time.clock()).idempotency("pay"));
    once.set_store(store.clone());
    once.reconfigure(config).unwrap();
    (time, store, once)
}

#[test]
fn on_store_failure_decides_whether_calls_run_without_the_store() {
    // T116
    let (_, store, once) = faulty(config());
    store.set(Fault::Error);
    let rejection = once.call("k", A, || Outcome::Ok(1)).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::StoreUnavailable);
    assert!(rejection.retry_after().is_some());
    once.reconfigure(config().on_store_failure(OnStoreFailure::Open)).unwrap();
    assert_eq!(once.call("k", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(once.call("k", A, || Outcome::Ok(2)), Ok(2), "without a record");
    assert!(!replayed());
    assert_eq!(once.stats().store_failures, 3);
}

#[test]
fn a_store_that_hangs_times_out_after_store_timeout() {
    // T116
    let (time, store, once) = faulty(config().store_timeout(MS(200)));
    for fault in [Fault::Hangs, Fault::Mute] {
        store.set(fault);
        let mut call = Box::pin(once.call_async("k", A, async || Outcome::Ok(1)));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(199));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(1));
        let Poll::Ready(refused) = poll(call.as_mut()) else { panic!("it should time out") };
        assert_eq!(kind(refused), RejectionKind::StoreUnavailable);
        assert!(store.inner.is_empty(), "{fault:?}: a late claim is abandoned");
    }
    assert_eq!(time.timers(), 0);
}

#[test]
fn a_claim_dropped_while_the_store_processes_it_is_abandoned() {
    // T146
    let (_, store, once) = faulty(config());
    store.set(Fault::Mute);
    let mut call = Box::pin(once.call_async("k", A, async || Outcome::Ok(1)));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(store.inner.len(), 1);
    drop(call);
    assert!(store.inner.is_empty());
}

#[test]
fn the_work_can_see_that_its_lease_cannot_be_renewed() {
    // T107
    let (time, store, once) = faulty(config());
    let is_lost = Cell::new(false);
    let mut call = Box::pin(once.call_async("k", A, async || {
        std::future::poll_fn(|_| {
            is_lost.set(lease_is_lost());
            Poll::<()>::Pending
        })
        .await;
        Outcome::Ok(1)
    }));
    assert!(poll(call.as_mut()).is_pending());
    for fault in [Fault::Error, Fault::Hangs] {
        store.set(fault);
        time.advance(SECONDS(10));
        assert!(poll(call.as_mut()).is_pending());
        assert!(!is_lost.get(), "the lease has not expired");
    }
    // A renewal that hangs does not prevent the next one.
    store.set(Fault::None);
    time.advance(SECONDS(9));
    assert!(poll(call.as_mut()).is_pending());
    time.advance(SECONDS(1));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(*store.renewals.lock(), 3);
    store.set(Fault::Error);
    for (seconds, expected) in [(10, false), (10, false), (10, true)] {
        time.advance(SECONDS(seconds));
        assert!(poll(call.as_mut()).is_pending());
        assert_eq!(is_lost.get(), expected);
    }
}

#[test]
fn a_call_whose_result_could_not_be_stored_is_not_executed_again() {
    // T105
    let (time, store, once) = faulty(config());
    let outcome = once.call("k", A, || {
        store.set(Fault::Error);
        Outcome::Ok(1)
    });
    assert_eq!(outcome, Ok(1), "the result is returned");
    assert_eq!(once.stats().not_kept, 1);
    store.set(Fault::None);
    time.advance(SECONDS(31));
    assert_eq!(kind(once.call("k", A, || Ok(2))), RejectionKind::OutcomeUnknown);
}

#[test]
fn a_panic_of_the_store_replaces_no_result_and_no_call_is_executed_again() {
    for fault in [Fault::Panics, Fault::PanicsLater] {
        let (time, store, once) = faulty(config());
        let breaks = || {
            store.set(fault);
            Outcome::Ok(1)
        };
        assert_eq!(once.call("k", A, breaks), Ok(1), "{fault:?}");
        assert_eq!((unsaved(), once.stats().not_kept), (Some(Unsaved::StoreFailed), 1));
        let mut call = Box::pin(once.call_async("other", A, async || breaks()));
        let Poll::Ready(refused) = poll(call.as_mut()) else { panic!("it should fail at once") };
        assert_eq!(kind(refused), RejectionKind::StoreUnavailable, "the claim is rejected");
        assert_eq!(once.stats().store_failures, 1);
        store.set(Fault::None);
        let mut call = Box::pin(once.call_async("other", A, async || breaks()));
        assert_eq!(poll(call.as_mut()), Poll::Ready(Ok(1)));
        assert_eq!(unsaved(), Some(Unsaved::StoreFailed));
        store.set(Fault::None);
        time.advance(SECONDS(31));
        for key in ["k", "other"] {
            assert_eq!(kind(once.call(key, A, || Ok(2))), RejectionKind::OutcomeUnknown, "{fault:?}");
        }
        assert_eq!(once.call("new", A, || Outcome::Ok(3)), Ok(3));
        assert_eq!(unsaved(), None);
    }
}

#[test]
fn a_panic_of_the_store_never_reaches_the_work() {
    // In renew, abandon and lose, and when a lease or a claim is dropped.
    for fault in [Fault::Panics, Fault::PanicsLater] {
        let (time, store, once) = faulty(config());
        let mut call = Box::pin(once.call_async("k", A, async || {
            std::future::pending::<()>().await;
            Outcome::Ok(1)
        }));
        assert!(poll(call.as_mut()).is_pending());
        store.set(fault);
        time.advance(SECONDS(10));
        assert!(poll(call.as_mut()).is_pending(), "{fault:?}: the renewal is retried");
        drop(call);
        store.set(Fault::None);
        let leases: Vec<_> = ["a", "b", "c"]
            .map(|key| match blocking(once.claim_of(ClientId(1), key, A, Duration::ZERO)) {
                Ok(ClaimOutcome::Run(Some(lease))) => lease,
                other => panic!("{other:?}"),
            })
            .into();
        store.set(fault);
        for (at, lease) in leases.into_iter().enumerate() {
            match at {
                0 => drop(lease),
                1 => blocking(lease.lose()),
                _ => assert!(!blocking(lease.complete("x"))),
            }
        }
    }
}

#[test]
fn a_call_without_a_record_is_reported_as_unsaved() {
    let (_, store, once) = faulty(config().on_store_failure(OnStoreFailure::Open));
    store.set(Fault::Error);
    assert_eq!(once.call("k", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!((unsaved(), replayed()), (Some(Unsaved::NoRecord), false));
}

#[test]
fn a_full_store_is_counted_and_is_a_health_warning_until_a_minute_after_the_last_rejection() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let once = registry.idempotency("pay");
    once.set_store(Arc::new(MemoryStore::new(time.clock(), 1)));
    assert_eq!(once.call("a", A, || Outcome::Ok(1)), Ok(1));
    let health = || {
        let report = blocking(registry.health_report(crate::health::Ask::Readiness));
        (report.status, report.checks.into_iter().map(|check| (check.name, check.output)).collect::<Vec<_>>())
    };
    assert_eq!(health(), (crate::health::Status::Pass, vec![]));
    assert!(once.call("b", A, || Outcome::Ok(1)).is_err());
    assert_eq!((once.stats().full, once.stats().store_failures), (1, 1));
    let output = Some("the idempotency store is full and rejects new keys".to_owned());
    assert_eq!(health(), (crate::health::Status::Warn, vec![("pay".to_owned(), output)]));
    time.advance(SECONDS(60));
    assert_eq!(health().0, crate::health::Status::Pass);
}

#[test]
fn a_named_store_that_is_not_registered_is_an_error_without_fallback_to_memory() {
    let registry = Registry::new();
    let once = registry.idempotency("pay");
    let named: Arc<str> = "orders".into();
    let config = Config::default().store(named).on_store_failure(OnStoreFailure::Open);
    once.reconfigure(config).unwrap();
    let rejection = once.call("k", A, || Outcome::Ok(1)).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::NoStore);
    assert_eq!(
        registry.validate().unwrap_err().to_string(),
        "idempotency: `pay`: no store is named `orders`: register it with `registry.use_store(\"orders\", ..)`, or set \
         `url` in `[store.orders]`"
    );
    let store = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    registry.use_store("order", store.clone());
    assert!(registry.validate().unwrap_err().to_string().contains("did you mean `order`?"));
    registry.use_store("orders", store.clone());
    registry.validate().unwrap();
    assert_eq!(once.call("k", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(store.len(), 1);
}
