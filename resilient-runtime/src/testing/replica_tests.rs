use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use super::check_replica_store;
use crate::store::{
    Answer, Expected, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, Written,
};

/// The records of all sets, by set and key.
type Records = BTreeMap<(String, String), ReplicaRecord>;

/// A member of replica sets with a fault.
struct Faulty(Mutex<Records>, &'static str);

impl Faulty {
    fn has(&self, fault: &str) -> bool {
        self.1 == fault
    }

    fn place(&self, key: &ReplicaKey) -> (String, String) {
        if self.has("joins set and key") {
            return (String::new(), format!("{}{}", key.set(), key.key()));
        }
        if self.has("ignores case") {
            return (key.set().to_owned(), key.key().to_lowercase());
        }
        (key.set().to_owned(), key.key().to_owned())
    }

    /// The version as the store compares it.
    #[allow(clippy::cast_precision_loss)]
    fn compared(&self, version: ReplicaVersion) -> u128 {
        match self.1 {
            "compares the upper half" => version.0 >> 64,
            "compares the lower half" => version.0 & u128::from(u64::MAX),
            "compares floating-point numbers" => u128::from((version.0 as f64).to_bits()),
            _ => version.0,
        }
    }

    fn written(&self, write: ReplicaWrite) -> Written {
        let ReplicaWrite { key, record, expected, max_ahead } = write;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ahead = record.version.since_epoch().saturating_sub(now);
        if ahead > max_ahead && !self.has("accepts the future") {
            return Written::Ahead(ahead);
        }
        let place = self.place(&key);
        let mut records = self.0.lock().unwrap();
        let found = records.get(&place).cloned();
        if found.as_ref() == Some(&record) && !self.has("refuses a second copy") {
            return Written::Applied;
        }
        let version = found.as_ref().map(|found| found.version);
        let is_met = match expected {
            Expected::Older => version.is_none_or(|version| {
                let (old, new) = (self.compared(version), self.compared(record.version));
                old < new || (old == new && self.has("replaces equal versions"))
            }),
            Expected::Exactly(None) if self.has("creates over a record") => true,
            Expected::Exactly(expected) => version == expected,
        };
        if !is_met {
            return Written::Conflict(found.filter(|_| !self.has("hides conflicts")));
        }
        records.insert(place, record);
        Written::Applied
    }

    fn of_range(&self, set: &str, range: u16) -> Vec<(ReplicaKey, ReplicaRecord)> {
        let is_there = |found: &str, key: &ReplicaKey| {
            (found == set || (self.has("mixes sets") && found.trim_end() == set.trim_end()))
                && key.range() == range
        };
        let records = self.0.lock().unwrap();
        let all = records.iter().map(|((set, key), record)| (set, ReplicaKey::new(set, key), record.clone()));
        all.filter(|(set, key, _)| is_there(set, key)).map(|(_, key, record)| (key, record)).collect()
    }
}

impl ReplicaStore for Faulty {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        let found = self.0.lock().unwrap().get(&self.place(&key)).cloned();
        let found = found.map(|mut found| {
            found.value = found.value.filter(|value| !value.is_empty() || !self.has("loses empty values"));
            found
        });
        Box::pin(async { Ok(found) })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        Box::pin(async { Ok(self.written(write)) })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        let (place, mut records) = (self.place(&key), self.0.lock().unwrap());
        let is_met = records.get(&place).is_some_and(|found| {
            (found.value.is_none() || self.has("forgets values"))
                && (found.version == version || self.has("forgets every version"))
        });
        if is_met {
            records.remove(&place);
        }
        Box::pin(async move { Ok(is_met) })
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        let counts = |record: &ReplicaRecord| record.value.is_some() || !self.has("digests values only");
        let marks = self.of_range(set, range).into_iter().filter(|(_, record)| counts(record));
        let digest = marks.fold(0, |digest, (key, record)| digest ^ record.mark(&key));
        Box::pin(async move { Ok(digest) })
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        let mut entries: Vec<_> = self
            .of_range(set, range)
            .into_iter()
            .filter(|(key, _)| from.as_deref().is_none_or(|from| key.key() >= from))
            .map(|(key, record)| ReplicaEntry {
                key: key.key().to_owned(),
                version: record.version,
                is_removed: record.value.is_none(),
            })
            .collect();
        let mut rest = entries.split_off(entries.len().min(limit as usize)).into_iter();
        if self.has("skips a record between pages") {
            rest.next();
        }
        let next = rest.next().map(|entry| entry.key);
        Box::pin(async { Ok(ReplicaPage { entries, next }) })
    }
}

#[tokio::test]
async fn each_fault_of_a_member_breaks_the_rule_that_it_violates() {
    let check = async |fault| check_replica_store(&Faulty(Mutex::default(), fault)).await;
    assert_eq!(check("none").await, Ok(()));
    for (fault, rule) in [
        ("loses empty values", "a record is returned unchanged"),
        ("joins set and key", "keys and sets that differ in one byte are different"),
        ("ignores case", "keys and sets that differ in one byte are different"),
        ("compares the upper half", "a write with an older version changes nothing"),
        ("compares the lower half", "a write with an older version changes nothing"),
        ("compares floating-point numbers", "a write with an older version changes nothing"),
        ("replaces equal versions", "two records of the same version conflict"),
        ("hides conflicts", "a write with an older version changes nothing"),
        ("refuses a second copy", "a write of the record that is there is applied under any condition"),
        ("creates over a record", "a condition on a version is met by this version only"),
        ("accepts the future", "a version that is too far ahead of the clock of the store is refused"),
        ("forgets values", "only a tombstone with this version is forgotten"),
        ("forgets every version", "only a tombstone with this version is forgotten"),
        ("digests values only", "the digest of a range covers all its records and no others"),
        ("mixes sets", "the digest of a range covers all its records and no others"),
        ("skips a record between pages", "the pages of a range have each of its records once"),
    ] {
        assert_eq!(check(fault).await.unwrap_err().rule, rule, "{fault}");
    }
}
