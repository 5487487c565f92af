//! Combines the requests of this process for a token of the same bucket.
//!
//! While a request for a limit is on its way, calls for this limit wait, and the next request takes a token for each of
//! them. The number of decisions per second can therefore exceed the number of requests that the server can process. The
//! tokens are handed out in the order of the calls, as if the server had decided about one after the other.
//!
//! A call waits for an earlier request for at most [`PATIENCE`]. A distant or slow server therefore has several requests to
//! process at the same time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resilient_runtime::rate_limit::{RateAlgorithm, RateRequest, RateRule, Taken};
use resilient_runtime::store::StoreError;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{read, taking};
use crate::session::Session;

/// How long a call waits for the request that was sent before.
const PATIENCE: Duration = Duration::from_millis(1);
/// Maximum number of calls that wait for the next request. Further ones send their own.
const MOST: usize = 1024;

/// A call that waits for its token.
#[derive(Debug)]
struct Call {
    since: Instant,
    decided: oneshot::Sender<Result<Taken, StoreError>>,
}

/// The calls that wait for the next request for a limit.
#[derive(Debug)]
struct Group {
    rule: RateRule,
    calls: Vec<Call>,
}

/// The groups of all limits for which requests are on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups(Arc<Mutex<HashMap<String, Group>>>);

/// Sends the requests of a group. If it is dropped before it has ended, the calls that still wait get an error.
struct Sender {
    groups: Groups,
    limit: String,
    rule: RateRule,
    has_ended: bool,
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.has_ended {
            let calls = self.groups.lock().remove(&self.limit);
            // Without the lock: it wakes the calls.
            drop(calls);
        }
    }
}

/// Whether the request can be combined with others: it is for one token of a bucket, and does not wait for it.
pub(super) fn is_simple(request: &RateRequest) -> bool {
    request.rule.algorithm == RateAlgorithm::Bucket
        && (request.tokens, request.at_least, request.max_wait) == (1, 1, Duration::ZERO)
}

impl Groups {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one token. Returns `None` if the group of the limit is full or has another rule.
    pub(super) fn take(
        &self,
        session: &Session,
        limit: &str,
        rule: RateRule,
    ) -> Option<Result<oneshot::Receiver<Result<Taken, StoreError>>, StoreError>> {
        let (decided, decision) = oneshot::channel();
        let call = Call { since: Instant::now(), decided };
        match self.lock().entry(limit.to_owned()) {
            Entry::Occupied(mut group) => {
                let group = group.get_mut();
                if group.rule != rule || group.calls.len() >= MOST {
                    return None;
                }
                group.calls.push(call);
                return Some(Ok(decision));
            }
            Entry::Vacant(none) => _ = none.insert(Group { rule, calls: Vec::new() }),
        }
        let sender = Sender { groups: self.clone(), limit: limit.to_owned(), rule, has_ended: false };
        let session = session.clone();
        let started = session.clone().operate(async move { sender.send(&session, vec![call]).await });
        Some(started.map(|()| decision))
    }
}

impl Sender {
    async fn send(mut self, session: &Session, first: Vec<Call>) {
        let mut next = Some(first);
        while let Some(calls) = next {
            let mut decided = Box::pin(decide(session.clone(), self.limit.clone(), self.rule, calls));
            if timeout(PATIENCE, &mut decided).await.is_err() {
                // If there is no thread, the calls get an error.
                let _ = session.in_background(decided);
            }
            next = self.next();
        }
    }

    /// The calls of the next request. Ends the group if there are none.
    fn next(&mut self) -> Option<Vec<Call>> {
        let mut groups = self.groups.lock();
        let calls = std::mem::take(&mut groups.get_mut(&self.limit)?.calls);
        if calls.is_empty() {
            groups.remove(&self.limit);
            self.has_ended = true;
            return None;
        }
        Some(calls)
    }
}

/// Takes a token for each of the calls.
async fn decide(session: Session, limit: String, rule: RateRule, mut calls: Vec<Call>) {
    // The tokens of callers that have left would not be used.
    calls.retain(|call| !call.decided.is_closed());
    let Some(since) = calls.first().map(|call| call.since) else { return };
    let tokens = u32::try_from(calls.len()).unwrap_or(u32::MAX);
    let request = RateRequest { limit, rule, tokens, at_least: 1, max_wait: Duration::ZERO };
    let replied = session.run_one(taking(&session, &request), since).await;
    let all = replied.and_then(|reply| read(&session, &reply));
    for (number, call) in (0..).zip(calls) {
        // The caller may be gone.
        let _ = call.decided.send(all.clone().map(|all| share(all, rule, number)));
    }
}

/// The part of a call in the tokens of all calls of a request.
fn share(all: Taken, rule: RateRule, number: u32) -> Taken {
    if number < all.granted {
        let later = all.granted - number - 1;
        return Taken { granted: 1, remaining: all.remaining.saturating_add(later), ..all };
    }
    // The bucket is empty: it has all its tokens in `reset_after`, and the first of them earlier.
    let others = rule.interval.saturating_mul(rule.burst.saturating_sub(1));
    let wait = if all.granted == 0 { all.wait } else { all.reset_after.saturating_sub(others) };
    Taken { granted: 0, wait, ..all }
}

#[cfg(all(test, unix))]
mod tests {
    use resilient_runtime::rate_limit::{Config, Rate};

    use super::*;
    use crate::fixture::server::Server;

    const HOUR: Duration = Duration::from_hours(1);

    fn rule(burst: u32) -> RateRule {
        let config = Config::default().rate("1/h".parse::<Rate>().unwrap());
        RateRule::of(&config.burst(burst)).unwrap()
    }

    fn call() -> (Call, oneshot::Receiver<Result<Taken, StoreError>>) {
        let (decided, decision) = oneshot::channel();
        (Call { since: Instant::now(), decided }, decision)
    }

    #[test]
    fn shares_are_what_single_requests_would_get() {
        let mut all = Taken::default();
        (all.granted, all.remaining, all.reset_after, all.mark) = (2, 3, HOUR * 7, 9);
        let shares: Vec<_> = (0..2).map(|number| share(all, rule(10), number)).collect();
        assert_eq!(
            shares.iter().map(|share| (share.granted, share.remaining)).collect::<Vec<_>>(),
            [(1, 4), (1, 3)]
        );
        assert!(shares.iter().all(|share| share.wait.is_zero() && share.mark == 9));
        (all.remaining, all.reset_after) = (0, HOUR * 10);
        let refused = share(all, rule(10), 2);
        assert_eq!(
            (refused.granted, refused.wait),
            (0, HOUR),
            "a full bucket in ten hours has a token in one"
        );
        (all.granted, all.wait) = (0, HOUR * 3);
        assert_eq!(share(all, rule(10), 0).wait, HOUR * 3, "the server knows it");
    }

    #[tokio::test]
    #[ignore = "needs redis-server: cargo xtask redis"]
    async fn callers_that_have_left_take_no_tokens() {
        let server = Server::start(&[]).await;
        let store = server.store();
        let (calls, mut decisions): (Vec<_>, Vec<_>) = (0..5).map(|_| call()).unzip();
        let stays = decisions.swap_remove(2);
        drop(decisions);
        decide(store.session().clone(), "api\0".to_owned(), rule(10), calls).await;
        let taken = stays.await.unwrap().unwrap();
        assert_eq!((taken.granted, taken.remaining), (1, 9));
    }
}
