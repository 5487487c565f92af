//! The stages around all attempts of a request that need a key: coalescing, and inside it idempotency.

use std::any::Any;
use std::fmt::{self, Display};
use std::hash::Hash;

use super::driver::{CallFailure, Ended};
use super::honour::Demands;
use super::judges::Refusal;
use super::stages::coalesce::Shared;
use super::{Call, Pipeline};
use crate::coalesce::{Joined, Lead};
use crate::fallback::Seen;
use crate::idempotency::{Codec, Fingerprint};
use crate::outcome::Outcome;
use crate::rejection::Rejection;

/// The keys of a call.
pub trait KeySet<R> {
    /// The stages for which a key was given.
    fn given(&self) -> Demands;

    /// Returns the keys, if any.
    fn into_keys(self) -> Option<Keys<R>>;
}

/// A call without a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl<R> KeySet<R> for NoKeys {
    #[inline]
    fn given(&self) -> Demands {
        Demands::NONE
    }

    #[inline]
    fn into_keys(self) -> Option<Keys<R>> {
        None
    }
}

/// At least one key. A key for a stage that the pipeline does not have is recorded only in `given`.
pub struct Keys<R> {
    pub(super) given: Demands,
    pub(super) idempotency: Option<IdempotencyKey<R>>,
    /// The fingerprint of the payload of the idempotency key.
    pub(super) fingerprint: Fingerprint,
    pub(super) coalesce: Option<CoalesceKey<R>>,
}

impl<R> Default for Keys<R> {
    fn default() -> Self {
        Self { given: Demands::NONE, idempotency: None, fingerprint: Fingerprint::NONE, coalesce: None }
    }
}

impl<R> KeySet<R> for Keys<R> {
    fn given(&self) -> Demands {
        self.given
    }

    fn into_keys(self) -> Option<Self> {
        Some(self)
    }
}

impl<R> fmt::Debug for Keys<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = (self.idempotency.is_some(), self.coalesce.is_some());
        f.debug_struct("Keys").field("idempotency", &has.0).field("coalesce", &has.1).finish_non_exhaustive()
    }
}

pub(super) struct IdempotencyKey<R> {
    pub(super) key: Result<String, Rejection>,
    pub(super) codec: Codec<R>,
}

impl<R> IdempotencyKey<R> {
    pub(super) fn of(pipeline: &Pipeline, key: &dyn Display, codec: Codec<R>) -> Option<Self> {
        let idempotency = pipeline.stages.idempotency.as_deref()?;
        Some(Self { key: idempotency.key(key), codec })
    }
}

type JoinedAs<R> =
    for<'p> fn(&mut Call<'p>, Result<Joined<'p>, Rejection>) -> Result<Shared<'p, R>, Rejection>;
type Publish<R> = for<'p> fn(&Call<'p>, Option<Lead<'p>>, &R, Option<Seen>);

/// A key, and functions for a shared outcome: its type satisfies the required bounds only where the key is made.
pub(super) struct CoalesceKey<R> {
    hash: u128,
    joined: JoinedAs<R>,
    publish: Publish<R>,
    is_failure: fn(&R) -> bool,
}

impl<R: Outcome + Any + Clone + Send + Sync> CoalesceKey<R> {
    pub(super) fn of<K: Hash + ?Sized>(pipeline: &Pipeline, key: &K) -> Option<Self> {
        let coalesce = pipeline.stages.coalesce.as_deref()?;
        Some(Self {
            hash: coalesce.hash::<(R, Option<Seen>), K>(key),
            joined: |call, joined| call.joined(joined),
            publish: |call, lead, answer, seen| call.publish(lead, answer, seen),
            is_failure: R::is_failure,
        })
    }
}

impl<'p> Call<'p> {
    /// Joins a call with the same key and waits for its outcome.
    pub(super) async fn share_key<R>(&mut self, key: &CoalesceKey<R>) -> Result<Shared<'p, R>, Rejection> {
        let Some(join) = self.join_hash(key.hash) else { return Ok(Shared::Lead(None)) };
        let joined = self.suspended(join).await;
        (key.joined)(self, joined)
    }

    /// Like `share_key`, but blocks the thread.
    pub(super) fn share_key_blocking<R>(&mut self, key: &CoalesceKey<R>) -> Result<Shared<'p, R>, Rejection> {
        let Some(join) = self.join_hash(key.hash) else { return Ok(Shared::Lead(None)) };
        let joined = self.block_on_join(join);
        (key.joined)(self, joined)
    }
}

impl<R> CoalesceKey<R> {
    /// Returns the outcome of another call.
    pub(super) fn shared(&self, answer: R) -> Ended<R> {
        if (self.is_failure)(&answer) { Err(CallFailure::Failed(answer)) } else { Ok(answer) }
    }

    /// Publishes the outcome to the waiting calls. If fallback levels handle rejections, a rejection has no outcome to
    /// share: then the next waiting call runs its own work.
    pub(super) fn publish<'p>(
        &self,
        call: &Call<'p>,
        lead: Option<Lead<'p>>,
        (ended, seen): (&Ended<R>, Option<Seen>),
        refusal: &impl Refusal<R>,
    ) {
        match ended {
            Ok(outcome) | Err(CallFailure::Failed(outcome)) => (self.publish)(call, lead, outcome, seen),
            Err(CallFailure::Rejected(rejection)) => {
                if let Some(outcome) = refusal.refused(rejection) {
                    (self.publish)(call, lead, &outcome, seen);
                }
            }
        }
    }
}

/// The outcome to store under an idempotency key. A failure that a fallback replaces is not stored (T114).
pub(super) fn kept<'r, R, A: Refusal<R>>(ended: &'r Ended<R>, _: &A) -> Option<&'r R> {
    match ended {
        Ok(outcome) => Some(outcome),
        Err(CallFailure::Failed(outcome)) if !A::HAS_LEVELS => Some(outcome),
        Err(_) => None,
    }
}

/// Runs `run`, or returns the outcome of an equal call that is in progress or was executed before.
macro_rules! around {
    (sync $call:ident, $keys:expr, $refusal:expr, $run:expr) => {
        $crate::pipeline::keyed::around!(
            @ $call, $keys, $refusal, $run;
            share_key_blocking, led, claim_key_blocking, held, conclude_blocking; [||] []
        )
    };
    (async $call:ident, $keys:expr, $refusal:expr, $run:expr) => {
        $crate::pipeline::keyed::around!(
            @ $call, $keys, $refusal, $run;
            share_key, led_async, claim_key, held_async, conclude; [async] [.await]
        )
    };
    (
        @ $call:ident, $keys:expr, $refusal:expr, $run:expr;
        $share:ident, $led:ident, $claim:ident, $held:ident, $conclude:ident; [$($begin:tt)*] [$($wait:tt)*]
    ) => {{
        let Keys { idempotency, fingerprint, coalesce, .. } = $keys;
        'shared: {
            let lead = match &coalesce {
                None => None,
                Some(key) => match $call.$share(key)$($wait)* {
                    Ok(Shared::Lead(lead)) => lead,
                    Ok(Shared::Answer(answer)) => break 'shared key.shared(answer),
                    Err(rejection) => break 'shared Err(CallFailure::Rejected(rejection)),
                },
            };
            let (ended, seen) = $led(lead.as_ref(), $($begin)* {
                'once: {
                    let Some(IdempotencyKey { key, codec }) = idempotency else { break 'once $run };
                    let lease = match $call.$claim(key, fingerprint)$($wait)* {
                        Ok(ClaimOutcome::Run(lease)) => lease,
                        Ok(ClaimOutcome::Replay(stored)) => {
                            break 'once $call.replay(&stored, codec).map_err(CallFailure::Rejected);
                        }
                        Err(rejection) => break 'once Err(CallFailure::Rejected(rejection)),
                    };
                    let ended = $held(lease.as_ref(), $($begin)* { $run })$($wait)*;
                    $call.$conclude(lease, codec, kept(&ended, $refusal))$($wait)*;
                    ended
                }
            })$($wait)*;
            if let Some(key) = &coalesce {
                key.publish($call, lead, (&ended, seen), $refusal);
            }
            ended
        }
    }};
}
pub(super) use around;
