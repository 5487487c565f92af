//! The rules of a store for failed logins.

use std::time::Duration;

use super::store_rules::{Checked, LONG, PASSED, Rule, SHORT};
use crate::random::Random;
use crate::store::{LoginRule, LoginState, LoginStore};

/// The number of failures that locks a key in the checks.
const LIMIT: u32 = 3;

/// A store under test.
pub(super) struct Bench<'a, S: ?Sized, P> {
    store: &'a S,
    pass: &'a P,
    /// Makes the keys of this run unique.
    run: String,
    random: Random,
}

impl<'a, S: LoginStore + ?Sized, P: AsyncFn(Duration)> Bench<'a, S, P> {
    pub(super) fn new(store: &'a S, pass: &'a P) -> Self {
        let random = Random::new(None);
        Self { store, pass, run: format!("check\0{:x} ", random.unique()), random }
    }

    /// A key that was not used before.
    fn key(&self) -> String {
        format!("{}{:x}", self.run, self.random.unique())
    }

    /// Counts failures although the key is locked.
    async fn fail(&self, rule: Rule, key: &str, lock: LoginRule, times: u32) -> Checked {
        for _ in 0..times {
            let counted = self.store.count(key, lock, false).await;
            rule.of("count of a failure", counted.map(|state| state.locked_for), &Ok(None))?;
        }
        Ok(())
    }

    /// Whether the key is locked for nearly this time. Zero stands for no lock.
    async fn is_locked(&self, rule: Rule, what: &'static str, key: &str, span: Duration) -> Checked {
        let state = self.store.check(key).await;
        let is_as_expected = state.as_ref().is_ok_and(|state| match state.locked_for {
            Some(left) => left <= span && left > span / 2,
            None => span.is_zero(),
        });
        if is_as_expected { Ok(()) } else { Err(rule.broken(what, format!("a lock of {span:?}"), &state)) }
    }

    pub(super) async fn locks(&self) -> Checked {
        let rule = Rule("a key is locked when its failures reach the limit");
        let (key, lock) = (self.key(), LoginRule { limit: LIMIT, first_lock: Duration::from_mins(1) });
        rule.of("check of a new key", self.store.check(&key).await, &Ok(LoginState::default()))?;
        self.fail(rule, &key, lock, LIMIT - 1).await?;
        self.is_locked(rule, "below the limit", &key, Duration::ZERO).await?;
        self.fail(rule, &key, lock, 1).await?;
        self.is_locked(rule, "at the limit", &key, Duration::from_mins(1)).await?;

        let rule = Rule("each further failure doubles the lock, up to an hour");
        for minutes in [2, 4, 8, 16, 32, 60, 60] {
            self.fail(rule, &key, lock, 1).await?;
            self.is_locked(rule, "after a further failure", &key, Duration::from_mins(minutes)).await?;
        }
        let (key, lock) = (self.key(), LoginRule { limit: 1, first_lock: 5 * LONG });
        self.fail(rule, &key, lock, 3).await?;
        self.is_locked(rule, "a first lock of more than an hour", &key, 5 * LONG).await?;

        let rule = Rule("a failure that is judged counts nothing while the key is locked");
        let (key, lock) = (self.key(), LoginRule { limit: LIMIT, first_lock: SHORT });
        self.fail(rule, &key, LoginRule { first_lock: LONG, ..lock }, LIMIT).await?;
        for _ in 0..5 {
            let judged = self.store.count(&key, lock, true).await;
            let is_locked = judged.map(|state| state.locked_for.is_some());
            rule.of("a judged failure of a locked key", is_locked, &Ok(true))?;
        }
        let key = self.key();
        self.fail(rule, &key, lock, LIMIT).await?;
        let rule = Rule("a lock ends");
        (self.pass)(PASSED).await;
        self.is_locked(rule, "after the time of the lock", &key, Duration::ZERO).await?;
        let counted = self.store.count(&key, LoginRule { first_lock: LONG / 4, ..lock }, true).await;
        rule.of("a judged failure after the lock", counted.map(|state| state.locked_for), &Ok(None))?;
        self.is_locked(rule, "the failures before the lock still count", &key, LONG / 2).await
    }

    pub(super) async fn successes(&self) -> Checked {
        let rule = Rule("a success removes the failures and makes the key known");
        let (key, lock) = (self.key(), LoginRule { limit: LIMIT, first_lock: LONG });
        self.fail(rule, &key, lock, LIMIT).await?;
        let forgiven = self.store.forgive(&key).await;
        let all = u64::from(LIMIT) * 1000;
        rule.of(
            "the number of failures",
            forgiven.map(|found| (all - 10..=all).contains(&found)),
            &Ok(true),
        )?;
        let known = LoginState { locked_for: None, is_known: true };
        rule.of("check after a success", self.store.check(&key).await, &Ok(known))?;
        rule.of("a second success", self.store.forgive(&key).await, &Ok(0))?;
        self.fail(rule, &key, lock, LIMIT - 1).await?;
        self.is_locked(rule, "the failures before the success do not count", &key, Duration::ZERO).await?;
        self.fail(rule, &key, lock, 1).await?;
        let state = self.store.check(&key).await;
        let rule = Rule("a known key stays known when it is locked");
        rule.of("check", state.map(|state| (state.locked_for.is_some(), state.is_known)), &Ok((true, true)))
    }

    pub(super) async fn subtractions(&self) -> Checked {
        let rule = Rule("subtracting unlocks a key that is below the limit then");
        let (key, lock) = (self.key(), LoginRule { limit: LIMIT, first_lock: LONG / 4 });
        self.fail(rule, &key, lock, LIMIT + 1).await?;
        rule.of("subtract", self.store.subtract(&key, lock, 500).await, &Ok(()))?;
        self.is_locked(rule, "with failures above the limit", &key, LONG / 2).await?;
        rule.of("subtract", self.store.subtract(&key, lock, 1500).await, &Ok(()))?;
        self.is_locked(rule, "with failures below the limit", &key, Duration::ZERO).await?;
        self.fail(rule, &key, lock, 1).await?;
        self.is_locked(rule, "after one more failure", &key, LONG / 4).await?;
        rule.of("subtract of more than there are", self.store.subtract(&key, lock, u64::MAX).await, &Ok(()))?;
        rule.of("forgive", self.store.forgive(&key).await, &Ok(0))?;
        let key = self.key();
        rule.of("subtract of a new key", self.store.subtract(&key, lock, 1000).await, &Ok(()))?;
        rule.of("check of the new key", self.store.check(&key).await, &Ok(LoginState::default()))
    }

    pub(super) async fn keys(&self) -> Checked {
        let rule = Rule("keys that differ in one byte are different keys");
        let (stem, lock) = (self.key(), LoginRule { limit: 1, first_lock: LONG });
        self.fail(rule, &stem, lock, 1).await?;
        for other in [
            format!("{stem}\0"),
            format!("{stem} "),
            format!("{stem}é"),
            format!("{stem}{}", "k".repeat(2000)),
        ] {
            rule.of("check of another key", self.store.check(&other).await, &Ok(LoginState::default()))?;
            self.fail(rule, &other, lock, 1).await?;
            self.is_locked(rule, "another key", &other, LONG).await?;
        }
        let rule = Rule("counting is atomic");
        let (key, lock) = (self.key(), LoginRule { limit: LIMIT, first_lock: LONG });
        let counts = (0..20).map(|_| self.store.count(&key, lock, true)).collect();
        let mut admitted = 0;
        for counted in super::race::all(counts).await {
            let state = counted.map_err(|error| rule.broken("count", "a state".to_owned(), &error))?;
            admitted += u32::from(state.locked_for.is_none());
        }
        rule.of("failures that are counted at the same time", admitted, &LIMIT)
    }
}
