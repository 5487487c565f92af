use std::time::Duration;

use super::check_rate_store;
use crate::clock::ManualClock;
use crate::rate_limit::{MemoryStore, RateRequest, RateStore, ReturnedTokens, Taken};
use crate::store::Answer;

/// A store with one fault.
#[derive(Debug)]
struct Faulty(MemoryStore, &'static str);

impl Faulty {
    fn has(&self, fault: &str) -> bool {
        self.1 == fault
    }
}

impl RateStore for Faulty {
    fn take(&self, mut request: RateRequest) -> Answer<'_, Taken> {
        if self.has("ignores `at_least`") {
            request.at_least = request.at_least.min(1);
        }
        if self.has("promises nothing") {
            request.max_wait = Duration::ZERO;
        }
        if self.has("mixes limits") {
            request.limit.truncate(5);
        }
        if self.has("cuts limits") {
            request.limit.truncate(38);
        }
        if self.has("grants one more") {
            request.rule.burst += 1;
        }
        let answer = self.0.take(request);
        let reports = !self.has("does not report another rule");
        let wait = !self.has("knows no wait");
        Box::pin(async move {
            let mut taken = answer.await?;
            taken.is_other_rule &= reports;
            if !wait {
                taken.wait = Duration::ZERO;
            }
            Ok(taken)
        })
    }

    fn give_back(&self, mut returned: ReturnedTokens) -> Answer<'_, ()> {
        if self.has("returns nothing") {
            returned.tokens = 0;
        }
        self.0.give_back(returned)
    }
}

async fn check(fault: &'static str) -> Result<(), super::BrokenRule> {
    let time = ManualClock::new();
    let store = Faulty(MemoryStore::new(time.clock(), 1000), fault);
    check_rate_store(&store, async |span| time.advance(span)).await
}

#[tokio::test]
async fn the_store_in_memory_keeps_every_rule_and_each_fault_is_found() {
    assert_eq!(check("none").await, Ok(()));
    for fault in [
        "ignores `at_least`",
        "promises nothing",
        "mixes limits",
        "cuts limits",
        "grants one more",
        "does not report another rule",
        "knows no wait",
        "returns nothing",
    ] {
        assert!(check(fault).await.is_err(), "{fault}");
    }
}
