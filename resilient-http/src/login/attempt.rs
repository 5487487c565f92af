//! One attempt to log in.

use std::time::Duration;

use resilient_runtime::clock::Instant;

use super::LoginGuard;
use super::record::Keys;

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
    pub(super) guard: LoginGuard,
    pub(super) keys: Keys,
    pub(super) began: Instant,
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
        let LoginGuard { shared, failures, .. } = &self.guard;
        shared.record().forgive(self.keys, *failures, shared.clock.now());
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
