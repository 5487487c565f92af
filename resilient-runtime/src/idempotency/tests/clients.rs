//! Untrusted clients, and a store with limited capacity.

use super::*;

const ADA: ClientId = ClientId(1);
const EVE: ClientId = ClientId(2);

fn store_of(limit: usize) -> (ManualClock, Arc<MemoryStore>, Arc<Idempotency>) {
    bounded(limit, 64 << 20)
}

fn bounded(limit: usize, bytes: usize) -> (ManualClock, Arc<MemoryStore>, Arc<Idempotency>) {
    let time = ManualClock::new();
    let store = Arc::new(MemoryStore::new(time.clock(), limit).most_bytes(bytes));
    let once = Registry::with_clock(time.clock()).idempotency("requests");
    once.set_store(store.clone());
    (time, store, once)
}

fn claim<'a>(once: &'a Idempotency, client: ClientId, key: &str) -> Result<ClaimOutcome<'a>, Rejection> {
    blocking(once.claim_of(client, &format!("{} {key}", client.0), A, Duration::ZERO))
}

/// Whether the call was executed and its result stored.
fn ask(once: &Idempotency, client: ClientId, key: &str, answer: &str) -> bool {
    match claim(once, client, key).unwrap() {
        ClaimOutcome::Run(lease) => blocking(lease.unwrap().complete(answer)),
        ClaimOutcome::Replay(_) => false,
    }
}

fn leased<'a>(once: &'a Idempotency, client: ClientId, key: &str) -> Lease<'a> {
    match claim(once, client, key) {
        Ok(ClaimOutcome::Run(Some(lease))) => lease,
        other => panic!("{other:?}"),
    }
}

fn is_full(refused: Result<ClaimOutcome<'_>, Rejection>) -> bool {
    refused.is_err_and(|refused| refused.to_string().contains("is full"))
}

#[test]
fn a_client_that_used_up_its_share_is_rejected_for_new_keys_and_no_record_is_dropped() {
    let (time, store, once) = store_of(2000);
    assert!(ask(&once, ADA, "hers", "7"));
    let running = leased(&once, EVE, "running");
    for key in 1..1000 {
        assert!(ask(&once, EVE, &key.to_string(), "7"), "{key}");
        time.advance(MS(1));
    }
    for key in 1000..3000 {
        assert!(is_full(claim(&once, EVE, &key.to_string())), "{key}");
    }
    assert_eq!((store.len(), once.stats().full), (1001, 2000));
    let refused = claim(&once, EVE, "more").unwrap_err();
    assert_eq!(
        refused.retry_after(),
        Some(Duration::from_millis(3_600_000 - 999)),
        "when the client's first record expires"
    );
    assert!(!ask(&once, ADA, "hers", "8"), "the record still exists");
    assert!(ask(&once, ADA, "another", "8"), "there is capacity for other clients");
    assert!(blocking(running.complete("done")));
    assert!((1..1000).all(|key| !ask(&once, EVE, &key.to_string(), "8")), "all records still exist");
    time.advance(refused.retry_after().unwrap());
    assert!(ask(&once, EVE, "more", "7"));
}

#[test]
fn large_results_of_one_client_displace_no_record_of_another() {
    // 120 anonymous requests with results of 60 KB.
    let (_, _, once) = bounded(100_000, 64 << 20);
    let (anonymous, large) = (ClientId(0), "x".repeat(60_000));
    assert!(ask(&once, ADA, "hers", &large));
    let asked = |key: u32| match claim(&once, anonymous, &key.to_string()) {
        Ok(ClaimOutcome::Run(lease)) => blocking(lease.unwrap().complete(&large)),
        Ok(ClaimOutcome::Replay(_)) => panic!("a new key"),
        Err(_) => false,
    };
    let kept: Vec<_> = (0..120).filter(|key| asked(*key)).collect();
    assert_eq!(kept.len(), 110, "a tenth of 64 MiB");
    assert_eq!(once.stats().executed, 111, "no call ran whose result could not be stored");
    assert!(!ask(&once, ADA, "hers", &large), "the record still exists");
    assert!(ask(&once, ADA, "another", &large), "there is capacity for other clients");
    for key in kept {
        assert!(!ask(&once, anonymous, &key.to_string(), &large), "{key}");
    }
}

#[test]
fn results_of_concurrent_calls_do_not_exceed_the_share_and_are_reported_as_unsaved() {
    let (_, store, once) = bounded(100_000, 4 << 20);
    let running: Vec<_> = (0..500).map(|key| leased(&once, EVE, &key.to_string())).collect();
    let large = "x".repeat(60_000);
    let kept = running.into_iter().map(|lease| (blocking(lease.complete(&large)), unsaved()));
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.iter().filter(|(is_kept, _)| *is_kept).count(), 2, "a tenth of 4 MiB, with 500 records");
    assert!(kept.iter().all(|(is_kept, why)| *is_kept != (*why == Some(Unsaved::StoreFailed))));
    let again = claim(&once, EVE, "499").unwrap_err();
    assert_eq!(again.kind(), RejectionKind::OutcomeUnknown, "rejected at once and not executed again");
    assert_eq!(store.len(), 500);
    assert!(ask(&once, ADA, "hers", &large));
}

#[test]
fn all_clients_together_leave_capacity_for_the_programs_own_calls() {
    let (_, store, once) = store_of(20);
    for client in 0..18 {
        assert!(ask(&once, ClientId(client), "k", "7"));
    }
    assert!(is_full(claim(&once, ClientId(99), "k")));
    assert_eq!(once.call("own", A, || Outcome::Ok(7)), Ok(7));
    for client in 0..18 {
        assert!(!ask(&once, ClientId(client), "k", "8"), "a replay needs no capacity");
    }
    assert_eq!(store.len(), 19);
    let (_, store, once) = bounded(100_000, 10 << 20);
    let large = "x".repeat(60_000);
    for client in 0..10_000 {
        if let Ok(ClaimOutcome::Run(lease)) = claim(&once, ClientId(client), "k") {
            blocking(lease.unwrap().complete(&large));
        }
    }
    assert!(store.len() < 1000, "{} records", store.len());
    assert_eq!(once.call("own", A, || Ok::<_, Rejection>(large.clone())), Ok(large));
    assert_eq!(unsaved(), None);
}

#[test]
fn a_share_is_exact_to_the_byte() {
    let fits = |answer: usize| {
        let store = MemoryStore::new(ManualClock::new().clock(), 100).most_bytes(1 << 20);
        let claim = Claim {
            key: "k".into(),
            fingerprint: A,
            operation: "",
            owner: Owner(1),
            lease: SECONDS(1),
            lost_for: SECONDS(1),
            takes_over: false,
            client: Some(EVE),
        };
        assert_eq!(blocking(store.claim(claim)), Ok(Claimed::Acquired));
        let empty = store.bytes();
        let kept = blocking(store.complete("k", Owner(1), vec![0; answer - empty], SECONDS(60)));
        assert_eq!(store.bytes(), if kept == Ok(true) { answer } else { empty });
        kept == Ok(true)
    };
    assert!(fits(128 << 10));
    assert!(!fits((128 << 10) + 1));
}

#[test]
fn a_full_store_drops_no_live_record_and_its_rejection_says_that_it_is_full() {
    let (time, store, once) = store_of(3);
    assert_eq!(once.call("own", A, || Outcome::Ok(7)), Ok(7));
    time.advance(SECONDS(60));
    let running = leased(&once, EVE, "running");
    drop(leased(&once, EVE, "lost")); // expires at once
    time.advance(SECONDS(60));
    for client in [ADA, EVE] {
        let refused = claim(&once, client, "new").unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::StoreUnavailable);
        assert_eq!(refused.to_string(), "the store of `requests` is full; try again in 3480.0s");
        assert_eq!(refused.retry_after(), Some(Duration::from_mins(58)), "when the first record expires");
    }
    assert_eq!(claim(&once, EVE, "lost").unwrap_err().kind(), RejectionKind::OutcomeUnknown);
    assert_eq!(once.call("own", A, || Outcome::Ok(8)), Ok(7));
    assert!(blocking(running.complete("done")));
    assert!(once.call("another", A, || Outcome::Ok(8)).is_err(), "no record is dropped to make room");
    assert_eq!(store.len(), 3);
}

#[test]
fn a_client_whose_share_is_full_of_running_calls_is_rejected_and_others_are_not() {
    let (_, _, once) = store_of(2000);
    let running: Vec<_> = (0..1000).map(|key| leased(&once, EVE, &key.to_string())).collect();
    let refused = claim(&once, EVE, "one too many").unwrap_err();
    assert!(refused.to_string().contains("is full"), "{refused}");
    assert!(ask(&once, ADA, "hers", "7"));
    blocking(running.into_iter().next().unwrap().give_up());
    assert!(ask(&once, EVE, "one slot is free", "7"));
}

#[test]
fn the_bytes_of_results_are_limited_per_client_and_in_total() {
    let (_, store, once) = bounded(100_000, 1 << 20);
    let large = "x".repeat(50_000);
    let keeps = |client, key: u32| match claim(&once, client, &key.to_string()) {
        Ok(ClaimOutcome::Run(lease)) => blocking(lease.unwrap().complete(&large)),
        _ => false,
    };
    assert!(keeps(ADA, 0));
    assert_eq!((0..100).filter(|key| keeps(EVE, *key)).count(), 2, "128 KiB per client");
    assert!(!ask(&once, ADA, "0", &large) && !ask(&once, EVE, "0", &large));
    assert_eq!(
        (100..200).filter(|client| keeps(ClientId(*client), 0)).count(),
        15,
        "nine tenths for all clients"
    );
    assert!(store.bytes() <= 1 << 20, "{} bytes", store.bytes());
    // The program's own calls are rejected only when the store is full.
    let (_, store, once) = bounded(100_000, 1 << 20);
    let keep = |key: u32| once.call(&key.to_string(), A, || Ok::<_, Rejection>(large.clone()));
    let kept = (0..100).filter(|key| keep(*key).is_ok()).count();
    assert_eq!((kept, store.len()), (21, 21));
}

#[test]
fn expired_records_free_capacity() {
    let (time, store, once) = store_of(100);
    for key in 0..90_u64 {
        assert!(ask(&once, ClientId(u128::from(key % 5)), &key.to_string(), "7"));
        time.advance(MS(1));
    }
    assert!(is_full(claim(&once, ADA, "later")));
    assert!((0..90_u64).all(|key| !ask(&once, ClientId(u128::from(key % 5)), &key.to_string(), "8")));
    time.advance(Duration::from_hours(1));
    assert!(ask(&once, ADA, "later", "7"));
    assert!(store.len() < 90);
}

#[test]
fn a_dropped_lease_of_a_client_expires_at_once_also_in_a_panic() {
    // T105
    let (_, _, once) = store_of(100);
    drop(leased(&once, ADA, "dropped"));
    let panics = || {
        let _lease = leased(&once, ADA, "panicked");
        panic!("halfway")
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    blocking(leased(&once, ADA, "lost").lose());
    blocking(leased(&once, ADA, "too large").complete(&"x".repeat(65_536)));
    for key in ["dropped", "panicked", "lost", "too large"] {
        assert_eq!(claim(&once, ADA, key).unwrap_err().kind(), RejectionKind::OutcomeUnknown, "{key}");
    }
    once.reconfigure(Config::default().on_unknown(OnUnknown::Reexecute)).unwrap();
    assert!(ask(&once, ADA, "dropped", "again"), "reexecute takes over");
}
