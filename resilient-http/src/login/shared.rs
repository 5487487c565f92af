//! The steps of an attempt, at a store or in memory.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::{join_all, join3};
use resilient_runtime::observe::LogLimit;
use resilient_runtime::store::{Backend, LoginRule, LoginStore, Need, StoreError};

use super::{Locked, LoginGuard};

static NOT_SHARED: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

/// The keys under which failures of an attempt are counted: identity and address, address, identity.
#[derive(Debug)]
pub(super) struct Keys(pub(super) [String; 3]);

fn role(backend: &dyn Backend) -> Result<&dyn LoginStore, StoreError> {
    backend.logins().ok_or_else(|| {
        StoreError::Refused(format!(
            "the store at {} cannot count logins: use one that has this role, such as `RedisStore`",
            backend.address()
        ))
    })
}

/// Counts an attempt as a failure, or returns for how long it is locked.
async fn admit(
    logins: &dyn LoginStore,
    Keys([both, address, identity]): &Keys,
    rules: [LoginRule; 3],
) -> Result<Option<Duration>, StoreError> {
    let (own, of_address, of_identity) =
        join3(logins.check(both), logins.check(address), logins.check(identity)).await;
    let own = own?;
    // At a known address, failures elsewhere do not count.
    let is_judged = !own.is_known;
    let others = [of_address?, of_identity?].map(|state| state.locked_for.filter(|_| is_judged));
    if let Some(left) = others.into_iter().flatten().chain(own.locked_for).max() {
        return Ok(Some(left));
    }
    let counted = join3(
        logins.count(both, rules[0], true),
        logins.count(address, rules[1], is_judged),
        logins.count(identity, rules[2], is_judged),
    );
    let (own, of_address, of_identity) = counted.await;
    let locks = [own?, of_address?, of_identity?].map(|state| state.locked_for);
    let Some(left) = locks.into_iter().flatten().max() else { return Ok(None) };
    // Another attempt was faster. This one does not count.
    let keys = [both, address, identity].into_iter().zip(rules).zip(locks);
    let undone =
        keys.filter(|(_, lock)| lock.is_none()).map(|((key, rule), _)| logins.subtract(key, rule, 1000));
    for undone in join_all(undone).await {
        undone?;
    }
    Ok(Some(left))
}

/// Removes the failures of an identity at its address, and makes it known there.
///
/// The address and the identity lose only the failures that they have in common. A client with one correct password must not
/// get more guesses at others, and a guess from another address must not profit from the user's success.
async fn forgive(
    logins: &dyn LoginStore,
    Keys([both, address, identity]): &Keys,
    rules: [LoginRule; 3],
) -> Result<(), StoreError> {
    let forgiven = logins.forgive(both).await?;
    logins.subtract(address, rules[1], forgiven).await?;
    logins.subtract(identity, rules[2], forgiven).await
}

impl LoginGuard {
    /// Counts an attempt as a failure. Returns whether the store has counted it.
    pub(super) async fn admit(&self, keys: &Keys) -> Result<bool, Locked> {
        let rules = self.rules();
        if let Some(store) = &self.store {
            let send = |backend: Arc<dyn Backend>| async move { admit(role(&*backend)?, keys, rules).await };
            match store.request(Need::Optional, send).await {
                Ok(None) => {
                    // In case that the store fails later.
                    for (key, rule) in keys.0.iter().zip(rules) {
                        let _ = self.local.count(key, rule, false).await;
                    }
                    return Ok(true);
                }
                Ok(Some(retry_after)) => return Err(Locked { retry_after }),
                Err(error) => self.warn(&error),
            }
        }
        match admit(&*self.local, keys, rules).await {
            Ok(None) => Ok(false),
            Ok(Some(retry_after)) => Err(Locked { retry_after }),
            // Memory does not fail.
            Err(_) => Err(Locked { retry_after: self.first_lock }),
        }
    }

    pub(super) async fn forgive(&self, keys: &Keys, is_in_store: bool) {
        let rules = self.rules();
        let _ = forgive(&*self.local, keys, rules).await;
        if let Some(store) = &self.store {
            let send =
                |backend: Arc<dyn Backend>| async move { forgive(role(&*backend)?, keys, rules).await };
            // If the store has not counted this attempt, it is not worth waiting for a store that fails. It can have earlier failures.
            let need = if is_in_store { Need::Required } else { Need::Optional };
            if let Err(error) = store.request(need, send).await {
                self.warn(&error);
            }
        }
    }

    fn warn(&self, error: &StoreError) {
        if let Some(left_out) = NOT_SHARED.pass(&self.clock) {
            let suppressed = (left_out > 0).then_some(left_out);
            tracing::warn!(
                target: "resilient_http", %error, suppressed,
                "failed logins are not shared with other instances at the moment"
            );
        }
    }
}
