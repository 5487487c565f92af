//! Protection of logins against password guessing.

mod attempt;
mod identity;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::Component;
use resilient_runtime::clock::Clock;
use resilient_runtime::store::{LoginRule, MemoryLogins, Store};

use crate::layer::client_of;
pub use attempt::{Locked, LoginAttempt};
use shared::Keys;

/// Protects a login against password guessing.
///
/// # Locks
/// Failures are counted for an identity at an address, for an address, and for an identity. After
/// [`failures`](Self::failures) failures of an identity at an address, that pair is locked for
/// [`first_lock`](Self::first_lock). Each further failure doubles the lock, up to one hour. An address or an identity alone
/// is locked after ten times as many failures, which stops an address that tries many identities and many addresses that
/// try one identity.
///
/// Failures decay: after a day they count half, and after a day without a new failure they are removed. A success removes
/// the failures of this identity from this address. Typing errors therefore do not accumulate, even in an office of hundreds
/// of users behind one address.
///
/// # Known addresses
/// After a success, the identity is known at this address for 30 days. At a known address, only its own failures from there
/// lock it. An attacker at another address cannot lock a user out from an address where the user logged in recently. At a
/// new address, an attack from many addresses does lock the user out for as long as it continues.
///
/// # Several instances
/// Failures and known addresses are in the memory of one process, and lost when it ends. With [`store`](Self::store), all
/// instances of a service share them.
///
/// # Identities
/// All spellings of an identity, such as `ada`, `Ada ` and `ADA`, share their failures; see [`normalize`](Self::normalize).
///
/// Do not reveal whether an identity exists. Call [`attempt`](Self::attempt) before you look the identity up, and send the
/// same response to all failures. [`LoginAttempt::failed`] waits for [`answers_after`](Self::answers_after), so that the
/// response time does not show whether there was a password to compare.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use resilient_http::LoginGuard;
///
/// let guard = LoginGuard::new(resilient_runtime::registry().clock());
/// let address = "192.0.2.7".parse().unwrap();
/// for _ in 0..5 {
///     guard.attempt("ada", address).await.unwrap().failed().await;
/// }
/// let locked = guard.attempt("ada", address).await.unwrap_err();
/// assert!(locked.retry_after.as_secs() > 50);
/// # });
/// ```
#[derive(Clone)]
pub struct LoginGuard {
    clock: Clock,
    /// Also counts if there is a store, and decides if the store fails.
    local: Arc<MemoryLogins>,
    store: Option<Arc<Store>>,
    failures: u32,
    first_lock: Duration,
    answers_after: Duration,
    normalize: Normalize,
}

/// Maps all spellings of an identity to one.
type Normalize = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl fmt::Debug for LoginGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginGuard")
            .field("failures", &self.failures)
            .field("first_lock", &self.first_lock)
            .field("answers_after", &self.answers_after)
            .field("store", &self.store.as_ref().map(|store| store.name()))
            .finish_non_exhaustive()
    }
}

impl LoginGuard {
    /// Creates a guard that locks for one minute after five failures.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let time = ManualClock::new();
    /// let (guard, address) = (LoginGuard::new(&time.clock()), [192, 0, 2, 7].into());
    /// for _ in 0..5 {
    ///     drop(guard.attempt("ada", address).await.unwrap());
    /// }
    /// time.advance(guard.attempt("ada", address).await.unwrap_err().retry_after);
    /// assert!(guard.attempt("ada", address).await.is_ok());
    /// # }
    /// ```
    pub fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            local: Arc::new(MemoryLogins::new(clock.clone())),
            store: None,
            failures: 5,
            first_lock: Duration::from_mins(1),
            answers_after: Duration::ZERO,
            normalize: Arc::new(identity::normalize),
        }
    }

    /// Sets how many failures of an identity from one address lock it.
    ///
    /// The default is 5, and the minimum is 1. An address alone, or an identity alone, is locked after ten times as many.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap());
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn failures(self, failures: u32) -> Self {
        Self { failures: failures.max(1), ..self }
    }

    /// Sets the duration of the first lock; one minute by default.
    ///
    /// Each further failure doubles the lock, up to one hour. A first lock of more than an hour is not doubled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let lock = Duration::from_mins(5);
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1).first_lock(lock);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap());
    /// assert_eq!(guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap_err().retry_after, lock);
    /// # }
    /// ```
    #[must_use]
    pub fn first_lock(self, span: Duration) -> Self {
        Self { first_lock: span, ..self }
    }

    /// Sets the minimum time that a failed attempt takes; zero by default.
    ///
    /// [`LoginAttempt::failed`] waits until this time has passed since the start of the attempt. Set it to a little more than
    /// it takes to verify a password.
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
    /// guard.attempt("no-such-user", [192, 0, 2, 7].into()).await.unwrap().failed().await;
    /// assert!(began.elapsed() >= Duration::from_millis(300));
    /// # }
    /// ```
    #[must_use]
    pub fn answers_after(self, span: Duration) -> Self {
        Self { answers_after: span, ..self }
    }

    /// Shares failures and known addresses with all instances that use the same store.
    ///
    /// Without it, an attacker has as many guesses at each instance, and a restart forgets them. The store contains hashes
    /// of identities and addresses only. While the store fails, the failures that this instance has seen decide. An attempt
    /// waits for the store for at most its timeout.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_http::LoginGuard;
    /// use resilient_runtime::{Registry, store::MemoryLogins};
    ///
    /// let registry = Registry::new();
    /// // With `resilient-redis`: registry.use_store("shared", RedisStore::connect_lazily("redis://..")?);
    /// registry.use_store("shared", MemoryLogins::new(registry.clock().clone()));
    /// let instance = || LoginGuard::new(registry.clock()).store(registry.store("shared"));
    /// let (first, second) = (instance(), instance());
    /// for _ in 0..5 {
    ///     first.attempt("ada", [192, 0, 2, 7].into()).await.unwrap().failed().await;
    /// }
    /// assert!(second.attempt("ada", [192, 0, 2, 7].into()).await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn store(self, store: Arc<Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Sets how an identity is normalized before its failures are counted.
    ///
    /// Identities with the same normalized form share their failures. `normalize` must map all spellings that log into one
    /// account to the same form.
    ///
    /// The default trims white space and is otherwise nearly the `NFKC_Casefold` of Unicode: upper and lower case, full-width
    /// letters, composed and decomposed accents, and invisible characters make no difference. Set your own function if names
    /// are case-sensitive, or if several addresses (`ada+shop@..`) belong to one account.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// let address = [192, 0, 2, 7].into();
    /// assert!(guard.attempt("ada", address).await.is_ok());
    /// assert!(guard.attempt(" ADA", address).await.is_err(), "the same account");
    /// let case_sensitive = guard.normalize(|name| name.trim().to_owned());
    /// assert!(case_sensitive.attempt("Ada", address).await.is_ok(), "another account");
    /// # }
    /// ```
    #[must_use]
    pub fn normalize(self, normalize: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self { normalize: Arc::new(normalize), ..self }
    }

    /// Starts a login attempt of an identity from an address.
    ///
    /// Call this before you look the identity up. The attempt counts as a failure until [`LoginAttempt::succeeded`] is
    /// called, so that concurrent attempts cannot exceed the limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    /// let address = [192, 0, 2, 7].into();
    /// drop(guard.attempt("ada", address).await.unwrap());
    /// drop(guard.attempt("ada", address).await.unwrap());
    /// assert!(guard.attempt("ada", address).await.is_err());
    /// assert!(guard.attempt("bob", address).await.is_ok(), "another identity at the same address");
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns [`Locked`] if the identity at this address, the address or the identity is locked. At a known address, only
    /// the identity at this address is checked.
    ///
    /// # Cancel safety
    /// If the future is dropped, the attempt can count as a failure.
    pub async fn attempt(&self, identity: &str, address: IpAddr) -> Result<LoginAttempt, Locked> {
        let (keys, began) = (self.keys(identity, address), self.clock.now());
        let is_in_store = self.admit(&keys).await?;
        Ok(LoginAttempt { guard: self.clone(), keys, is_in_store, began })
    }

    fn keys(&self, identity: &str, address: IpAddr) -> Keys {
        let (identity, client) = ((self.normalize)(identity), client_of(address));
        let both = format!("both\0{client}\0{identity}");
        Keys([both, format!("address\0{client}"), format!("identity\0{identity}")])
    }

    /// The rule of an identity at an address, and the one of an address or an identity alone.
    fn rules(&self) -> [LoginRule; 3] {
        let rule = |limit| LoginRule { limit, first_lock: self.first_lock };
        let alone = rule(self.failures.saturating_mul(10));
        [rule(self.failures), alone, alone]
    }
}
