//! Guessing passwords is made slow.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resilient_runtime::clock::{Clock, Instant};
use unicode_normalization::UnicodeNormalization;

use crate::layer::client_of;

/// Failures that are remembered at most, by what they belong to.
const MOST: usize = 100_000;
/// A lock doubles with each further failure, up to this.
const LONGEST: Duration = Duration::from_hours(1);
/// Failures are forgotten when there was none for so long, and count for half after it where there was.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// An identity is known at an address from which it got in, for so long.
const KNOWN: Duration = Duration::from_hours(30 * 24);

/// Slows down who guesses passwords: by the identity and the address together, by the address, and by the identity.
///
/// After some failures each further one locks for twice as long, from [`first_lock`](Self::first_lock) to an hour. An address
/// that tries many identities is locked, and an identity that many addresses try; that takes ten times as many failures as
/// one address with one identity.
///
/// Failures fade: a day later they count for half, and after a day without one not at all. A success forgives what this
/// identity has failed from this address, so that slips of the hand add up to nothing, also in an office of hundreds behind
/// one address. For 30 days it also makes the identity known there: it is then locked by its own failures from there alone,
/// so that nobody elsewhere can lock a user out from where that user got in lately. What is known is kept in memory; after
/// a restart, or from a new place, many who guess at once do lock the user out, for as long as they go on.
///
/// All spellings of an identity, such as `ada`, `Ada ` and `ADA`, share their guesses: see [`normalize`](Self::normalize).
///
/// An identity that does not exist is treated as one that does: ask before it is looked up, and give the same answer to all
/// failures. [`LoginAttempt::failed`] waits until as much time has passed as [`answers_after`](Self::answers_after) says, so that
/// it cannot be measured either whether there was a password to compare.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use resilient_http::LoginGuard;
///
/// let guard = LoginGuard::new(resilient_runtime::registry().clock());
/// let address = "192.0.2.7".parse().unwrap();
/// for _ in 0..5 {
///     guard.attempt("ada", address).unwrap().failed().await;
/// }
/// let locked = guard.attempt("ada", address).unwrap_err();
/// assert!(locked.retry_after.as_secs() > 50);
/// # });
/// ```
#[derive(Clone)]
pub struct LoginGuard {
    shared: Arc<Shared>,
    failures: u32,
    first_lock: Duration,
    answers_after: Duration,
    normalize: Normalize,
}

/// Makes one of all spellings of an identity.
type Normalize = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl fmt::Debug for LoginGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginGuard")
            .field("failures", &self.failures)
            .field("first_lock", &self.first_lock)
            .field("answers_after", &self.answers_after)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    hasher: RandomState,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    failures: HashMap<u64, Failures>,
    /// Where identities got in, and when last.
    known: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// As many as count at `last`.
    count: f64,
    last: Instant,
    locked_until: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self { count: 0.0, last: now, locked_until: now }
    }

    /// Lets the count fade.
    fn fade(&mut self, now: Instant) {
        let gone = now.since(self.last);
        let days = gone.as_secs_f64() / FORGOTTEN.as_secs_f64();
        self.count = if gone > FORGOTTEN { 0.0 } else { self.count * (-days).exp2() };
        self.last = now;
    }

    /// The count as a number of failures: those of a moment ago are whole ones.
    fn whole(&self) -> u32 {
        // Below 4 billion failures; the cast saturates beyond.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            self.count.round() as u32
        }
    }
}

/// It is not looked at whether the password is right.
///
/// ```
/// use std::time::Duration;
/// use resilient_http::Locked;
///
/// let locked = Locked { retry_after: Duration::from_millis(59_500) };
/// assert_eq!(locked.to_string(), "too many failed logins; try again in 60 s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins; try again in {} s", retry_after.as_secs() + 1)]
pub struct Locked {
    /// How long that lasts.
    pub retry_after: Duration,
}

impl LoginGuard {
    /// On this clock: five failures, then a minute.
    ///
    /// ```
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let time = ManualClock::new();
    /// let (guard, address) = (LoginGuard::new(&time.clock()), [192, 0, 2, 7].into());
    /// for _ in 0..5 {
    ///     drop(guard.attempt("ada", address).unwrap());
    /// }
    /// time.advance(guard.attempt("ada", address).unwrap_err().retry_after);
    /// assert!(guard.attempt("ada", address).is_ok());
    /// ```
    pub fn new(clock: &Clock) -> Self {
        let shared = Shared { clock: clock.clone(), hasher: RandomState::new(), record: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            failures: 5,
            first_lock: Duration::from_mins(1),
            answers_after: Duration::ZERO,
            normalize: Arc::new(spelled_in_one_way),
        }
    }

    /// How many failures of one identity from one address lock it; at least 1.
    ///
    /// ```
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).unwrap());
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).is_err());
    /// ```
    #[must_use]
    pub fn failures(self, failures: u32) -> Self {
        Self { failures: failures.max(1), ..self }
    }

    /// How long the first lock lasts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let lock = Duration::from_mins(5);
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1).first_lock(lock);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).unwrap());
    /// assert_eq!(guard.attempt("ada", [192, 0, 2, 7].into()).unwrap_err().retry_after, lock);
    /// ```
    #[must_use]
    pub fn first_lock(self, span: Duration) -> Self {
        Self { first_lock: span, ..self }
    }

    /// The least time from the attempt to the answer that it failed: a little more than it takes to compare a password.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::clock::Clock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&Clock::tokio()).answers_after(Duration::from_millis(300));
    /// let began = tokio::time::Instant::now();
    /// guard.attempt("nobody", [192, 0, 2, 7].into()).unwrap().failed().await;
    /// assert!(began.elapsed() >= Duration::from_millis(300));
    /// # }
    /// ```
    #[must_use]
    pub fn answers_after(self, span: Duration) -> Self {
        Self { answers_after: span, ..self }
    }

    /// Sets how an identity is normalized before its failures are counted: identities for which `normalize` gives the same
    /// share their guesses. It must map to one all spellings with which one account can be logged into.
    ///
    /// The default is nearly the `NFKC_Casefold` of Unicode, without white space around it: upper and lower case, full-width
    /// letters, composed and decomposed accents, and invisible characters make no difference. Where names differ by case,
    /// or several addresses (`ada+shop@..`) lead to one account, set your own.
    ///
    /// ```
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// let attempt = |guard: &LoginGuard, name: &str| guard.attempt(name, [192, 0, 2, 7].into()).map(drop);
    /// assert!(attempt(&guard, "ada").is_ok());
    /// assert!(attempt(&guard, " ADA").is_err(), "the same account");
    /// let case_sensitive = guard.normalize(|name| name.trim().to_owned());
    /// assert!(attempt(&case_sensitive, "Ada").is_ok(), "another account");
    /// ```
    #[must_use]
    pub fn normalize(self, normalize: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self { normalize: Arc::new(normalize), ..self }
    }

    /// Before anything is looked up.
    ///
    /// ```
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    /// let attempt = |name: &str| guard.attempt(name, [192, 0, 2, 7].into());
    /// drop(attempt("ada").unwrap());
    /// drop(attempt("ada").unwrap());
    /// assert!(attempt("ada").is_err());
    /// assert!(attempt("bob").is_ok(), "another, from the same address");
    /// ```
    ///
    /// # Errors
    /// While it is locked.
    pub fn attempt(&self, identity: &str, address: IpAddr) -> Result<LoginAttempt, Locked> {
        let keys = self.keys(identity, address);
        let now = self.shared.clock.now();
        let mut record = self.shared.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Record { failures, known } = &mut *record;
        let is_known = known.get(&keys[0]).is_some_and(|last| now.since(*last) <= KNOWN);
        let judged = if is_known { &keys[..1] } else { &keys[..] };
        let locked = judged
            .iter()
            .filter_map(|key| failures.get(key))
            .map(|found| found.locked_until.since(now))
            .max();
        if let Some(retry_after) = locked.filter(|left| !left.is_zero()) {
            return Err(Locked { retry_after });
        }
        // A failure until it is known better: many attempts at the same time are no way around.
        self.note(failures, keys, now);
        Ok(LoginAttempt { guard: self.clone(), keys, began: now })
    }

    /// Both, the address, the identity.
    fn keys(&self, identity: &str, address: IpAddr) -> [u64; 3] {
        let identity = (self.normalize)(identity);
        let (client, hasher) = (client_of(address), &self.shared.hasher);
        [
            hasher.hash_one((&identity, client)),
            hasher.hash_one(("address", client)),
            hasher.hash_one(("identity", &identity)),
        ]
    }

    fn note(&self, failures: &mut HashMap<u64, Failures>, keys: [u64; 3], now: Instant) {
        if failures.len() + keys.len() > MOST {
            make_room(failures, now);
        }
        let few = self.failures;
        for (key, allowed) in keys.into_iter().zip([few, few.saturating_mul(10), few.saturating_mul(10)]) {
            let found = failures.entry(key).or_insert(Failures::new(now));
            found.fade(now);
            found.count += 1.0;
            if found.whole() >= allowed {
                let doublings = (found.whole() - allowed).min(20);
                let span = self.first_lock.saturating_mul(1 << doublings).min(LONGEST.max(self.first_lock));
                found.locked_until = now.after(span);
            }
        }
    }

    fn forgive(&self, [both, address, identity]: [u64; 3]) {
        let now = self.shared.clock.now();
        let mut record = self.shared.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Record { failures, known } = &mut *record;
        let forgiven = failures.remove(&both).map_or(0.0, |mut found| {
            found.fade(now);
            found.count
        });
        // Of the address, and of the identity, what both have failed together: who knows one password may still guess
        // others, and who guesses from elsewhere gains nothing by the user's own success.
        for key in [address, identity] {
            if let Some(found) = failures.get_mut(&key) {
                found.fade(now);
                found.count = (found.count - forgiven).max(0.0);
                if found.whole() < self.failures.saturating_mul(10) {
                    found.locked_until = now;
                }
            }
        }
        if known.len() >= MOST && !known.contains_key(&both) {
            forget_the_older_half(known);
        }
        known.insert(both, now);
    }
}

/// The characters of an identity that are looked at; names are shorter.
const LONGEST_IDENTITY: usize = 1024;

/// As `NFKC_Casefold` (Unicode, 3.13) does it; case is folded by way of upper case, which also unites what has several lower
/// cases. That differs for a few letters of no living name, and always in one way.
fn spelled_in_one_way(identity: &str) -> String {
    let named = identity.trim_matches(|c: char| c.is_whitespace() || is_ignorable(c));
    let visible = named.chars().filter(|c| !is_ignorable(*c)).take(LONGEST_IDENTITY);
    let visible: String = visible.collect();
    if visible.is_ascii() {
        // Which comes to the same.
        return visible.to_ascii_uppercase();
    }
    let visible: String = visible.nfkc().collect();
    visible.trim().to_lowercase().to_uppercase().nfkc().collect()
}

/// What has no form of its own: `Default_Ignorable_Code_Point` of Unicode, and control characters.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || c.is_control()
}

fn forget_the_older_half(known: &mut HashMap<u64, Instant>) {
    let mut times: Vec<Instant> = known.values().copied().collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    known.retain(|_, last| *last > middle);
}

/// Forgets those that are not locked, and if that is not enough, those that have failed least.
fn make_room(failures: &mut HashMap<u64, Failures>, now: Instant) {
    failures.retain(|_, found| {
        !found.locked_until.since(now).is_zero() || now.since(found.last) < FORGOTTEN / 24
    });
    let mut counts: Vec<f64> = failures.values().map(|found| found.count).collect();
    if failures.len() > MOST / 2 {
        let (_, middle, _) = counts.select_nth_unstable_by(failures.len() / 2, f64::total_cmp);
        let middle = *middle;
        failures.retain(|_, found| found.count > middle);
    }
}

/// An attempt that is under way. Dropped, it has failed.
///
/// ```
/// use resilient_runtime::clock::ManualClock;
/// use resilient_http::{LoginAttempt, LoginGuard};
///
/// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
/// let attempt: LoginAttempt = guard.attempt("ada", [192, 0, 2, 7].into()).unwrap();
/// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).is_err(), "a failure until it is known better");
/// # attempt.succeeded();
/// ```
#[derive(Debug)]
#[must_use = "an attempt that is dropped has failed"]
pub struct LoginAttempt {
    guard: LoginGuard,
    keys: [u64; 3],
    began: Instant,
}

impl LoginAttempt {
    /// The password was right: what this identity has failed before from this address is forgiven, and it is known there.
    ///
    /// ```
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).unwrap());
    /// guard.attempt("ada", [192, 0, 2, 7].into()).unwrap().succeeded();
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).is_ok(), "forgiven");
    /// ```
    pub fn succeeded(self) {
        self.guard.forgive(self.keys);
    }

    /// It was wrong, or there is no such identity. Waits until the answer may be given.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// guard.attempt("ada", [192, 0, 2, 7].into()).unwrap().failed().await;
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).is_err());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// It has failed, also if the future is dropped.
    pub async fn failed(self) {
        let until = self.began.after(self.guard.answers_after);
        let left = until.since(self.guard.shared.clock.now());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use resilient_runtime::clock::ManualClock;

    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn each_further_failure_locks_for_twice_as_long() {
        let time = ManualClock::new();
        let guard = LoginGuard::new(&time.clock()).failures(3);
        let fail = || guard.attempt("ada", address(1)).map(drop);
        assert_eq!([fail(), fail(), fail()], [Ok(()); 3]);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let locked = guard.attempt("ada", address(1)).unwrap_err();
            assert_eq!(locked.retry_after, SECONDS(minutes * 60));
            time.advance(SECONDS(minutes * 60));
            assert_eq!(fail(), Ok(()));
        }
        assert_eq!(guard.attempt("ada", address(2)).map(drop), Ok(()), "from where ada is, ada gets in");
        assert_eq!(guard.attempt("bob", address(1)).map(drop), Ok(()));
    }

    #[test]
    fn an_address_that_tries_all_and_an_identity_that_all_try_are_locked_as_well() {
        let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
        let spray =
            (0..100).take_while(|n| guard.attempt(&format!("user {n}"), address(1)).map(drop).is_ok());
        assert_eq!(spray.count(), 20);
        let botnet = (100..200).take_while(|n| guard.attempt("ada", address(*n)).map(drop).is_ok());
        assert_eq!(botnet.count(), 20);
        assert!(guard.attempt("nobody", address(300)).is_ok());
    }

    // G10
    #[test]
    fn all_spellings_of_a_name_share_its_guesses() {
        let spellings = [
            &[
                "ada",
                "Ada",
                "ADA",
                " ada",
                "ada\t",
                "\u{ff41}\u{ff44}\u{ff41}",
                "a\u{200b}da",
                "ada\u{feff}",
                "a\u{ad}da",
                "ada\0",
                "\u{a0}ada",
            ][..],
            &["r\u{e9}ne", "re\u{301}ne", "R\u{c9}NE", "RE\u{301}NE\r\n"],
            &["stra\u{df}e", "STRASSE", "STRA\u{1e9e}E", "Strasse"],
            &[
                "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}",
                "\u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}",
                "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c3}",
            ],
            &["\u{fb01}n@example.org", "FIN@EXAMPLE.ORG", "fin\u{ff20}example\u{ff0e}org"],
            &["\u{212b}ngstr\u{f6}m", "\u{c5}NGSTR\u{d6}M", "a\u{30a}ngstro\u{308}m"],
        ];
        for spellings in spellings {
            let guard = LoginGuard::new(&ManualClock::new().clock());
            let guesses = (0..100).filter(|n| {
                let name = spellings[n % spellings.len()];
                guard.attempt(name, address(1)).map(drop).is_ok()
            });
            assert_eq!(guesses.count(), 5, "{spellings:?}");
        }
        let names = ["ada", "adam", "bda", "a da", "ad\u{e0}", "1da"];
        let distinct: std::collections::HashSet<_> = names.map(spelled_in_one_way).into();
        assert_eq!(distinct.len(), names.len());
        assert!(
            spelled_in_one_way(&"a\u{301}".repeat(1 << 20)).len() < 8 * LONGEST_IDENTITY,
            "it is bounded"
        );
    }

    #[test]
    fn attempts_at_the_same_time_are_no_way_around() {
        let guard = LoginGuard::new(&ManualClock::new().clock());
        let together: Vec<_> = (0..100).map_while(|_| guard.attempt("ada", address(1)).ok()).collect();
        assert_eq!(together.len(), 5);
        together.into_iter().next().unwrap().succeeded();
        assert!(guard.attempt("ada", address(1)).is_ok(), "ada is in");
    }

    #[test]
    fn a_success_forgives_and_time_forgets() {
        let time = ManualClock::new();
        let guard = LoginGuard::new(&time.clock()).failures(3);
        for _ in 0..10 {
            guard.attempt("ada", address(1)).map(drop).unwrap();
            guard.attempt("ada", address(1)).map(drop).unwrap();
            guard.attempt("ada", address(1)).unwrap().succeeded();
        }
        guard.attempt("bob", address(2)).map(drop).unwrap();
        guard.attempt("bob", address(2)).map(drop).unwrap();
        time.advance(FORGOTTEN + SECONDS(1));
        guard.attempt("bob", address(2)).map(drop).unwrap();
        assert!(guard.attempt("bob", address(2)).is_ok());
    }

    #[test]
    fn an_office_with_slips_of_the_hand_each_day_is_never_locked() {
        let time = ManualClock::new();
        let guard = LoginGuard::new(&time.clock());
        let hours = |hours: u64| time.advance(SECONDS(hours * 3600));
        for day in 0..365_u32 {
            for slip in 0..2 {
                // Given up, or mended the next day.
                let user = format!("user {}", (day * 7 + slip * 3) % 200);
                assert_eq!(guard.attempt(&user, address(1)).map(drop), Ok(()), "day {day}");
                hours(12);
            }
        }
        // Mended at once, there may be any number.
        for _ in 0..10 {
            for user in 0..200 {
                let user = format!("user {user}");
                guard.attempt(&user, address(1)).map(drop).unwrap();
                guard.attempt(&user, address(1)).unwrap().succeeded();
            }
        }
    }

    #[test]
    fn who_knows_one_password_gains_no_guesses_at_others() {
        let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
        let guesses = (0..100).take_while(|n| {
            guard.attempt("mallory", address(1)).is_ok_and(|own| {
                own.succeeded();
                guard.attempt(&format!("user {n}"), address(1)).map(drop).is_ok()
            })
        });
        assert_eq!(guesses.count(), 20);
    }

    #[test]
    fn nobody_elsewhere_locks_a_user_out_from_where_the_user_got_in_lately() {
        let time = ManualClock::new();
        let guard = LoginGuard::new(&time.clock());
        let storm = |from: u32| {
            let guess = |n: u32| guard.attempt("ada", address(from + n / 5)).map(drop).is_ok();
            (0..500).filter(|n| guess(*n)).count()
        };
        guard.attempt("ada", address(1)).unwrap().succeeded();
        assert_eq!(storm(100), 50);
        assert!(guard.attempt("ada", address(2)).is_err(), "from a new place");
        guard.attempt("ada", address(1)).unwrap().succeeded();
        assert!(guard.attempt("ada", address(101)).is_err(), "which is no help to those who guess");
        let own = (0..10).take_while(|_| guard.attempt("ada", address(1)).map(drop).is_ok()).count();
        assert_eq!(own, 5, "by its own failures");
        time.advance(KNOWN + SECONDS(1));
        assert_eq!(storm(1000), 50);
        assert!(guard.attempt("ada", address(1)).is_err(), "too long ago");
    }

    #[test]
    fn where_users_got_in_is_bounded_and_the_latest_is_known_longest() {
        let time = ManualClock::new();
        let guard = LoginGuard::new(&time.clock());
        for number in 0..150_000 {
            time.advance(Duration::from_millis(1));
            guard.attempt(&number.to_string(), address(number)).unwrap().succeeded();
        }
        let record = guard.shared.record.lock().unwrap();
        assert!(record.known.len() <= MOST);
        assert!(record.known.contains_key(&guard.keys("149999", address(149_999))[0]));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_failed_most_is_remembered_longest() {
        let guard = LoginGuard::new(&ManualClock::new().clock());
        for _ in 0..5 {
            guard.attempt("ada", address(1)).map(drop).unwrap();
        }
        for number in 10..200_000 {
            guard.attempt(&number.to_string(), address(number)).map(drop).unwrap();
        }
        assert!(guard.shared.record.lock().unwrap().failures.len() <= MOST);
        assert!(guard.attempt("ada", address(1)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_answered_no_sooner_than_any_other() {
        let guard = LoginGuard::new(&Clock::tokio()).answers_after(SECONDS(1));
        let began = tokio::time::Instant::now();
        let attempt = guard.attempt("nobody", address(1)).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        attempt.failed().await;
        assert_eq!(began.elapsed(), SECONDS(1));
    }
}
