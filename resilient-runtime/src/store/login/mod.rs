//! The role of a store that counts failed logins.

mod memory;

use std::time::Duration;

pub use memory::MemoryLogins;

use super::Answer;

/// When a key is locked.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::store::LoginRule;
///
/// let rule = LoginRule { limit: 5, first_lock: Duration::from_mins(1) };
/// assert_eq!([5, 6, 7].map(|failures| rule.lock(failures).as_secs()), [60, 120, 240]);
/// assert_eq!((rule.lock(4).as_secs(), rule.lock(100).as_secs()), (0, 3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRule {
    /// The number of failures that locks the key. At least 1.
    pub limit: u32,
    /// The time of the first lock. Each further failure doubles it, up to one hour or up to this time if it is longer.
    pub first_lock: Duration,
}

impl LoginRule {
    /// The longest lock, unless the first one is longer.
    pub const LONGEST: Duration = Duration::from_hours(1);
    /// Failures decay: after this time they count half, and without another one they are forgotten.
    pub const HALF_LIFE: Duration = Duration::from_hours(24);
    /// How long a key is known after a success.
    pub const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

    /// Returns how long a key with so many failures is locked after the last one.
    pub fn lock(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.limit) {
            Some(further) => {
                let span = self.first_lock.saturating_mul(1 << further.min(20));
                span.min(Self::LONGEST.max(self.first_lock))
            }
            None => Duration::ZERO,
        }
    }
}

/// The state of a key.
///
/// ```
/// use resilient_runtime::store::LoginState;
///
/// assert_eq!(LoginState::default(), LoginState { locked_for: None, is_known: false });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginState {
    /// How long it is still locked.
    pub locked_for: Option<Duration>,
    /// Whether a login succeeded in the last 30 days.
    pub is_known: bool,
}

/// Counts failed logins for several instances. `resilient_http::LoginGuard` uses it.
///
/// A key stands for an identity, an address, or both. It contains their names, so a store that others can read must hash
/// it. Each operation is atomic for its key, and uses the clock of the store.
///
/// - A count decays as the constants of [`LoginRule`] say: by the power of the time since the last change, and to zero if there was none for
///   [`LoginRule::HALF_LIFE`]. It is rounded to a whole number to decide about a lock.
/// - A failure locks the key for [`LoginRule::lock`] from now, if the count has reached the limit.
/// - A key is known for [`LoginRule::KNOWN_FOR`] after its last success. That does not depend on its failures.
/// - A store that is full forgets keys with few failures first, and no key that is locked.
///
/// `resilient_runtime::testing::check_login_store` checks these rules. [`MemoryLogins`] is an implementation in memory.
pub trait LoginStore: Send + Sync + 'static {
    /// Returns the state of a key, and changes nothing.
    fn check<'a>(&'a self, key: &'a str) -> Answer<'a, LoginState>;

    /// Counts a failure. If the key is locked and `is_judged`, it counts nothing and returns for how long; otherwise it
    /// returns no lock.
    fn count<'a>(&'a self, key: &'a str, rule: LoginRule, is_judged: bool) -> Answer<'a, LoginState>;

    /// Removes all failures after a success, and makes the key known. Returns how many there were, in thousandths.
    fn forgive<'a>(&'a self, key: &'a str) -> Answer<'a, u64>;

    /// Subtracts failures, in thousandths, down to zero. Unlocks the key if it is below the limit then.
    fn subtract<'a>(&'a self, key: &'a str, rule: LoginRule, thousandths: u64) -> Answer<'a, ()>;
}
