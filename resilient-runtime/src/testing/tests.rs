use std::time::Duration;

use super::{check_cache_store, check_circuit_store, check_idempotency_store, check_login_store};
use crate::circuit_breaker::shared::{
    CircuitStore, MemoryCircuits, ProbeRequest, Report, Shared, SharedState,
};
use crate::clock::ManualClock;
use crate::fallback::{CacheEntry, CacheStore, MemoryCache};
use crate::idempotency::{Answer, Claim, Claimed, IdempotencyStore, MemoryStore, Owner};
use crate::store::{LoginRule, LoginState, LoginStore, MemoryLogins};

/// A store with one fault.
#[derive(Debug)]
struct Faulty(MemoryStore, &'static str);

impl Faulty {
    fn has(&self, fault: &str) -> bool {
        self.1 == fault
    }
}

impl IdempotencyStore for Faulty {
    fn claim(&self, mut claim: Claim) -> Answer<'_, Claimed> {
        claim.takes_over |= self.has("takes over what it may not");
        if self.has("compares half of a fingerprint") {
            claim.fingerprint.0 &= u128::from(u64::MAX);
        }
        if self.has("ignores the operation") {
            claim.operation = "";
        }
        if self.has("cuts keys") {
            claim.key.truncate(claim.key.floor_char_boundary(900));
        }
        if self.has("adds to the lease") {
            claim.lease = claim.lease.saturating_add(Duration::from_millis(500));
        }
        self.0.claim(claim)
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        if self.has("does not renew") {
            return Box::pin(async { Ok(true) });
        }
        self.0.renew(key, owner, lease)
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        let answer = if self.has("changes bytes") {
            String::from_utf8_lossy(&answer).into_owned().into_bytes()
        } else {
            answer
        };
        let ttl = if self.has("takes a ttl of zero for none") && ttl.is_zero() { Duration::MAX } else { ttl };
        self.0.complete(key, owner, answer, ttl)
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        if self.has("abandons nothing") {
            return Box::pin(async { Ok(true) });
        }
        self.0.abandon(key, owner)
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        if self.has("loses nothing") {
            return Box::pin(async { Ok(true) });
        }
        if self.has("does not implement `lose`") {
            return Box::pin(async { Ok(false) });
        }
        self.0.lose(key, owner)
    }
}

async fn check(fault: &'static str) -> Result<(), super::BrokenRule> {
    let time = ManualClock::new();
    let store = Faulty(MemoryStore::new(time.clock(), 1000), fault);
    check_idempotency_store(&store, async |span| time.advance(span)).await
}

#[tokio::test]
async fn a_correct_store_passes_also_without_lose() {
    assert_eq!(check("none").await, Ok(()));
    assert_eq!(check("does not implement `lose`").await, Ok(()));
}

#[tokio::test]
async fn each_fault_breaks_the_rule_that_it_violates() {
    for (fault, rule) in [
        ("takes over what it may not", "after the end of a lease, `takes_over` decides"),
        ("compares half of a fingerprint", "all 128 bits of a fingerprint count"),
        (
            "ignores the operation",
            "another payload or operation gets no replay, does not wait and takes nothing over",
        ),
        ("cuts keys", "keys that differ in one byte are different keys"),
        ("adds to the lease", "a claimed key is in progress"),
        ("does not renew", "only the owner changes a record"),
        ("changes bytes", "a result is replayed unchanged"),
        ("takes a ttl of zero for none", "a `ttl` of zero removes the record"),
        ("abandons nothing", "only the owner changes a record"),
        ("loses nothing", "only the owner changes a record"),
    ] {
        assert_eq!(check(fault).await.unwrap_err().rule, rule, "{fault}");
    }
}

/// A store of circuits with one fault.
#[derive(Debug)]
struct FaultyCircuits(MemoryCircuits, &'static str);

impl CircuitStore for FaultyCircuits {
    fn report<'a>(&'a self, circuit: &'a str, mut report: Report) -> Answer<'a, Shared> {
        match self.1 {
            "ignores votes" => report.open = false,
            "cuts instances" => report.instance &= u128::from(u64::MAX),
            "takes every result" => report.probe = report.probe.map(|_| true),
            "opens alone" => report.rule.share = crate::Ratio::ZERO,
            "keeps idle slots" if report.request == ProbeRequest::Waiting => {
                report.request = ProbeRequest::Idle;
            }
            _ => {}
        }
        let name = if self.1 == "cuts names" { &circuit[..30] } else { circuit };
        let answer = self.0.report(name, report);
        let fault = self.1;
        Box::pin(async move {
            let mut shared = answer.await?;
            shared.may_probe |= fault == "gives every slot" && shared.state == SharedState::HalfOpen;
            Ok(shared)
        })
    }

    fn reset<'a>(&'a self, circuit: &'a str) -> Answer<'a, ()> {
        if self.1 == "resets nothing" {
            return Box::pin(async { Ok(()) });
        }
        self.0.reset(circuit)
    }
}

async fn check_circuits(fault: &'static str) -> Result<(), super::BrokenRule> {
    let time = ManualClock::new();
    time.advance(Duration::from_secs(1));
    let store = FaultyCircuits(MemoryCircuits::new(time.clock()), fault);
    check_circuit_store(&store, async |span| time.advance(span)).await
}

#[tokio::test]
async fn a_correct_store_of_circuits_passes() {
    assert_eq!(check_circuits("none").await, Ok(()));
}

#[tokio::test]
async fn each_fault_of_a_store_of_circuits_breaks_the_rule_that_it_violates() {
    for (fault, rule) in [
        ("ignores votes", "the votes of a quorum open the circuit"),
        ("cuts instances", "instances differ in every bit"),
        ("takes every result", "most of the probes close the circuit"),
        ("opens alone", "the votes of a quorum open the circuit"),
        ("keeps idle slots", "an instance with calls takes the slot of an idle one"),
        ("gives every slot", "the number of probe slots is limited"),
        ("resets nothing", "a reset closes the circuit and removes the votes"),
        ("cuts names", "a new circuit is closed"),
    ] {
        let broken = check_circuits(fault).await.expect_err(fault);
        assert!(broken.rule == rule || fault == "cuts names", "{fault}: {broken}");
    }
}

/// A cache with one fault.
struct FaultyCache(MemoryCache, &'static str);

impl FaultyCache {
    fn has(&self, fault: &str) -> bool {
        self.1 == fault
    }

    fn key<'a>(&self, key: &'a str) -> &'a str {
        if self.has("cuts keys") { &key[..key.floor_char_boundary(900)] } else { key }
    }
}

impl CacheStore for FaultyCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>> {
        Box::pin(async move {
            let mut found = self.0.get(self.key(key)).await?;
            if let Some(entry) = found.as_mut().filter(|_| self.has("has no age")) {
                entry.age = Duration::ZERO;
            }
            if let Some(entry) = found.as_mut().filter(|_| self.has("changes bytes")) {
                entry.value = String::from_utf8_lossy(&entry.value).into_owned().into_bytes();
            }
            Ok(found)
        })
    }

    fn put<'a>(&'a self, key: &'a str, mut entry: CacheEntry, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let ttl = match ttl {
                ttl if self.has("takes a ttl of zero for none") && ttl.is_zero() => Duration::MAX,
                ttl if self.has("never ends") && !ttl.is_zero() => Duration::MAX,
                ttl => ttl,
            };
            if self.has("keeps the first value") && self.0.get(key).await?.is_some() {
                return Ok(());
            }
            if self.has("forgets the age") {
                entry.age = Duration::ZERO;
            }
            self.0.put(self.key(key), entry, ttl).await
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        if self.has("removes nothing") {
            return Box::pin(async { Ok(true) });
        }
        self.0.remove(self.key(key))
    }
}

#[tokio::test]
async fn each_fault_of_a_cache_breaks_the_rule_that_it_violates() {
    let check = async |fault| {
        let time = ManualClock::new();
        let store = FaultyCache(MemoryCache::new(time.clock(), 1000), fault);
        check_cache_store(&store, async |span| time.advance(span)).await
    };
    assert_eq!(check("none").await, Ok(()));
    for (fault, rule) in [
        ("changes bytes", "a value is returned unchanged"),
        ("keeps the first value", "a later value replaces an earlier one"),
        ("removes nothing", "a removed value is gone"),
        ("cuts keys", "keys that differ in one byte are different keys"),
        ("has no age", "the age is the time since the value was stored"),
        ("forgets the age", "a value that is stored late keeps its age"),
        ("never ends", "a value is not returned after its `ttl`"),
        ("takes a ttl of zero for none", "a `ttl` of zero removes the value"),
    ] {
        assert_eq!(check(fault).await.unwrap_err().rule, rule, "{fault}");
    }
}

/// A store of logins with a fault.
struct FaultyLogins(MemoryLogins, &'static str);

impl FaultyLogins {
    fn has(&self, fault: &str) -> bool {
        self.1 == fault
    }
}

impl LoginStore for FaultyLogins {
    fn check<'a>(&'a self, key: &'a str) -> Answer<'a, LoginState> {
        let key = if self.has("cuts keys") { key.trim_end() } else { key };
        self.0.check(key)
    }

    fn count<'a>(&'a self, key: &'a str, rule: LoginRule, is_judged: bool) -> Answer<'a, LoginState> {
        let key = if self.has("cuts keys") { key.trim_end() } else { key };
        let mut rule = rule;
        rule.limit += u32::from(self.has("locks late"));
        self.0.count(key, rule, is_judged && !self.has("counts locked keys"))
    }

    fn forgive<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        if self.has("forgives nothing") {
            return Box::pin(async { Ok(0) });
        }
        self.0.forgive(key)
    }

    fn subtract<'a>(&'a self, key: &'a str, rule: LoginRule, thousandths: u64) -> Answer<'a, ()> {
        let rule = if self.has("stays locked") { LoginRule { limit: 0, ..rule } } else { rule };
        self.0.subtract(key, rule, thousandths)
    }
}

#[tokio::test]
async fn each_fault_of_a_store_of_logins_breaks_the_rule_that_it_violates() {
    let check = async |fault| {
        let time = ManualClock::new();
        let store = FaultyLogins(MemoryLogins::new(time.clock()), fault);
        check_login_store(&store, async |span| time.advance(span)).await
    };
    assert_eq!(check("none").await, Ok(()));
    for (fault, rule) in [
        ("locks late", "a key is locked when its failures reach the limit"),
        ("counts locked keys", "a failure that is judged counts nothing while the key is locked"),
        ("forgives nothing", "a success removes the failures and makes the key known"),
        ("stays locked", "subtracting unlocks a key that is below the limit then"),
        ("cuts keys", "keys that differ in one byte are different keys"),
    ] {
        assert_eq!(check(fault).await.unwrap_err().rule, rule, "{fault}");
    }
}
