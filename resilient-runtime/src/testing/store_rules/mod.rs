//! The rules of an idempotency store. Each method checks a group of rules on keys of its own.

mod claims;
mod leases;
mod records;

use std::fmt::Debug;
use std::time::Duration;

use super::BrokenRule;
use crate::idempotency::{Answer, Claim, Claimed, Fingerprint, IdempotencyStore, Owner};
use crate::random::Random;

/// Longer than any check takes.
pub(super) const LONG: Duration = Duration::from_hours(1);
/// A period that ends within [`PASSED`].
pub(super) const SHORT: Duration = Duration::from_millis(20);
/// The time that passes. Much longer than [`SHORT`], because a store may measure time in coarse steps.
pub(super) const PASSED: Duration = Duration::from_millis(120);

pub(super) type Checked = Result<(), BrokenRule>;

/// A store under test.
pub(super) struct Bench<'a, S: ?Sized, P> {
    store: &'a S,
    pass: &'a P,
    /// Makes the keys of this run unique.
    run: String,
    random: Random,
}

impl<'a, S: IdempotencyStore + ?Sized, P: AsyncFn(Duration)> Bench<'a, S, P> {
    pub(super) fn new(store: &'a S, pass: &'a P) -> Self {
        let random = Random::new(None);
        Self { store, pass, run: format!("check\0{:x} ", random.unique()), random }
    }

    /// A key that was not used before.
    fn key(&self) -> String {
        format!("{}{:x}", self.run, self.random.unique())
    }

    /// An owner that was not used before.
    fn owner(&self) -> Owner {
        Owner(self.random.unique())
    }

    /// A claim with a lease and an unknown outcome that last longer than the checks.
    fn claim(&self, key: &str) -> Claim {
        Claim {
            key: key.to_owned(),
            fingerprint: Fingerprint(7),
            operation: "check",
            owner: self.owner(),
            lease: LONG,
            lost_for: LONG,
            takes_over: false,
            client: None,
        }
    }

    /// A claim whose lease ends within [`PASSED`].
    fn short(&self, key: &str) -> Claim {
        Claim { lease: SHORT, ..self.claim(key) }
    }

    /// Claims a key that must be free. Returns the owner.
    async fn acquire(&self, rule: Rule, claim: Claim) -> Result<Owner, BrokenRule> {
        let owner = claim.owner;
        rule.of("a claim of a free key", self.store.claim(claim).await, &Ok(Claimed::Acquired))?;
        Ok(owner)
    }

    /// Claims a new key and completes it with `answer`. Returns the key.
    async fn completed(&self, rule: Rule, answer: &[u8]) -> Result<String, BrokenRule> {
        let key = self.key();
        let owner = self.acquire(rule, self.claim(&key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, answer.to_vec(), LONG)).await?;
        Ok(key)
    }

    /// A claim must find the key in progress.
    async fn in_progress(&self, rule: Rule, what: &'static str, claim: Claim) -> Checked {
        match self.store.claim(claim).await {
            Ok(Claimed::InProgress { retry_after }) if !retry_after.is_zero() => Ok(()),
            found => Err(rule.broken(what, "`InProgress` with a `retry_after` above zero", &found)),
        }
    }

    /// Lets time pass until a short period has ended.
    async fn pass(&self) {
        (self.pass)(PASSED).await;
    }
}

/// The statement that is being checked.
#[derive(Clone, Copy)]
pub(super) struct Rule(pub(super) &'static str);

impl Rule {
    pub(super) fn broken(
        self,
        what: &'static str,
        expected: impl Into<String>,
        found: &impl Debug,
    ) -> BrokenRule {
        let mut found = format!("{found:?}");
        found.truncate(found.floor_char_boundary(300));
        BrokenRule { rule: self.0, what, expected: expected.into(), found }
    }

    #[allow(clippy::needless_pass_by_value, reason = "most results are temporary")]
    pub(super) fn of<T: PartialEq + Debug>(self, what: &'static str, found: T, expected: &T) -> Checked {
        if found == *expected { Ok(()) } else { Err(self.broken(what, format!("{expected:?}"), &found)) }
    }

    async fn yes(self, what: &'static str, answer: Answer<'_, bool>) -> Checked {
        self.of(what, answer.await, &Ok(true))
    }

    async fn no(self, what: &'static str, answer: Answer<'_, bool>) -> Checked {
        self.of(what, answer.await, &Ok(false))
    }
}
