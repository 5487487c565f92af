//! Clients that need not mean well, and a store that has an end.

use super::*;

const ADA: Client = Client(1);
const EVE: Client = Client(2);

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

fn claim<'a>(once: &'a Idempotency, client: Client, key: &str) -> Result<Held<'a>, Rejection> {
    blocking(once.claim_of(client, &format!("{} {key}", client.0), A, Duration::ZERO))
}

/// Whether it had to be carried out.
fn ask(once: &Idempotency, client: Client, key: &str, answer: &str) -> bool {
    match claim(once, client, key).unwrap() {
        Held::Run(lease) => blocking(lease.unwrap().complete(answer)),
        Held::Replay(_) => false,
    }
}

fn leased<'a>(once: &'a Idempotency, client: Client, key: &str) -> Lease<'a> {
    match claim(once, client, key) {
        Ok(Held::Run(Some(lease))) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_that_takes_more_than_its_share_loses_its_own_oldest_answer() {
    let (time, store, once) = store_of(2000);
    assert!(ask(&once, ADA, "hers", "7"));
    let running = leased(&once, EVE, "running");
    for key in 0..5000 {
        assert!(ask(&once, EVE, &key.to_string(), "7"));
        time.advance(MS(1));
    }
    assert_eq!(store.len(), 1001);
    assert!(!ask(&once, ADA, "hers", "8"), "it is still known");
    assert!(ask(&once, ADA, "another", "8"), "there is room for others");
    assert_eq!(claim(&once, EVE, "running").unwrap_err().kind(), RejectionKind::InProgress);
    assert!(blocking(running.complete("done")));
    for (key, is_new) in [("running", false), ("4999", false), ("4001", false), ("17", true)] {
        assert_eq!(ask(&once, EVE, key, "8"), is_new, "{key}");
    }
}

#[test]
fn of_a_full_store_whoever_has_the_most_loses_an_answer() {
    let (_, store, once) = store_of(20);
    for key in ["1", "2"] {
        assert!(ask(&once, ADA, key, "7"));
    }
    for key in 0..18 {
        assert!(ask(&once, EVE, &key.to_string(), "7"));
    }
    for key in 0..18 {
        assert!(!ask(&once, EVE, &key.to_string(), "8"), "a replay needs no room");
    }
    assert!(ask(&once, ADA, "3", "7"));
    assert!(ask(&once, ADA, "4", "7"));
    for key in ["1", "2", "3", "4"] {
        assert!(!ask(&once, ADA, key, "8"), "{key}");
    }
    assert_eq!(store.len(), 20);
}

#[test]
fn what_runs_and_what_is_the_programs_own_is_never_let_go_and_the_refusal_says_that_it_is_full() {
    let (time, store, once) = store_of(3);
    assert_eq!(once.call("own", A, || Outcome::Ok(7)), Ok(7));
    time.advance(SECONDS(60));
    let running = leased(&once, EVE, "running");
    drop(leased(&once, EVE, "lost")); // it is over at once
    time.advance(SECONDS(60));
    for client in [ADA, EVE] {
        let refused = claim(&once, client, "new").unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::StoreUnavailable);
        assert_eq!(refused.to_string(), "the store of `requests` is full; try again in 3480.0s");
        assert_eq!(refused.retry_after(), Some(Duration::from_mins(58)), "when its first record is over");
    }
    assert_eq!(claim(&once, EVE, "lost").unwrap_err().kind(), RejectionKind::OutcomeUnknown);
    assert_eq!(once.call("own", A, || Outcome::Ok(8)), Ok(7));
    assert!(blocking(running.complete("done")));
    assert_eq!(
        once.call("another", A, || Outcome::Ok(8)),
        Ok(8),
        "in place of what was answered to a client"
    );
    assert_eq!(store.len(), 3);
}

#[test]
fn a_client_whose_share_is_full_of_what_runs_is_refused_and_others_are_not() {
    let (_, _, once) = store_of(2000);
    let running: Vec<_> = (0..1000).map(|key| leased(&once, EVE, &key.to_string())).collect();
    let refused = claim(&once, EVE, "one too many").unwrap_err();
    assert!(refused.to_string().contains("is full"), "{refused}");
    assert!(ask(&once, ADA, "hers", "7"));
    blocking(running.into_iter().next().unwrap().give_up());
    assert!(ask(&once, EVE, "now there is room", "7"));
}

#[test]
fn answers_are_bounded_in_bytes_of_each_client_and_of_all() {
    let (time, store, once) = bounded(100_000, 1 << 20);
    let large = "x".repeat(50_000);
    assert!(ask(&once, ADA, "hers", &large));
    for key in 0..100 {
        assert!(ask(&once, EVE, &key.to_string(), &large));
        time.advance(MS(1));
    }
    assert_eq!(store.len(), 1 + 2, "a tenth of a MiB");
    assert!(!ask(&once, EVE, "99", &large));
    assert!(!ask(&once, ADA, "hers", &large));
    for client in 100..200 {
        assert!(ask(&once, Client(client), "k", &large));
    }
    assert!(store.len() * 50_000 <= 1 << 20, "{} records", store.len());
    // Nothing is let go of what the program keeps for itself.
    let (_, store, once) = bounded(100_000, 1 << 20);
    let keep = |key: u32| once.call(&key.to_string(), A, || Ok::<_, Rejection>(large.clone()));
    let kept = (0..100).filter(|key| keep(*key).is_ok()).count();
    assert_eq!((kept, store.len()), (21, 21));
}

#[test]
fn of_equal_clients_no_answer_is_let_go_while_there_is_room() {
    let (time, store, once) = store_of(100);
    for key in 0..100_u64 {
        assert!(ask(&once, Client(u128::from(key % 5)), &key.to_string(), "7"));
        time.advance(MS(1));
    }
    assert!((0..100_u64).all(|key| !ask(&once, Client(u128::from(key % 5)), &key.to_string(), "8")));
    time.advance(Duration::from_hours(1));
    assert!(ask(&once, ADA, "later", "7"));
    assert!(store.len() < 100, "what is over makes room first");
}

#[test]
fn a_lease_of_a_client_that_is_dropped_is_over_at_once_also_in_a_panic() {
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
    assert!(ask(&once, ADA, "dropped", "again"), "as the settings say");
}

#[test]
fn what_runs_is_not_let_go_though_it_was_an_answer_when_it_was_chosen() {
    let (_, store, once) = store_of(10);
    let running = leased(&once, EVE, "k");
    let key = || Some(once.record_key(&format!("{} k", EVE.0)).unwrap().into());
    // As if the answer that was chosen had ended meanwhile, and its key had been claimed anew.
    store.let_go(key());
    assert_eq!(store.len(), 1);
    assert!(claim(&once, EVE, "k").is_err(), "it is still under way");
    assert!(blocking(running.complete("7")));
    store.let_go(key());
    assert!(store.is_empty(), "the answer may go");
}
