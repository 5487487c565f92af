//! The rules of a store for a distributed cache.

use std::fmt::Debug;
use std::time::Duration;

use super::BrokenRule;
use super::store_rules::{LONG, PASSED, Rule, SHORT};
use crate::fallback::{CacheEntry, CacheStore};
use crate::random::Random;
use crate::store::StoreError;

type Checked = Result<(), BrokenRule>;

/// A store under test.
pub(super) struct Bench<'a, S: ?Sized, P> {
    store: &'a S,
    pass: &'a P,
    /// Makes the keys of this run unique.
    run: String,
    random: Random,
}

impl<'a, S: CacheStore + ?Sized, P: AsyncFn(Duration)> Bench<'a, S, P> {
    pub(super) fn new(store: &'a S, pass: &'a P) -> Self {
        let random = Random::new(None);
        Self { store, pass, run: format!("check\0{:x} ", random.unique()), random }
    }

    /// A key that was not used before.
    fn key(&self) -> String {
        format!("{}{:x}", self.run, self.random.unique())
    }

    async fn put(&self, rule: Rule, key: &str, value: &[u8], ttl: Duration) -> Checked {
        rule.of(
            "put",
            self.store.put(key, CacheEntry::new(value.to_vec(), Duration::ZERO), ttl).await,
            &Ok(()),
        )
    }

    /// The store must have this value. Returns its age.
    async fn has(
        &self,
        rule: Rule,
        what: &'static str,
        key: &str,
        value: &[u8],
    ) -> Result<Duration, BrokenRule> {
        match self.store.get(key).await {
            Ok(Some(entry)) if entry.value == value => Ok(entry.age),
            found => {
                let expected =
                    format!("a value of {} bytes {:?}", value.len(), &value[..value.len().min(16)]);
                Err(rule.broken(what, expected, &Shown(found)))
            }
        }
    }

    async fn has_none(&self, rule: Rule, what: &'static str, key: &str) -> Checked {
        rule.of(what, self.store.get(key).await, &Ok(None))
    }

    pub(super) async fn values(&self) -> Checked {
        let rule = Rule("a value is returned unchanged");
        let (all, large): (Vec<u8>, _) = ((0..=255).collect(), vec![7; 65_536]);
        for value in [&b""[..], b"1.1", b"\r\n\0$-1\r\n", &all, &large] {
            let key = self.key();
            self.has_none(rule, "get of a new key", &key).await?;
            self.put(rule, &key, value, LONG).await?;
            for _ in 0..2 {
                self.has(rule, "get", &key, value).await?;
            }
        }
        let rule = Rule("a later value replaces an earlier one");
        let key = self.key();
        for value in [&b"a long value"[..], b"", b"new"] {
            self.put(rule, &key, value, LONG).await?;
            self.has(rule, "get", &key, value).await?;
        }
        let rule = Rule("a removed value is gone");
        rule.of("remove", self.store.remove(&key).await, &Ok(true))?;
        self.has_none(rule, "get after remove", &key).await?;
        rule.of("a second remove", self.store.remove(&key).await, &Ok(false))
    }

    pub(super) async fn keys(&self) -> Checked {
        let rule = Rule("keys that differ in one byte are different keys");
        let stem = self.key();
        let long = format!("{stem}{}", "k".repeat(2_000));
        let keys = [
            stem.clone(),
            format!("{stem}\0"),
            format!("{stem} "),
            format!("{stem}%"),
            format!("{stem}é"),
            stem.to_uppercase() + "A",
            format!("{long}1"),
            format!("{long}2"),
        ];
        for key in &keys {
            self.put(rule, key, key.as_bytes(), LONG).await?;
        }
        for key in &keys {
            self.has(rule, "get", key, key.as_bytes()).await?;
        }
        Ok(())
    }

    pub(super) async fn ages(&self) -> Checked {
        let rule = Rule("the age is the time since the value was stored");
        let [old, new] = [self.key(), self.key()];
        self.put(rule, &old, b"1", LONG).await?;
        let age = self.has(rule, "get", &old, b"1").await?;
        rule.of("the age of a new value is below an hour", age < LONG, &true)?;
        self.pass().await;
        let passed = self.has(rule, "get", &old, b"1").await?;
        rule.of("the age after some time has passed", (SHORT..LONG).contains(&passed), &true)?;
        self.put(rule, &new, b"1", LONG).await?;
        let of_new = self.has(rule, "get", &new, b"1").await?;
        let of_old = self.has(rule, "get", &old, b"1").await?;
        rule.of("an earlier value is older", of_new < of_old, &true)?;
        let rule = Rule("a later value replaces the age of an earlier one");
        self.put(rule, &old, b"2", LONG).await?;
        let replaced = self.has(rule, "get", &old, b"2").await?;
        self.pass().await;
        let later = self.has(rule, "get", &old, b"2").await?;
        rule.of("the age grows from the later put", later >= replaced + SHORT, &true)?;
        let rule = Rule("a value that is stored late keeps its age");
        let late = CacheEntry::new(b"3".to_vec(), 2 * LONG);
        rule.of("put", self.store.put(&old, late, LONG).await, &Ok(()))?;
        let age = self.has(rule, "get", &old, b"3").await?;
        rule.of("the age of a value that was two hours old", (2 * LONG..3 * LONG).contains(&age), &true)?;
        self.pass().await;
        let later = self.has(rule, "get", &old, b"3").await?;
        rule.of("the age grows from there", later >= age + SHORT, &true)
    }

    pub(super) async fn ends(&self) -> Checked {
        let rule = Rule("a value is not returned after its `ttl`");
        let [short, long, shortened, extended] = [self.key(), self.key(), self.key(), self.key()];
        self.put(rule, &short, b"1", SHORT).await?;
        self.put(rule, &long, b"1", Duration::MAX).await?;
        self.put(rule, &shortened, b"1", LONG).await?;
        self.put(rule, &shortened, b"2", SHORT).await?;
        self.put(rule, &extended, b"1", SHORT).await?;
        self.put(rule, &extended, b"2", LONG).await?;
        self.pass().await;
        self.has_none(rule, "get after the `ttl`", &short).await?;
        self.has_none(rule, "get after the `ttl` of a value that replaced another one", &shortened).await?;
        self.has(rule, "get with the longest `ttl`", &long, b"1").await?;
        self.has(rule, "get of a value that replaced one with a short `ttl`", &extended, b"2").await?;
        rule.of("remove after the `ttl`", self.store.remove(&short).await, &Ok(false))?;
        let rule = Rule("a `ttl` of zero removes the value");
        self.put(rule, &long, b"2", Duration::ZERO).await?;
        self.has_none(rule, "get", &long).await
    }

    async fn pass(&self) {
        (self.pass)(PASSED).await;
    }
}

/// Shows the start of a value only.
struct Shown(Result<Option<CacheEntry>, StoreError>);

impl Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Ok(Some(entry)) => {
                let bytes = entry.value.len();
                write!(f, "a value of {bytes} bytes {:?}", &entry.value[..bytes.min(16)])
            }
            other => write!(f, "{other:?}"),
        }
    }
}
