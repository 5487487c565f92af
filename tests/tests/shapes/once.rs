//! Functions with an idempotency key.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resilient_runtime::idempotency::MemoryStore;
use resilient_runtime::{Component, Registry, Rejection, RejectionKind, replayed, resilient};
use serde::{Deserialize, Serialize};

/// An error that can be stored and has a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
enum Error {
    #[error("no funds")]
    NoFunds,
    #[error("down")]
    Down,
    #[error("{0}")]
    Rejected(String),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection.kind().as_str().to_owned())
    }
}

impl resilient_runtime::Classify for Error {
    fn classify(&self) -> resilient_runtime::Class {
        match self {
            Self::NoFunds => resilient_runtime::Class::Permanent,
            Self::Down | Self::Rejected(_) => resilient_runtime::Class::TRANSIENT,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    number: u32,
    cents: u32,
}

#[derive(Debug, Hash)]
struct Order {
    id: u64,
    cents: u32,
}

type Outcome = Result<Receipt, Error>;

fn refused(outcome: &Outcome) -> &str {
    match outcome {
        Err(Error::Rejected(kind)) => kind,
        other => panic!("{other:?}"),
    }
}

struct Shop {
    registry: Registry,
    made: AtomicU32,
}

impl Shop {
    fn new() -> Self {
        Self { registry: Registry::new(), made: AtomicU32::new(0) }
    }

    fn receipt(&self, cents: u32) -> Receipt {
        Receipt { number: self.made.fetch_add(1, Ordering::Relaxed) + 1, cents }
    }

    fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    #[resilient(
        registry = self.registry,
        idempotent(key = format!("order {}", order.id), ttl = "2h", keep_errors = true, max_wait = "1s"),
        retry(max = 2, base = "0ms"),
        circuit_breaker = "once",
        timeout = "30s",
    )]
    async fn charge(&self, order: &Order) -> Outcome {
        tokio::task::yield_now().await;
        match order.cents {
            0 => {
                self.made.fetch_add(1, Ordering::Relaxed);
                Err(Error::NoFunds)
            }
            1 if self.made.fetch_add(1, Ordering::Relaxed) < 2 => Err(Error::Down),
            cents => Ok(self.receipt(cents)),
        }
    }

    #[resilient(registry = self.registry, idempotent("by_hand", key = id, fingerprint = none))]
    fn book(&self, id: u64, mut notes: Vec<f64>) -> Option<u32> {
        notes.push(1.0);
        self.receipt(0).number.checked_mul(u32::try_from(notes.len()).ok()?).filter(|_| id > 0)
    }

    #[resilient(
        registry = self.registry,
        idempotent(key = id, fingerprint = amount.to_bits(), max_wait = "0ms"),
        fallback = Receipt { number: 0, cents: 0 },
    )]
    async fn transfer(&self, id: &str, amount: f64, fails: &Cell<bool>) -> Receipt {
        tokio::task::yield_now().await;
        assert!(!fails.get(), "the body must not run");
        self.receipt(7)
    }

    #[resilient(registry = self.registry, idempotent(key = id), fallback = Ok(Receipt { number: 0, cents }))]
    fn falls_back(&self, id: u64, cents: u32, fails: bool) -> Outcome {
        if fails { Err(Error::Down) } else { Ok(self.receipt(cents)) }
    }

    #[resilient(registry = self.registry, coalesce(key = id), idempotent(key = id), retry(max = 1, base = "0ms"), clone(text))]
    async fn shared(&self, id: u64, text: String) -> Outcome {
        tokio::task::yield_now().await;
        let owned = text;
        Ok(self.receipt(u32::try_from(owned.len()).unwrap_or(0)))
    }

    #[resilient(registry = self.registry, idempotent(key = id, on_unknown = reexecute), hedge(after = "1ms"))]
    async fn hedged(&self, id: u64) -> Outcome {
        let receipt = self.receipt(1);
        if receipt.number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(receipt)
    }

    #[resilient(registry = registry, idempotent(key = id, store = "orders", fingerprint = none), bulkhead("once", threads = 1))]
    fn on_a_thread(registry: Registry, id: u64, made: Arc<AtomicU32>) -> Outcome {
        Ok(Receipt { number: made.fetch_add(1, Ordering::Relaxed) + 1, cents: 0 })
    }
}

#[tokio::test]
async fn a_repeated_call_returns_the_stored_result() {
    // T115, T111, T108
    let shop = Shop::new();
    let first = shop.charge(&Order { id: 7, cents: 995 }).await;
    assert!(!replayed());
    assert_eq!(shop.charge(&Order { id: 7, cents: 995 }).await, first);
    assert!(replayed());
    assert_eq!(refused(&shop.charge(&Order { id: 7, cents: 1 }).await), "key_reused");
    assert_eq!((shop.made(), first), (1, Ok(Receipt { number: 1, cents: 995 })));
    let stats = &shop.registry.stats().idempotency["shapes::once::charge"];
    assert_eq!((stats.executed, stats.replayed, stats.key_reused), (1, 1, 1));
}

#[tokio::test]
async fn all_attempts_share_one_record_and_a_permanent_error_is_replayed() {
    // T110, T115
    let shop = Shop::new();
    assert_eq!(shop.charge(&Order { id: 1, cents: 1 }).await.map(|receipt| receipt.cents), Ok(1));
    assert_eq!((shop.made(), shop.registry.stats().retry["shapes::once::charge"].retries), (4, 2));
    for _ in 0..3 {
        assert_eq!(shop.charge(&Order { id: 2, cents: 0 }).await, Err(Error::NoFunds));
    }
    assert_eq!(shop.made(), 5, "once");
}

#[tokio::test]
async fn of_concurrent_calls_with_one_key_only_one_runs() {
    // T104
    let shop = Shop::new();
    let order = Order { id: 7, cents: 995 };
    let (one, other) = tokio::join!(shop.charge(&order), shop.charge(&order));
    assert_eq!((one, shop.made()), (other, 1));
}

#[test]
fn a_synchronous_function_runs_once() {
    let shop = Shop::new();
    assert_eq!(shop.book(7, vec![0.5]), Some(2));
    assert_eq!(shop.book(7, Vec::new()), Some(2), "only the key is compared");
    assert_eq!(shop.book(8, Vec::new()), Some(2), "another key");
    assert_eq!(
        (shop.book(0, Vec::new()), shop.book(0, Vec::new())),
        (None, None),
        "B1: what it did is unknown"
    );
    assert_eq!((shop.made(), shop.registry.idempotency("by_hand").stats().executed), (3, 3));
}

#[tokio::test]
async fn a_plain_value_is_stored_and_a_fallback_is_not() {
    // T114
    let (shop, fails) = (Shop::new(), Cell::new(false));
    let made = Receipt { number: 1, cents: 7 };
    assert_eq!(shop.transfer("a", 1.5, &fails).await, made);
    fails.set(true);
    assert_eq!(shop.transfer("a", 1.5, &fails).await, made);
    assert_eq!(
        shop.transfer("a", 2.5, &fails).await.number,
        0,
        "another payload: rejected, and the fallback is returned"
    );
    assert_eq!(shop.falls_back(1, 5, true), Ok(Receipt { number: 0, cents: 5 }));
    assert_eq!(shop.falls_back(1, 5, true).map(|receipt| receipt.number), Ok(0), "the fallback runs again");
    assert_eq!(shop.registry.stats().idempotency["shapes::once::falls_back"].replayed, 0);
}

#[tokio::test]
async fn idempotency_works_with_coalescing_and_hedging() {
    let shop = Shop::new();
    let (one, other) = tokio::join!(shop.shared(1, "ab".into()), shop.shared(1, "ab".into()));
    assert_eq!((one.clone(), shop.shared(1, "ab".into()).await), (other, one));
    assert_eq!(shop.made(), 1);
    let hedging = Shop::new();
    assert_eq!(hedging.hedged(1).await.map(|receipt| receipt.number), Ok(2));
    assert_eq!(hedging.hedged(1).await.map(|receipt| receipt.number), Ok(2));
    assert_eq!(hedging.made(), 2);
}

#[test]
fn records_are_stored_in_the_named_store() {
    let (registry, made) = (Registry::new(), Arc::default());
    let call = || Shop::on_a_thread(registry.clone(), 7, Arc::clone(&made));
    assert_eq!(refused(&call()), "no_store", "the store is not registered yet");
    let store = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    registry.use_store("orders", store.clone());
    assert_eq!(call(), call());
    assert_eq!((store.len(), made.load(Ordering::Relaxed)), (1, 1));
}

type Hang = Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>;

#[resilient(
    registry = registry,
    idempotent(key = id, max_wait = "0ms", fingerprint = none),
    bulkhead("once", threads = 1, max_queue = 2),
)]
async fn blocks(registry: Registry, id: u64, hang: Hang) -> Result<u64, Error> {
    // The body runs until the other side is dropped.
    let ended = hang.lock().map_err(|_| Error::Down)?.recv();
    ended.map_or(Ok(id), |()| Err(Error::Down))
}

#[tokio::test]
async fn a_dropped_call_keeps_its_key_only_if_its_body_runs_on_a_thread() {
    // T105, T146
    let (end, ends) = std::sync::mpsc::channel();
    let (registry, hang) = (Registry::new(), Arc::new(std::sync::Mutex::new(ends)));
    let call = |id| Box::pin(blocks(registry.clone(), id, Arc::clone(&hang)));
    let (mut runs, mut waits) = (call(1), call(2));
    while registry.bulkhead("once").stats().pool.is_none_or(|pool| pool.running == 0) {
        assert!(once(&mut runs).await.is_none());
        tokio::task::yield_now().await;
    }
    assert!(once(&mut waits).await.is_none());
    drop((runs, waits, end));
    assert_eq!(call(1).await, Err(Error::Rejected("in_progress".into())), "the outcome is unknown");
    assert_eq!(call(2).await, Ok(2), "the body did not start");
}

/// Polls a future once.
async fn once<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_call_dropped_before_its_body_releases_the_key_and_later_keeps_it() {
    // T105, T146
    for polls in 0..8 {
        let shop = Shop::new();
        let order = Order { id: 7, cents: 995 };
        let mut call = Box::pin(shop.charge(&order));
        let mut ended = None;
        for _ in 0..polls {
            ended = once(&mut call).await;
            if ended.is_some() {
                break;
            }
        }
        drop(call);
        let again = shop.charge(&order).await;
        if ended.is_some() {
            assert_eq!(again, Ok(Receipt { number: 1, cents: 995 }));
            return;
        }
        if polls == 0 {
            assert_eq!(again, Ok(Receipt { number: 1, cents: 995 }), "the body had not started");
        } else {
            // It was suspended in its body, so its effect is unknown.
            assert!(["in_progress", "outcome_unknown"].contains(&refused(&again)), "{polls}: {again:?}");
        }
        assert_eq!(shop.registry.stats().operations["shapes::once::charge"].in_flight, 0);
    }
    panic!("it does not end");
}

trait Ledger {
    fn registry(&self) -> &Registry;

    #[resilient(registry = self.registry(), idempotent(key = id))]
    async fn post<T: std::hash::Hash>(
        &self,
        id: &str,
        entries: &[T],
        (a, b): (u8, u8),
    ) -> Result<usize, Error> {
        tokio::task::yield_now().await;
        Ok(id.len() + entries.len() + usize::from(a) + usize::from(b))
    }
}

impl Ledger for Shop {
    fn registry(&self) -> &Registry {
        &self.registry
    }
}

#[async_trait::async_trait]
trait Bank: Sync {
    async fn pay(&self, id: u64, mut cents: u32) -> Outcome;
}

#[async_trait::async_trait]
impl Bank for Shop {
    #[resilient(registry = self.registry, idempotent(key = id), retry(max = 1))]
    async fn pay(&self, id: u64, mut cents: u32) -> Outcome {
        tokio::task::yield_now().await;
        cents += u32::from(id > 0);
        Ok(self.receipt(cents))
    }
}

#[resilient(registry = registry, idempotent(key = id))]
fn gives_a_future(registry: &Registry, id: u64) -> impl Future<Output = Result<u64, Error>> + use<'_> {
    async move { Ok(id) }
}

#[tokio::test]
async fn idempotency_works_on_trait_methods_and_functions_that_return_futures() {
    let shop = Shop::new();
    assert_eq!(shop.post("a", &[1_u8, 2], (3, 4)).await, Ok(10));
    assert_eq!(shop.post("a", &[1_u8, 2], (3, 4)).await, Ok(10));
    assert!(replayed());
    assert!(shop.post("a", &[1_u8], (3, 4)).await.is_err());
    let bank: &dyn Bank = &shop;
    assert_eq!(bank.pay(1, 4).await, Ok(Receipt { number: 1, cents: 5 }));
    assert_eq!(bank.pay(1, 4).await, Ok(Receipt { number: 1, cents: 5 }));
    assert_eq!(refused(&bank.pay(1, 5).await), RejectionKind::KeyReused.as_str());
    assert_eq!(gives_a_future(&shop.registry, 3).await, Ok(3));
    assert_eq!(gives_a_future(&shop.registry, 3).await, Ok(3));
    assert!(replayed());
}

#[test]
fn the_futures_are_send() {
    // T152
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let shop = Shop::new();
    drop(is_send(shop.charge(&Order { id: 7, cents: 995 })));
    drop(is_send(shop.shared(1, String::new())));
    drop(is_send(shop.hedged(1)));
}

#[tokio::test]
async fn the_component_has_the_settings_of_the_attribute() {
    let shop = Shop::new();
    drop(once(&mut Box::pin(shop.charge(&Order { id: 7, cents: 995 }))).await);
    let config = shop.registry.idempotency("shapes::once::charge").config();
    assert_eq!((config.ttl, config.keep_errors), (Duration::from_hours(2), true));
    assert_eq!(config.lease, Duration::from_mins(1), "the default");
}

/// A type that does not serialize one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Partly {
    number: u32,
    #[serde(skip)]
    note: String,
}

/// A type without `PartialEq`, which cannot be compared.
#[derive(Debug, Serialize, Deserialize)]
struct Opaque(f64);

impl Shop {
    #[resilient(registry = self.registry, idempotent("partly", key = id))]
    fn partly(&self, id: u32, note: &str) -> Result<Partly, Rejection> {
        Ok(Partly { number: self.receipt(0).number, note: note.to_owned() })
    }

    #[resilient(registry = self.registry, idempotent("partly io", key = id))]
    async fn partly_io(&self, id: u32) -> std::io::Result<Partly> {
        tokio::task::yield_now().await;
        Ok(Partly { number: self.receipt(0).number, note: "x".to_owned() })
    }

    #[resilient(registry = self.registry, idempotent("opaque", key = id))]
    fn opaque(&self, id: u32, amount: std::num::NonZeroU64) -> std::io::Result<Opaque> {
        self.receipt(0);
        Ok(Opaque(f64::from_bits(amount.get())))
    }

    #[resilient(registry = self.registry, idempotent("generic", key = id))]
    fn generic<T: Clone + std::hash::Hash + Serialize + serde::de::DeserializeOwned>(
        &self,
        id: u32,
        value: &T,
    ) -> Result<Option<T>, Rejection> {
        self.receipt(0);
        Ok(Some(value.clone()))
    }

    #[resilient(registry = self.registry, idempotent("shared key", key = id))]
    fn charged(&self, id: u32) -> Result<u32, Rejection> {
        Ok(self.receipt(id).number)
    }

    #[resilient(registry = self.registry, idempotent("shared key", key = id))]
    fn refunded(&self, id: u32) -> Result<u32, Rejection> {
        Ok(self.receipt(id).number)
    }
}

#[test]
fn a_result_that_deserializes_differently_is_returned_and_reported_as_unsaved() {
    let shop = Shop::new();
    assert_eq!(shop.partly(1, "").map(|partly| partly.number), Ok(1));
    assert_eq!((resilient_runtime::unsaved(), shop.partly(1, "").map(|partly| partly.number)), (None, Ok(1)));
    assert!(replayed());
    assert_eq!(shop.partly(2, "by hand").map(|partly| partly.note), Ok("by hand".to_owned()));
    assert_eq!(resilient_runtime::unsaved(), Some(resilient_runtime::idempotency::Unsaved::NotKeepable));
    assert_eq!(
        shop.partly(2, "by hand").unwrap_err().kind(),
        RejectionKind::OutcomeUnknown,
        "it does not run again"
    );
    assert_eq!(shop.made(), 2);
}

#[tokio::test]
async fn results_are_compared_if_errors_cannot_be() {
    let shop = Shop::new();
    assert_eq!(shop.partly_io(1).await.unwrap().note, "x");
    assert_eq!(resilient_runtime::unsaved(), Some(resilient_runtime::idempotency::Unsaved::NotKeepable));
}

#[test]
fn results_that_cannot_be_compared_are_stored_bit_by_bit() {
    let shop = Shop::new();
    for (id, bits) in [(1, 0x7ff8_0000_dead_beef), (2, 1 << 63), (3, 1_193.825_500_000_000_1_f64.to_bits())] {
        let amount = std::num::NonZeroU64::new(bits).unwrap();
        for is_replay in [false, true] {
            assert_eq!(shop.opaque(id, amount).unwrap().0.to_bits(), bits);
            assert_eq!((replayed(), resilient_runtime::unsaved()), (is_replay, None));
        }
    }
    for value in [None, Some(None), Some(Some(()))] {
        let id = 4 + shop.made();
        assert_eq!(shop.generic(id, &value), Ok(Some(value)));
        assert_eq!(shop.generic(id, &value), Ok(Some(value)));
        assert!(replayed());
    }
    assert_eq!(shop.made(), 6);
}

#[test]
fn functions_that_share_a_key_do_not_share_results() {
    let shop = Shop::new();
    assert_eq!(shop.charged(7), Ok(1));
    let refused = shop.refunded(7).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::KeyReused);
    let said = refused.to_string();
    assert!(
        said.contains(
            "another operation: `shapes::once::charged`; this operation is `shapes::once::refunded`"
        ),
        "{said}"
    );
    assert_eq!((shop.charged(7), shop.made()), (Ok(1), 1));
}

impl Shop {
    #[resilient(registry = self.registry, idempotent(key = order))]
    async fn pay_by_optional_key(&self, order: Option<u64>, cents: u32) -> Outcome {
        Ok(self.receipt(cents))
    }

    #[resilient(registry = self.registry, idempotent(key = order))]
    #[allow(clippy::ref_option)] // the test needs an argument of this type
    fn pay_by_borrowed_key(&self, order: &Option<String>, cents: u32) -> Outcome {
        Ok(self.receipt(cents))
    }

    #[resilient(registry = self.registry, idempotent(key = order.as_deref(), fingerprint = none))]
    #[allow(clippy::ref_option)]
    fn pay_by_key_of_an_option(&self, order: &Option<String>, cents: u32) -> Outcome {
        Ok(self.receipt(cents))
    }
}

#[tokio::test]
async fn a_call_with_the_key_none_runs_without_a_record() {
    let shop = Shop::new();
    for expected in [1, 2] {
        assert_eq!(
            shop.pay_by_optional_key(None, 5).await.unwrap().number,
            expected,
            "carried out each time"
        );
        // Nothing had to be saved.
        assert_eq!((replayed(), resilient_runtime::unsaved()), (false, None));
    }
    for _ in 0..2 {
        assert_eq!(shop.pay_by_optional_key(Some(7), 5).await.unwrap().number, 3, "runs once");
    }
    assert_eq!(refused(&shop.pay_by_optional_key(Some(7), 6).await), "key_reused");
    let key = Some("order 7".to_owned());
    for expected in [4, 5] {
        assert_eq!(shop.pay_by_borrowed_key(&None, 5).unwrap().number, expected);
    }
    for _ in 0..2 {
        assert_eq!(shop.pay_by_borrowed_key(&key, 5).unwrap().number, 6);
        assert_eq!(shop.pay_by_key_of_an_option(&key, 5).unwrap().number, 7);
    }
    assert_eq!(shop.pay_by_key_of_an_option(&None, 5).unwrap().number, 8);
}

struct Card;
struct Transfer;

/// Two methods in one source line.
macro_rules! pays {
    ($($method:ident: $answer:expr),+) => {$(
        impl $method {
            #[resilient(registry = registry, idempotent("shared", key = id))]
            fn pay(&self, registry: &Registry, id: u32) -> Result<u32, Rejection> {
                Ok($answer)
            }
        }
    )+};
}
pays!(Card: 1, Transfer: 2);

#[test]
fn methods_that_a_macro_generates_in_one_line_do_not_share_results() {
    let registry = Registry::new();
    assert_eq!(Card.pay(&registry, 7), Ok(1));
    assert_eq!(Transfer.pay(&registry, 7).map_err(|refused| refused.kind()), Err(RejectionKind::KeyReused));
    assert_eq!((Transfer.pay(&registry, 8), Card.pay(&registry, 7)), (Ok(2), Ok(1)));
    let names: Vec<_> = registry.stats().operations.into_keys().collect();
    assert!(names.iter().any(|name| name.contains("Card") && !name.contains("__")), "{names:?}");
}
