//! Stores that do not work, and stores that are not there.

use super::*;

/// A store that may answer, refuse, or hang; the questions that were asked are counted.
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
    /// Carries out what it is asked, but does not answer in time.
    Mute,
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
            Fault::Error => store::ready(Err(StoreError::Unavailable("the disk is gone".into()))),
            Fault::Hangs => Box::pin(std::future::pending()),
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
        // Only ever late: what was asked before is over.
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
fn a_store_that_does_not_work_refuses_or_lets_through_as_the_settings_say() {
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
fn a_store_that_hangs_is_waited_for_no_longer_than_its_own_timeout() {
    // T116
    let (time, store, once) = faulty(config().store_timeout(MS(200)));
    for fault in [Fault::Hangs, Fault::Mute] {
        store.set(fault);
        let mut call = Box::pin(once.call_async("k", A, async || Outcome::Ok(1)));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(199));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(1));
        let Poll::Ready(refused) = poll(call.as_mut()) else { panic!("its time is over") };
        assert_eq!(kind(refused), RejectionKind::StoreUnavailable);
        assert!(store.inner.is_empty(), "{fault:?}: what was claimed too late is given up");
    }
    assert_eq!(time.timers(), 0);
}

#[test]
fn a_claim_that_is_dropped_on_its_way_to_the_store_is_given_up() {
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
fn the_work_is_told_when_its_lease_cannot_be_renewed() {
    // T107
    let (time, store, once) = faulty(config());
    let told = Cell::new(false);
    let mut call = Box::pin(once.call_async("k", A, async || {
        std::future::poll_fn(|_| {
            told.set(lease_is_lost());
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
        assert!(!told.get(), "there is time left");
    }
    // One that hangs does not keep the next from being tried.
    store.set(Fault::None);
    time.advance(SECONDS(9));
    assert!(poll(call.as_mut()).is_pending());
    time.advance(SECONDS(1));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(*store.renewals.lock(), 3);
    store.set(Fault::Error);
    for (seconds, is_lost) in [(10, false), (10, false), (10, true)] {
        time.advance(SECONDS(seconds));
        assert!(poll(call.as_mut()).is_pending());
        assert_eq!(told.get(), is_lost);
    }
}

#[test]
fn an_answer_that_the_store_did_not_take_is_never_executed_anew() {
    // T105
    let (time, store, once) = faulty(config());
    let outcome = once.call("k", A, || {
        store.set(Fault::Error);
        Outcome::Ok(1)
    });
    assert_eq!(outcome, Ok(1), "it was carried out");
    assert_eq!(once.stats().not_kept, 1);
    store.set(Fault::None);
    time.advance(SECONDS(31));
    assert_eq!(kind(once.call("k", A, || Ok(2))), RejectionKind::OutcomeUnknown);
}

#[test]
fn a_store_of_a_name_that_nobody_told_is_an_error_and_never_memory() {
    let registry = Registry::new();
    let once = registry.idempotency("pay");
    let named: Arc<str> = "orders".into();
    let config = Config::default().store(named).on_store_failure(OnStoreFailure::Open);
    once.reconfigure(config).unwrap();
    let rejection = once.call("k", A, || Outcome::Ok(1)).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::NoStore);
    assert_eq!(
        registry.validate().unwrap_err().to_string(),
        "idempotency: `pay`: no idempotency store is called `orders`: say \
         `registry.set_idempotency_store(\"orders\", ..)` first"
    );
    let store = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    registry.set_idempotency_store("order", store.clone());
    assert!(registry.validate().unwrap_err().to_string().contains("did you mean `order`?"));
    registry.set_idempotency_store("orders", store.clone());
    registry.validate().unwrap();
    assert_eq!(once.call("k", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(store.len(), 1);
}
