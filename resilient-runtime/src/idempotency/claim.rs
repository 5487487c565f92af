//! Claiming a key, directly and for the pipeline.

use std::fmt::Display;
use std::time::Duration;

use super::{ClaimOutcome, ClientId, Fingerprint, Idempotency};
use crate::clock::Instant;
use crate::context::Scope;
use crate::rejection::Rejection;
use crate::store::wait::{Mode, blocking};

impl Idempotency {
    /// Claims a key, or returns the stored result.
    ///
    /// Waits for a running call with the same key, up to `max_wait` and the deadline of the current call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("order");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.give_up().await;
    /// let again = once.claim("7", Fingerprint::NONE).await.unwrap();
    /// assert!(matches!(again, ClaimOutcome::Run(_)), "the key is free again");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the key becomes free at once, or at the latest when the lease expires.
    ///
    /// # Errors
    /// Returns a [`Rejection`] if:
    /// - another call with the key is still running after the wait, or its outcome is unknown;
    /// - the key was used with another payload;
    /// - the key is empty or longer than 1024 bytes;
    /// - the store fails, or the settings name a store that is not registered.
    pub async fn claim(&self, key: &str, fingerprint: Fingerprint) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        self.claim_in(key, (fingerprint, ""), self.inherited(), Mode::Async).await
    }

    /// Like [`claim`](Self::claim), for a key that belongs to an untrusted client.
    ///
    /// A store can limit each client to a share of its capacity, as [`MemoryStore`](super::MemoryStore) does. The call
    /// waits up to the argument `max_wait` for a running call, and the setting `max_wait` is ignored. A lease that is
    /// dropped expires at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::{ClientId, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("upload");
    /// let upload = async || once.claim_of(ClientId(7), "a.png", Fingerprint::NONE, Duration::ZERO).await;
    /// let _lease = upload().await.unwrap();
    /// assert_eq!(upload().await.unwrap_err().kind(), RejectionKind::InProgress, "without a wait");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// See [`claim`](Self::claim).
    ///
    /// # Errors
    /// See [`claim`](Self::claim).
    pub async fn claim_of(
        &self,
        client: ClientId,
        key: &str,
        fingerprint: Fingerprint,
        max_wait: Duration,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        let deadline = self.inherited();
        let until = self.core.clock().now().after(max_wait).min(deadline);
        self.claim_for(Some(client), key, (fingerprint, ""), (until, deadline), Mode::Async).await
    }

    /// Like [`claim`](Self::claim), but blocks the thread while it waits.
    ///
    /// ```
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("payout");
    /// let held = once.claim_blocking("order 7", Fingerprint::of(&995)).unwrap();
    /// let other = once.claim_blocking("order 7", Fingerprint::of(&1)).unwrap_err();
    /// assert_eq!(other.kind(), RejectionKind::KeyReused, "another payload");
    /// # drop(held);
    /// ```
    ///
    /// # Errors
    /// See [`claim`](Self::claim).
    pub fn claim_blocking(&self, key: &str, fingerprint: Fingerprint) -> Result<ClaimOutcome<'_>, Rejection> {
        self.claim_until_blocking(self.record_key(&key)?, (fingerprint, ""), self.inherited())
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    pub(crate) fn key(&self, key: &dyn Display) -> Result<String, Rejection> {
        self.record_key(key)
    }

    pub(crate) async fn claim_until(
        &self,
        key: String,
        asked: (Fingerprint, &'static str),
        deadline: Instant,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        self.claim_in(key, asked, deadline, Mode::Async).await
    }

    pub(crate) fn claim_until_blocking(
        &self,
        key: String,
        asked: (Fingerprint, &'static str),
        deadline: Instant,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        blocking(self.claim_in(key, asked, deadline, Mode::Blocking))
    }
}
