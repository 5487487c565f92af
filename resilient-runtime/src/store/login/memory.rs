//! Failed logins in the memory of one process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::{LoginRule, LoginState, LoginStore};
use crate::clock::{Clock, Instant};
use crate::store::{Answer, Backend, ready};
use crate::sync::Mutex;

/// Maximum number of keys with failures, and of known keys.
const MOST: usize = 100_000;

/// Counts failed logins in memory: what `resilient_http::LoginGuard` uses without a store, or if its store fails.
///
/// It keeps up to 100 000 keys with failures and as many known keys. When it is full, it forgets keys that have few failures,
/// and those that were known longest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use resilient_runtime::clock::ManualClock;
/// use resilient_runtime::store::{LoginRule, LoginStore, MemoryLogins};
///
/// let (time, rule) = (ManualClock::new(), LoginRule { limit: 1, first_lock: Duration::from_mins(1) });
/// let logins = MemoryLogins::new(time.clock());
/// logins.count("ada", rule, true).await.unwrap();
/// assert_eq!(logins.check("ada").await.unwrap().locked_for, Some(Duration::from_mins(1)));
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryLogins {
    clock: Clock,
    /// Keys are stored as hashes, so that long names take no memory.
    hasher: RandomState,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    failures: HashMap<u64, Failures>,
    /// The time of the last success.
    known: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// The number of failures at `last`.
    count: f64,
    last: Instant,
    locked_until: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self { count: 0.0, last: now, locked_until: now }
    }

    /// Decays the count to `now`.
    fn fade(&mut self, now: Instant) {
        let gone = now.since(self.last);
        let days = gone.as_secs_f64() / LoginRule::HALF_LIFE.as_secs_f64();
        self.count = if gone > LoginRule::HALF_LIFE { 0.0 } else { self.count * (-days).exp2() };
        self.last = now;
    }

    /// The count, rounded to a whole number of failures.
    fn whole(&self) -> u32 {
        // The cast saturates above `u32::MAX` failures.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            self.count.round() as u32
        }
    }

    fn locked_for(&self, now: Instant) -> Option<Duration> {
        Some(self.locked_until.since(now)).filter(|left| !left.is_zero())
    }
}

impl Keys {
    fn state(&self, key: u64, now: Instant) -> LoginState {
        LoginState {
            locked_for: self.failures.get(&key).and_then(|failures| failures.locked_for(now)),
            is_known: self.known.get(&key).is_some_and(|last| now.since(*last) <= LoginRule::KNOWN_FOR),
        }
    }

    fn count(&mut self, key: u64, rule: LoginRule, now: Instant) {
        if self.failures.len() >= MOST && !self.failures.contains_key(&key) {
            make_room(&mut self.failures, now);
        }
        let failures = self.failures.entry(key).or_insert(Failures::new(now));
        failures.fade(now);
        failures.count += 1.0;
        let lock = rule.lock(failures.whole());
        if !lock.is_zero() {
            failures.locked_until = now.after(lock);
        }
    }

    fn forgive(&mut self, key: u64, now: Instant) -> f64 {
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            remove_older_half(&mut self.known);
        }
        self.known.insert(key, now);
        let mut failures = self.failures.remove(&key).unwrap_or(Failures::new(now));
        failures.fade(now);
        failures.count
    }

    fn subtract(&mut self, key: u64, rule: LoginRule, number: f64, now: Instant) {
        if let Some(failures) = self.failures.get_mut(&key) {
            failures.fade(now);
            failures.count = (failures.count - number).max(0.0);
            if failures.whole() < rule.limit {
                failures.locked_until = now;
            }
        }
    }
}

/// Removes unlocked keys without a failure in the last hour and, if that is not enough, the half with the fewest failures.
fn make_room(failures: &mut HashMap<u64, Failures>, now: Instant) {
    failures.retain(|_, found| {
        found.locked_for(now).is_some() || now.since(found.last) < LoginRule::HALF_LIFE / 24
    });
    if failures.len() > MOST / 2 {
        let mut counts: Vec<f64> = failures.values().map(|found| found.count).collect();
        let (_, middle, _) = counts.select_nth_unstable_by(failures.len() / 2, f64::total_cmp);
        let middle = *middle;
        failures.retain(|_, found| found.count > middle);
    }
}

fn remove_older_half(known: &mut HashMap<u64, Instant>) {
    let mut times: Vec<Instant> = known.values().copied().collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    known.retain(|_, last| *last > middle);
}

impl MemoryLogins {
    /// Creates a store without failures.
    pub fn new(clock: Clock) -> Self {
        Self { clock, hasher: RandomState::new(), keys: Mutex::default() }
    }
}

impl Backend for MemoryLogins {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn logins(&self) -> Option<&dyn LoginStore> {
        Some(self)
    }
}

impl LoginStore for MemoryLogins {
    fn check<'a>(&'a self, key: &'a str) -> Answer<'a, LoginState> {
        ready(Ok(self.keys.lock().state(self.hasher.hash_one(key), self.clock.now())))
    }

    fn count<'a>(&'a self, key: &'a str, rule: LoginRule, is_judged: bool) -> Answer<'a, LoginState> {
        let (key, now, mut keys) = (self.hasher.hash_one(key), self.clock.now(), self.keys.lock());
        let state = keys.state(key, now);
        if state.locked_for.is_some() && is_judged {
            return ready(Ok(state));
        }
        keys.count(key, rule, now);
        ready(Ok(LoginState { locked_for: None, ..state }))
    }

    fn forgive<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        let count = self.keys.lock().forgive(self.hasher.hash_one(key), self.clock.now());
        // Rounded up, so that the other keys do not keep a part of the failures.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let thousandths = (count * 1000.0).ceil() as u64;
        ready(Ok(thousandths))
    }

    fn subtract<'a>(&'a self, key: &'a str, rule: LoginRule, thousandths: u64) -> Answer<'a, ()> {
        #[allow(clippy::cast_precision_loss)]
        let number = thousandths as f64 / 1000.0;
        self.keys.lock().subtract(self.hasher.hash_one(key), rule, number, self.clock.now());
        ready(Ok(()))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const RULE: LoginRule = LoginRule { limit: 5, first_lock: Duration::from_mins(1) };

    #[test]
    fn known_keys_are_bounded_and_the_oldest_are_removed_first() {
        let time = ManualClock::new();
        let mut keys = Keys::default();
        for key in 0..150_000 {
            time.advance(Duration::from_millis(1));
            keys.forgive(key, time.clock().now());
        }
        assert!(keys.known.len() <= MOST);
        assert!(keys.known.contains_key(&149_999) && !keys.known.contains_key(&0));
    }

    #[test]
    fn failures_are_bounded_and_the_largest_counts_are_removed_last() {
        let (now, mut keys) = (ManualClock::new().clock().now(), Keys::default());
        for _ in 0..5 {
            keys.count(7, RULE, now);
        }
        for key in 10..200_000 {
            keys.count(key, RULE, now);
        }
        assert!(keys.failures.len() <= MOST);
        assert!(keys.state(7, now).locked_for.is_some());
    }
}
