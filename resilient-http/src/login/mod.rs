//! Guessing passwords is made slow.

mod attempt;
mod identity;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resilient_runtime::clock::Clock;

use crate::layer::client_of;
pub use attempt::{Locked, LoginAttempt};
use record::{Keys, Record};

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

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            normalize: Arc::new(identity::normalize),
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
        let mut record = self.shared.record();
        if let Some(retry_after) = record.locked_for(&keys, now) {
            return Err(Locked { retry_after });
        }
        // A failure until it is known better: many attempts at the same time are no way around.
        record.note(keys, self.failures, self.first_lock, now);
        drop(record);
        Ok(LoginAttempt { guard: self.clone(), keys, began: now })
    }

    fn keys(&self, identity: &str, address: IpAddr) -> Keys {
        let identity = (self.normalize)(identity);
        let (client, hasher) = (client_of(address), &self.shared.hasher);
        [
            hasher.hash_one((&identity, client)),
            hasher.hash_one(("address", client)),
            hasher.hash_one(("identity", &identity)),
        ]
    }
}
