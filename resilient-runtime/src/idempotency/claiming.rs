//! Claims a key in the store and waits while another call owns it.

use std::fmt::{self, Display, Write};
use std::sync::Arc;
use std::time::Duration;

use super::lease::{Lease, Shown, abandon_unheard};
use super::{ClaimOutcome, Config, Idempotency, OnStoreFailure, OnUnknown, Stored};
use crate::clock::Instant;
use crate::observe::{EventKind, log_limited};
use crate::rejection::{Rejection, RejectionKind};
use crate::store::idempotency::{Claim, Claimed, ClientId, Fingerprint, IdempotencyStore, Owner};
use crate::store::wait::{Guarded, Mode, guarded};
use crate::store::{Answer, StoreError};
use crate::sync::Ordering;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;
/// First and longest interval between two checks of a record that is in progress.
const STEPS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// Minimum time for which a lost call is remembered. Even with a short `ttl` it is executed again only if the settings
/// allow that.
pub(super) const LOST_FOR: Duration = Duration::from_hours(1);
/// How long the health report shows that a store was full.
const FULL_FOR: Duration = Duration::from_mins(1);
/// `retry_after` for a store that failed.
const LATER: Duration = Duration::from_secs(1);

impl Idempotency {
    /// The key of a record: the component's name and the caller's key. A key that is too long is not formatted to its
    /// end.
    pub(super) fn record_key(&self, key: &dyn Display) -> Result<String, Rejection> {
        struct Bounded(String, usize);
        impl Write for Bounded {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.1 = self.1.checked_sub(text.len()).ok_or(fmt::Error)?;
                self.0.push_str(text);
                Ok(())
            }
        }
        let mut text = Bounded(format!("{}\0", self.core.name), LONGEST_KEY);
        let fits = write!(text, "{key}").is_ok() && text.1 < LONGEST_KEY;
        if fits { Ok(text.0) } else { Err(self.refuse(RejectionKind::InvalidKey, None)) }
    }

    /// `key` comes from [`record_key`](Self::record_key).
    pub(super) async fn claim_in(
        &self,
        key: String,
        asked: (Fingerprint, &'static str),
        deadline: Instant,
        mode: Mode,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        let until = self.core.clock().now().after(self.core.config().max_wait).min(deadline);
        self.claim_for(None, key, asked, until, mode).await
    }

    /// `until` limits the wait for a running call.
    pub(super) async fn claim_for(
        &self,
        client: Option<ClientId>,
        key: String,
        (fingerprint, operation): (Fingerprint, &'static str),
        until: Instant,
        mode: Mode,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        let (clock, config) = (self.core.clock(), self.core.config());
        let store = self.store_of(&config)?;
        let claim = Claim {
            key,
            fingerprint,
            operation,
            owner: Owner(self.core.environment.random.unique()),
            lease: config.lease,
            lost_for: config.ttl.max(LOST_FOR),
            takes_over: config.on_unknown == OnUnknown::Reexecute,
            client,
        };
        let mut step = STEPS.0;
        loop {
            let began = clock.now();
            let answer = self.ask(mode, || store.claim(claim.clone()));
            let answer = mode.answer((clock, self.core.name), self.store_timeout(&config), answer);
            let claimed = claimed_or_freed(self, &*store, &claim, answer).await;
            let retry_after = match claimed {
                Ok(Claimed::Acquired) => return Ok(ClaimOutcome::Run(Some(self.lease(store, claim, began)))),
                Ok(Claimed::Done(bytes)) => {
                    return Ok(ClaimOutcome::Replay(Stored { idempotency: self, operation, bytes }));
                }
                Ok(Claimed::OtherOperation(by)) => return Err(self.other_operation(&by, operation)),
                Ok(Claimed::KeyReused) => {
                    self.counters.key_reused.count();
                    return Err(self.refuse(RejectionKind::KeyReused, None));
                }
                Ok(Claimed::Lost) => {
                    self.counters.unknown.count();
                    return Err(self.refuse(RejectionKind::OutcomeUnknown, None));
                }
                Ok(Claimed::InProgress { retry_after }) => retry_after,
                Err(error) => return self.without_store(&error, config.on_store_failure),
            };
            let left = until.since(clock.now());
            if step == STEPS.0 && !left.is_zero() {
                self.counters.waited.count();
            }
            if left.is_zero() || !mode.pause((clock, self.core.name), step.min(left)).await {
                self.counters.in_progress.count();
                return Err(self.refuse(RejectionKind::InProgress, Some(retry_after)));
            }
            step = (step * 2).min(STEPS.1);
        }
    }

    /// Asks the store.
    #[inline]
    #[cfg_attr(not(feature = "chaos"), allow(clippy::unused_self))] // the same signature with the feature
    pub(super) fn ask<'a, T: Send + 'a>(
        &'a self,
        #[cfg_attr(not(feature = "chaos"), expect(unused_variables))] mode: Mode,
        ask: impl FnOnce() -> Answer<'a, T> + Send + 'a,
    ) -> Guarded<'a, T> {
        #[cfg(feature = "chaos")]
        if self.faults.is_set() {
            return self.ask_with_faults(mode, ask);
        }
        guarded(ask)
    }

    fn lease(&self, store: Arc<dyn IdempotencyStore>, claim: Claim, asked: Instant) -> Lease<'_> {
        self.counters.executed.count();
        let Claim { key, owner, operation, lease: span, client, .. } = claim;
        // Measured from before the request, because the store's lease may have started then.
        let shown = Shown::until(self.core.clock(), asked.after(span));
        Lease {
            idempotency: self,
            store,
            key,
            owner,
            operation,
            span,
            shown,
            frees_unbegun: false,
            has_ended: false,
            most: Duration::MAX,
            ends_dropped: client.is_some(),
        }
    }

    /// The time limit of a request: the one of this component, or the one of the store if that is shorter.
    pub(super) fn store_timeout(&self, config: &Config) -> Duration {
        let guard = config.store.as_ref().and_then(|name| self.stores.get(name).ok());
        guard.map_or(config.store_timeout, |guard| guard.timeout().min(config.store_timeout))
    }

    /// The store in use. A named store that is not registered is an error, and there is no fallback to another store.
    pub(super) fn store_of(&self, config: &Config) -> Result<Arc<dyn IdempotencyStore>, Rejection> {
        let Some(name) = &config.store else { return Ok(Arc::clone(&self.store.lock())) };
        let found = self.stores.get(name).map(|guard| guard as Arc<dyn IdempotencyStore>);
        found.map_err(|problem| {
            self.counters.store_failures.count();
            log_limited!(
                self.log_limits.no_store, self.core.clock(), ERROR, target: "resilient_runtime::idempotency",
                idempotency = %self.core.name, problem, "the named store is not registered"
            );
            self.publish(EventKind::StoreFailed { problem });
            self.refuse(RejectionKind::NoStore, None)
        })
    }

    /// Rejects a call because another operation used its key.
    #[cold]
    pub(super) fn other_operation(&self, by: &str, asks: &str) -> Rejection {
        self.counters.key_reused.count();
        log_limited!(
            self.log_limits.other_operation, self.core.clock(), WARN, target: "resilient_runtime::idempotency",
            idempotency = %self.core.name, by, asks, "two operations use the same idempotency key"
        );
        self.refuse(RejectionKind::KeyReused, None).explained(format!("`{by}`; this operation is `{asks}`"))
    }

    #[cold]
    fn without_store(&self, error: &StoreError, then: OnStoreFailure) -> Result<ClaimOutcome<'_>, Rejection> {
        self.note_failure(error);
        match then {
            OnStoreFailure::Open => Ok(ClaimOutcome::Run(None)),
            OnStoreFailure::Closed => Err(self.refuse_without_store(error)),
        }
    }

    /// Counts, logs and publishes a failure of the store.
    #[cold]
    pub(super) fn note_failure(&self, error: &StoreError) {
        self.counters.store_failures.count();
        let error_text = self
            .core
            .environment
            .texts()
            .clean(&error.to_string())
            .unwrap_or_else(|| "the store failed".to_owned());
        log_limited!(
            self.log_limits.no_answer, self.core.clock(), ERROR, target: "resilient_runtime::idempotency",
            idempotency = %self.core.name, error = error_text, "the idempotency store failed"
        );
        self.publish(EventKind::StoreFailed { problem: error_text });
        if matches!(error, StoreError::Full { .. }) {
            self.counters.full.count();
            self.full_until.store(self.core.clock().now().after(FULL_FOR).as_nanos(), Ordering::Relaxed);
        }
    }

    #[cold]
    pub(super) fn refuse_without_store(&self, error: &StoreError) -> Rejection {
        match error {
            StoreError::Full { retry_after, .. } => {
                self.refuse(RejectionKind::StoreUnavailable, *retry_after).of_full_store()
            }
            #[cfg(feature = "chaos")]
            StoreError::Injected(by) => {
                self.refuse(RejectionKind::StoreUnavailable, Some(LATER)).caused_by(by.clone())
            }
            _ => self.refuse(RejectionKind::StoreUnavailable, Some(LATER)),
        }
    }
}

/// Claims a key and frees it again if the response is not received: the caller was dropped, or the store timed out and
/// might still make the claim. Nothing has run under that claim.
async fn claimed_or_freed(
    idempotency: &Idempotency,
    store: &dyn IdempotencyStore,
    claim: &Claim,
    claimed: impl Future<Output = Result<Claimed, StoreError>>,
) -> Result<Claimed, StoreError> {
    struct Unheard<'a>(&'a Idempotency, &'a dyn IdempotencyStore, &'a Claim);
    impl Drop for Unheard<'_> {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                abandon_unheard(self.0, self.1, &self.2.key, self.2.owner);
            }
        }
    }
    let unheard = Unheard(idempotency, store, claim);
    let claimed = claimed.await;
    if claimed.is_ok() {
        std::mem::forget(unheard);
    }
    claimed
}
