//! Compares stores with a slow but simple model.

use proptest::prelude::*;

use super::*;
use crate::store::idempotency::{Claim, Claimed, IdempotencyStore, Owner};

#[derive(Clone, Debug)]
pub(in crate::idempotency) enum Step {
    Claim {
        key: u8,
        fingerprint: u8,
        lease: u64,
        lost_for: u64,
        takes_over: bool,
    },
    /// By the owner of an earlier claim, counted back from the last one.
    Renew {
        back: usize,
        lease: u64,
    },
    Complete {
        back: usize,
        ttl: u64,
    },
    Abandon {
        back: usize,
    },
    Lose {
        back: usize,
    },
    Advance(u64),
    /// The process ends and another one opens the store. Does nothing to a store in memory.
    Restart,
}

pub(in crate::idempotency) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![Just(0), 1..50_u64];
    let step = prop_oneof![
        4 => (0..3_u8, 0..2_u8, 1..40_u64, 0..60_u64, any::<bool>()).prop_map(
            |(key, fingerprint, lease, lost_for, takes_over)| Step::Claim { key, fingerprint, lease, lost_for, takes_over }
        ),
        2 => (0..4_usize, 1..40_u64).prop_map(|(back, lease)| Step::Renew { back, lease }),
        2 => (0..4_usize, time.clone()).prop_map(|(back, ttl)| Step::Complete { back, ttl }),
        1 => (0..4_usize).prop_map(|back| Step::Abandon { back }),
        1 => (0..4_usize).prop_map(|back| Step::Lose { back }),
        3 => time.prop_map(Step::Advance),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..most)
}

/// The history of all keys, in order. The current state is computed from it each time.
#[derive(Default)]
struct Model {
    now: u64,
    log: Vec<(u8, Entry)>,
}

#[derive(Clone)]
enum Entry {
    Claimed { owner: u128, fingerprint: u8, until: u64, lost_for: u64 },
    Renewed { until: u64 },
    Lost { at: u64 },
    Done { answer: Vec<u8>, over: u64 },
    Gone,
}

struct Now {
    owner: Option<u128>,
    fingerprint: u8,
    until: u64,
    answer: Option<Vec<u8>>,
}

impl Model {
    fn state(&self, key: u8) -> Option<Now> {
        let mut state = None;
        let (mut over, mut lost) = (0, 0);
        for (_, entry) in self.log.iter().filter(|(of, _)| *of == key) {
            match (entry.clone(), &mut state) {
                (Entry::Claimed { owner, fingerprint, until, lost_for }, state) => {
                    (over, lost) = (until + lost_for, lost_for);
                    *state = Some(Now { owner: Some(owner), fingerprint, until, answer: None });
                }
                (Entry::Renewed { until }, Some(now)) => {
                    now.until = now.until.max(until);
                    over = now.until + lost;
                }
                (Entry::Lost { at }, Some(now)) => {
                    now.until = now.until.min(at);
                    over = now.until + lost;
                }
                (Entry::Done { answer, over: end }, Some(now)) => {
                    over = end;
                    (now.owner, now.answer) = (None, Some(answer));
                }
                (Entry::Gone, state) => *state = None,
                (_, None) => {}
            }
        }
        state.filter(|_| over > self.now)
    }

    fn claim(&mut self, key: u8, claim: &Claim, fingerprint: u8) -> Claimed {
        let lease: u64 = claim.lease.as_millis().try_into().unwrap();
        let lost_for: u64 = claim.lost_for.as_millis().try_into().unwrap();
        match self.state(key) {
            Some(now) if now.fingerprint != fingerprint => return Claimed::KeyReused,
            Some(Now { answer: Some(answer), .. }) => return Claimed::Done(answer),
            Some(now) if now.until > self.now => {
                return Claimed::InProgress { retry_after: MS(now.until - self.now) };
            }
            Some(_) if !claim.takes_over => return Claimed::Lost,
            _ => {}
        }
        let until = self.now + lease;
        self.log.push((key, Entry::Claimed { owner: claim.owner.0, fingerprint, until, lost_for }));
        Claimed::Acquired
    }

    fn if_held(&mut self, key: u8, owner: u128, then: Entry) -> bool {
        let is_held = self.state(key).is_some_and(|now| now.owner == Some(owner));
        if is_held {
            self.log.push((key, then));
        }
        is_held
    }
}

fn now<T>(answer: Answer<'_, T>) -> T {
    let clock = crate::clock::Clock::system();
    blocking(Mode::Blocking.answer((&clock, "model"), SECONDS(60), answer)).unwrap()
}

/// Applies the steps to the store and to the model, and compares their results.
pub(in crate::idempotency) fn check<S: IdempotencyStore>(
    steps: Vec<Step>,
    time: &ManualClock,
    mut store: S,
    mut restart: impl FnMut(S) -> S,
) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut owners: Vec<(u8, u128)> = vec![(0, 0)];
    for (number, step) in steps.into_iter().enumerate() {
        let earlier = |back: usize| owners[owners.len().saturating_sub(back + 1)];
        match step {
            Step::Claim { key, fingerprint, lease, lost_for, takes_over } => {
                let owner = number as u128 + 1;
                let claim = Claim {
                    key: key.to_string(),
                    fingerprint: Fingerprint(u128::from(fingerprint)),
                    operation: "",
                    owner: Owner(owner),
                    lease: MS(lease),
                    lost_for: MS(lost_for),
                    takes_over,
                    client: None,
                };
                owners.push((key, owner));
                prop_assert_eq!(now(store.claim(claim.clone())), model.claim(key, &claim, fingerprint));
            }
            Step::Renew { back, lease } => {
                let (key, owner) = earlier(back);
                let renewed = now(store.renew(&key.to_string(), Owner(owner), MS(lease)));
                let until = model.now + lease;
                prop_assert_eq!(renewed, model.if_held(key, owner, Entry::Renewed { until }));
            }
            Step::Complete { back, ttl } => {
                let (key, owner) = earlier(back);
                let answer = number.to_string().into_bytes();
                let completed = now(store.complete(&key.to_string(), Owner(owner), answer.clone(), MS(ttl)));
                let over = model.now + ttl;
                prop_assert_eq!(completed, model.if_held(key, owner, Entry::Done { answer, over }));
            }
            Step::Abandon { back } => {
                let (key, owner) = earlier(back);
                let abandoned = now(store.abandon(&key.to_string(), Owner(owner)));
                prop_assert_eq!(abandoned, model.if_held(key, owner, Entry::Gone));
            }
            Step::Lose { back } => {
                let (key, owner) = earlier(back);
                let lost = now(store.lose(&key.to_string(), Owner(owner)));
                let at = model.now;
                prop_assert_eq!(lost, model.if_held(key, owner, Entry::Lost { at }));
            }
            Step::Advance(span) => {
                time.advance(MS(span));
                model.now += span;
            }
            Step::Restart => store = restart(store),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_model_does(steps in steps(60)) {
        let time = ManualClock::new();
        let store = MemoryStore::new(time.clock(), 100);
        check(steps, &time, store, |store| store)?;
    }
}
