//! A single login attempt.

use std::time::Duration;

use resilient_runtime::clock::Instant;

use super::LoginGuard;
use super::shared::Keys;

/// The error of a login attempt that is locked out.
///
/// Reject the attempt without a check of the password.
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
    /// How long the lock lasts from now.
    pub retry_after: Duration,
}

/// A login attempt in progress.
///
/// It counts as a failure unless [`succeeded`](Self::succeeded) is called. Dropping it is the same as a failure.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::clock::ManualClock;
/// use resilient_http::{LoginAttempt, LoginGuard};
///
/// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
/// let attempt: LoginAttempt = guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap();
/// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).await.is_err(), "counts as a failure until it succeeds");
/// # attempt.succeeded().await;
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a login attempt counts as failed unless `succeeded` is called"]
pub struct LoginAttempt {
    pub(super) guard: LoginGuard,
    pub(super) keys: Keys,
    /// Whether the store has counted it.
    pub(super) is_in_store: bool,
    pub(super) began: Instant,
}

impl LoginAttempt {
    /// Reports that the password was correct.
    ///
    /// Earlier failures of this identity from this address are removed, and the identity becomes known at this address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    /// drop(guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap());
    /// guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap().succeeded().await;
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).await.is_ok(), "forgiven");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the attempt can stay counted as a failure.
    pub async fn succeeded(self) {
        self.guard.forgive(&self.keys, self.is_in_store).await;
    }

    /// Reports that the password was wrong or that the identity does not exist.
    ///
    /// Waits until [`LoginGuard::answers_after`] has passed since the attempt began. Send the response after that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::clock::ManualClock;
    /// use resilient_http::LoginGuard;
    ///
    /// let guard = LoginGuard::new(&ManualClock::new().clock()).failures(1);
    /// guard.attempt("ada", [192, 0, 2, 7].into()).await.unwrap().failed().await;
    /// assert!(guard.attempt("ada", [192, 0, 2, 7].into()).await.is_err());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the attempt still counts as a failure.
    pub async fn failed(self) {
        let until = self.began.after(self.guard.answers_after);
        let left = until.since(self.guard.clock.now());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }
}
