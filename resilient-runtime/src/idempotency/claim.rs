//! Claiming a key by hand, and for the pipeline.

use std::fmt::Display;
use std::time::Duration;

use super::wait::{Mode, blocking};
use super::{ClaimOutcome, ClientId, Fingerprint, Idempotency};
use crate::clock::Instant;
use crate::context::Scope;
use crate::rejection::Rejection;

impl Idempotency {
    /// Claims a key, or gives the answer of the call that had it; waits for one that runs.
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
    /// If the future is dropped, the key is free again, at the latest when the lease is over.
    ///
    /// # Errors
    /// When another call with the key still runs when the wait is over, or was lost; the payload is another; the key is
    /// empty or longer than 1024 bytes; the store does not answer, or the settings name one that is not there.
    pub async fn claim(&self, key: &str, fingerprint: Fingerprint) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        self.claim_in(key, (fingerprint, ""), self.inherited(), Mode::Async).await
    }

    /// Like [`claim`](Self::claim), of one of many clients that need not mean well: a store gives each a share of its
    /// room, as [`MemoryStore`](super::MemoryStore) does. It waits `max_wait` for a call that runs, whatever the settings say. A lease that is
    /// dropped is over at once.
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
    /// assert_eq!(upload().await.unwrap_err().kind(), RejectionKind::InProgress, "at once");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`claim`](Self::claim).
    ///
    /// # Errors
    /// As of [`claim`](Self::claim).
    pub async fn claim_of(
        &self,
        client: ClientId,
        key: &str,
        fingerprint: Fingerprint,
        max_wait: Duration,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        let until = self.core.clock().now().after(max_wait).min(self.inherited());
        self.claim_for(Some(client), key, (fingerprint, ""), until, Mode::Async).await
    }

    /// Like [`claim`](Self::claim), and blocks the thread while it waits.
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
    /// As of [`claim`](Self::claim).
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
