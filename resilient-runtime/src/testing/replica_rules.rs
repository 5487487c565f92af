//! The rules of a store that is a member of replica sets.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::store_rules::{Checked, Rule};
use crate::random::Random;
use crate::store::{
    Answer, Expected, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite, Written,
};

/// How far a version may be ahead of the clock of the store in the checks.
const AHEAD: Duration = Duration::from_mins(1);

/// A store under test.
pub(super) struct Bench<'a, S: ?Sized> {
    store: &'a S,
    /// Makes the sets of this run unique.
    run: String,
    random: Random,
}

/// A version with this number in its lowest bits, made now.
#[allow(clippy::disallowed_methods, reason = "the versions of records contain it")]
fn version(number: u64) -> ReplicaVersion {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ReplicaVersion(now.as_millis() << 80 | u128::from(number))
}

/// The version that is later by a number of its own unit.
fn after(version: ReplicaVersion, units: u128) -> ReplicaVersion {
    ReplicaVersion(version.0.saturating_add(units))
}

fn record(version: ReplicaVersion, value: &[u8]) -> ReplicaRecord {
    ReplicaRecord { version, value: Some(value.to_vec()) }
}

fn tombstone(version: ReplicaVersion) -> ReplicaRecord {
    ReplicaRecord { version, value: None }
}

impl<'a, S: ReplicaStore + ?Sized> Bench<'a, S> {
    pub(super) fn new(store: &'a S) -> Self {
        let random = Random::new(None);
        Self { store, run: format!("check {:x} ", random.unique()), random }
    }

    /// A key in a set that was not used before.
    fn key(&self) -> ReplicaKey {
        ReplicaKey::new(format!("{}{:x}", self.run, self.random.unique()), "key")
    }

    fn start(
        &self,
        key: &ReplicaKey,
        record: &ReplicaRecord,
        expected: Expected,
        max_ahead: Duration,
    ) -> Answer<'a, Written> {
        self.store.write(ReplicaWrite { key: key.clone(), record: record.clone(), expected, max_ahead })
    }

    /// Writes, and expects this result.
    async fn writes(
        &self,
        rule: Rule,
        what: &'static str,
        key: &ReplicaKey,
        record: &ReplicaRecord,
        expected: Expected,
        result: Written,
    ) -> Checked {
        rule.of(what, self.start(key, record, expected, AHEAD).await, &Ok(result))
    }

    async fn reads(
        &self,
        rule: Rule,
        what: &'static str,
        key: &ReplicaKey,
        found: Option<&ReplicaRecord>,
    ) -> Checked {
        rule.of(what, self.store.read(key.clone()).await, &Ok(found.cloned()))
    }

    pub(super) async fn records(&self) -> Checked {
        let rule = Rule("a record is returned unchanged");
        let bytes: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
        for value in [&b""[..], b"\0", b"null", &bytes[..256], &bytes] {
            let (key, record) = (self.key(), record(version(1), value));
            self.reads(rule, "read of a new key", &key, None).await?;
            self.writes(rule, "first write", &key, &record, Expected::Older, Written::Applied).await?;
            self.reads(rule, "read after the write", &key, Some(&record)).await?;
        }
        for number in [0, 1, u64::MAX] {
            let (key, record) = (self.key(), tombstone(ReplicaVersion(number.into())));
            self.writes(rule, "write of a tombstone", &key, &record, Expected::Older, Written::Applied)
                .await?;
            self.reads(rule, "read of a tombstone", &key, Some(&record)).await?;
        }

        let rule = Rule("keys and sets that differ in one byte are different");
        let set = self.key().set().to_owned();
        let long = "k".repeat(10_000);
        let mut keys: Vec<_> =
            ["", " ", "a", "A", "xa", "a\0", "a ", "ä", "\u{1f600}", "a:b", "{a}", "*", &long]
                .map(|key| ReplicaKey::new(&*set, key))
                .into();
        keys.extend(["", " ", ":a", "\0"].map(|end| ReplicaKey::new(format!("{set}x{end}"), "a")));
        for (number, key) in (1..).zip(&keys) {
            let record = record(version(number), key.key().as_bytes());
            self.reads(rule, "read of another key", key, None).await?;
            self.writes(rule, "write of another key", key, &record, Expected::Older, Written::Applied)
                .await?;
        }
        for key in &keys {
            let found = self.store.read(key.clone()).await.map(|found| found.and_then(|found| found.value));
            rule.of("value of each key", found, &Ok(Some(key.key().as_bytes().to_vec())))?;
        }
        Ok(())
    }

    pub(super) async fn versions(&self) -> Checked {
        let rule = Rule("a write with an older version changes nothing");
        // Pairs that differ in one part of the 128 bits, also across the sign and the precision of floating-point numbers.
        let base = version(1 << 63);
        let pairs = [
            (ReplicaVersion(0), ReplicaVersion(1)),
            (ReplicaVersion(u128::from(u64::MAX)), ReplicaVersion(1 << 64)),
            (ReplicaVersion((1 << 63) - 1), ReplicaVersion(1 << 63)),
            (ReplicaVersion((1 << 53) + 1), ReplicaVersion((1 << 53) + 2)),
            (ReplicaVersion(9), ReplicaVersion(16)),
            (base, after(base, 1)),
            (base, after(base, 1 << 64)),
            (ReplicaVersion(base.0 - (1 << 80)), base),
        ];
        for (low, high) in pairs {
            let (key, newer) = (self.key(), record(high, b"newer"));
            let conflict = Written::Conflict(Some(newer.clone()));
            self.writes(
                rule,
                "a newer version",
                &key,
                &record(low, b"older"),
                Expected::Older,
                Written::Applied,
            )
            .await?;
            self.writes(rule, "a newer version", &key, &newer, Expected::Older, Written::Applied).await?;
            let late = record(low, b"older");
            self.writes(rule, "an older version", &key, &late, Expected::Older, conflict.clone()).await?;
            self.writes(rule, "an older tombstone", &key, &tombstone(low), Expected::Older, conflict.clone())
                .await?;
            self.reads(rule, "read after the late writes", &key, Some(&newer)).await?;
            let other = record(high, b"other");
            let rule = Rule("two records of the same version conflict");
            self.writes(rule, "another value", &key, &other, Expected::Older, conflict.clone()).await?;
            self.writes(rule, "a tombstone", &key, &tombstone(high), Expected::Older, conflict.clone())
                .await?;
            let rule = Rule("a write of the record that is there is applied under any condition");
            let none = Expected::Exactly(None);
            for expected in
                [Expected::Older, none, Expected::Exactly(Some(low)), Expected::Exactly(Some(high))]
            {
                self.writes(rule, "the same record", &key, &newer, expected, Written::Applied).await?;
            }
        }

        let rule = Rule("a condition on a version is met by this version only");
        let (key, first) = (self.key(), version(1));
        let (second, third) = (after(first, 1), after(first, 2));
        let expected = Expected::Exactly(Some(first));
        self.writes(rule, "no record", &key, &record(second, b"2"), expected, Written::Conflict(None))
            .await?;
        let none = Expected::Exactly(None);
        self.writes(rule, "no record", &key, &record(first, b"1"), none, Written::Applied).await?;
        let there = Written::Conflict(Some(record(first, b"1")));
        self.writes(rule, "a record", &key, &record(second, b"2"), none, there.clone()).await?;
        let wrong = Expected::Exactly(Some(second));
        self.writes(rule, "another version", &key, &record(third, b"3"), wrong, there).await?;
        self.writes(rule, "this version", &key, &record(third, b"3"), expected, Written::Applied).await?;
        let lower = Expected::Exactly(Some(third));
        self.writes(rule, "a lower new version", &key, &record(second, b"2"), lower, Written::Applied)
            .await?;
        self.reads(rule, "read at the end", &key, Some(&record(second, b"2"))).await?;

        let rule = Rule("a version that is too far ahead of the clock of the store is refused");
        let key = self.key();
        let far = after(version(1), u128::from(u64::try_from(2 * AHEAD.as_millis()).unwrap_or(0)) << 80);
        let refused = self.start(&key, &record(far, b"far"), Expected::Older, AHEAD).await;
        let is_refused = refused.map(|written| match written {
            // The clocks of the store and of this program differ by less than the rest.
            Written::Ahead(by) => by > AHEAD && by <= 2 * AHEAD + AHEAD / 2,
            _ => false,
        });
        rule.of("twice as far as it may be", is_refused, &Ok(true))?;
        self.reads(rule, "read after the refusal", &key, None).await?;
        let largest = ReplicaVersion(u128::MAX);
        let refused = self.start(&key, &record(largest, b"far"), Expected::Exactly(None), AHEAD).await;
        rule.of(
            "the largest version",
            refused.map(|written| matches!(written, Written::Ahead(_))),
            &Ok(true),
        )?;
        let written = self.start(&key, &record(far, b"far"), Expected::Older, 3 * AHEAD).await;
        rule.of("within the limit", written, &Ok(Written::Applied))?;
        let written = self.start(&key, &record(largest, b"far"), Expected::Older, Duration::MAX).await;
        rule.of("without a limit", written, &Ok(Written::Applied))
    }

    pub(super) async fn removals(&self) -> Checked {
        let rule = Rule("only a tombstone with this version is forgotten");
        let (key, first) = (self.key(), version(1));
        let second = after(first, 1);
        let forget = async |version| self.store.forget(key.clone(), version).await;
        rule.of("no record", forget(first).await, &Ok(false))?;
        self.writes(rule, "a value", &key, &record(first, b"1"), Expected::Older, Written::Applied).await?;
        rule.of("a value", forget(first).await, &Ok(false))?;
        self.writes(rule, "a tombstone", &key, &tombstone(second), Expected::Older, Written::Applied).await?;
        rule.of("an older version", forget(first).await, &Ok(false))?;
        rule.of("a newer version", forget(after(second, 1)).await, &Ok(false))?;
        self.reads(rule, "read of the tombstone", &key, Some(&tombstone(second))).await?;
        rule.of("the tombstone", forget(second).await, &Ok(true))?;
        rule.of("a second time", forget(second).await, &Ok(false))?;
        self.reads(rule, "read after it was forgotten", &key, None).await?;
        let digest = self.store.digest(key.set(), key.range()).await;
        rule.of("digest after it was forgotten", digest, &Ok(0))?;
        self.writes(rule, "a new value", &key, &record(second, b"2"), Expected::Older, Written::Applied).await
    }

    pub(super) async fn ranges(&self) -> Checked {
        let rule = Rule("the digest of a range covers all its records and no others");
        let set = self.key().set().to_owned();
        // Many keys of two ranges, and in another set a key of one of them.
        let of_set = |set: &str| {
            let set = set.to_owned();
            (0_u32..).map(move |number| ReplicaKey::new(&*set, format!("key {number}")))
        };
        let (one, two) = (ReplicaKey::new(&*set, "key 0").range(), ReplicaKey::new(&*set, "key 1").range());
        let keys: Vec<_> = of_set(&set).filter(|key| [one, two].contains(&key.range())).take(40).collect();
        rule.of("an empty range", self.store.digest(&set, one).await, &Ok(0))?;
        rule.of("the list of an empty range", self.list(&set, one, 10).await?, &BTreeMap::new())?;
        let other = ReplicaKey::new(format!("{set} "), "key 0");
        self.writes(
            rule,
            "another set",
            &other,
            &record(version(9), b"9"),
            Expected::Older,
            Written::Applied,
        )
        .await?;
        let mut all = BTreeMap::new();
        for round in 0..3 {
            for (number, key) in (1..).zip(&keys) {
                if round > 0 && number % 3 == 0 {
                    continue;
                }
                let newest = match (round, number % 4) {
                    (2, 0) => tombstone(version(number)),
                    _ => record(version(number + 100 * round), format!("{number} {round}").as_bytes()),
                };
                let found = Expected::Exactly(
                    all.get(key.key()).map(|(_, found): &(_, ReplicaRecord)| found.version),
                );
                self.writes(rule, "write", key, &newest, found, Written::Applied).await?;
                all.insert(key.key().to_owned(), (key.clone(), newest));
            }
        }
        for range in [one, two] {
            let of_range = || all.values().filter(|(key, _)| key.range() == range);
            let digest = of_range().fold(0, |digest, (key, record)| digest ^ record.mark(key));
            rule.of("the digest", self.store.digest(&set, range).await, &Ok(digest))?;
            let rule = Rule("the pages of a range have each of its records once");
            let expected: BTreeMap<_, _> = of_range()
                .map(|(key, record)| (key.key().to_owned(), (record.version, record.value.is_none())))
                .collect();
            for limit in [1, 3, 1000] {
                rule.of("the records", self.list(&set, range, limit).await?, &expected)?;
            }
        }
        Ok(())
    }

    /// All entries of a range, with their number of records.
    async fn list(&self, set: &str, range: u16, limit: u32) -> Result<Listed, super::BrokenRule> {
        let rule = Rule("the pages of a range have each of its records once");
        let (mut from, mut all) = (None, BTreeMap::new());
        // A store may return more or fewer records than the limit, and then has more pages, but they have an end.
        for _ in 0..10_000 {
            let page = self.store.list(set, range, from, limit).await;
            let page = page.map_err(|error| rule.broken("list", "a page".to_owned(), &error))?;
            for entry in page.entries {
                let one = (entry.version, entry.is_removed);
                if let Some(before) = all.insert(entry.key, one) {
                    return Err(rule.broken("list", "each key once".to_owned(), &before));
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(all);
            }
        }
        Err(rule.broken("list", "a last page".to_owned(), &from))
    }

    pub(super) async fn races(&self) -> Checked {
        let rule = Rule("of concurrent writes with the same condition one is applied");
        let (key, first) = (self.key(), version(1));
        for (round, expected) in [(0_u64, None), (1, Some(first))] {
            let at = |number: u64| match (round, number) {
                (0, 0) => first,
                _ => after(first, u128::from(100 * round + number)),
            };
            if round == 1 {
                // The winner of the first round has another version.
                let found = self.store.read(key.clone()).await.map(|found| found.map(|found| found.version));
                let found = found.map_err(|error| rule.broken("read", "a record".to_owned(), &error))?;
                let to_first = record(first, b"again");
                self.writes(rule, "write", &key, &to_first, Expected::Exactly(found), Written::Applied)
                    .await?;
            }
            let writes = (0..20)
                .map(|number| {
                    let record = record(at(number + round), format!("{round} {number}").as_bytes());
                    self.start(&key, &record, Expected::Exactly(expected), AHEAD)
                })
                .collect();
            let mut applied = 0;
            for written in super::race::all(writes).await {
                let written = written.map_err(|error| rule.broken("write", "a result".to_owned(), &error))?;
                applied += u32::from(written == Written::Applied);
            }
            rule.of("writes that were applied", applied, &1)?;
        }
        let rule = Rule("of concurrent writes without a condition the newest remains");
        let key = self.key();
        let records: Vec<_> =
            (0..20_u8).map(|number| record(after(first, number.into()), &[number])).collect();
        let writes =
            records.iter().rev().map(|record| self.start(&key, record, Expected::Older, AHEAD)).collect();
        for written in super::race::all(writes).await {
            written.map_err(|error| rule.broken("write", "a result".to_owned(), &error))?;
        }
        self.reads(rule, "read after all writes", &key, records.last()).await?;
        let digest = self.store.digest(key.set(), key.range()).await;
        let mark = records.last().map_or(0, |record| record.mark(&key));
        rule.of("digest after all writes", digest, &Ok(mark))
    }
}

/// The records of a range: version, and whether it is a tombstone.
type Listed = BTreeMap<String, (ReplicaVersion, bool)>;
