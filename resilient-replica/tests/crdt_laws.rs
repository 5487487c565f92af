//! Laws of the CRDTs, on histories of several replicas, and a comparison with the crate `crdts`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crdts::{CmRDT, CvRDT};
use proptest::collection::vec;
use proptest::prelude::*;
use resilient_replica::resolve::{
    Actor, GCounter, HybridClock, LwwRegister, MapCounter, Merge, MvRegister, OrMap, OrSet, PnCounter,
    Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const REPLICAS: usize = 4;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A replica changes its value. The change is kept, to be delivered later.
    Change { replica: usize, key: u8, number: i8, removes: bool },
    /// A replica merges one of the changes that were made, perhaps again.
    Deliver { replica: usize, change: usize },
    /// A replica merges the whole value of another one.
    Sync { replica: usize, from: usize },
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let replica = || 0..REPLICAS;
    let change = (replica(), 0_u8..3, any::<i8>(), any::<bool>())
        .prop_map(|(replica, key, number, removes)| Step::Change { replica, key, number, removes });
    let deliver = (replica(), any::<usize>()).prop_map(|(replica, change)| Step::Deliver { replica, change });
    let sync = (replica(), replica()).prop_map(|(replica, from)| Step::Sync { replica, from });
    vec(prop_oneof![4 => change, 3 => deliver, 1 => sync], 0..60)
}

/// A data type under test: how a step changes a value.
trait Tested: Merge + Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    fn empty() -> Self;
    fn change(&mut self, at: At, key: u8, number: i8, removes: bool) -> Self;
}

#[derive(Clone, Copy)]
struct At {
    actor: Actor,
    step: u64,
}

impl At {
    fn new(replica: usize, step: usize) -> Self {
        Self { actor: Actor::new(replica as u64), step: step as u64 }
    }

    fn timestamp(self) -> Timestamp {
        let step = self.step;
        HybridClock::with_wall_clock(self.actor, move || std::time::Duration::from_millis(step)).now()
    }
}

impl Tested for GCounter {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, _: u8, number: i8, _: bool) -> Self {
        self.add(at.actor, number.unsigned_abs().into()).unwrap()
    }
}

impl Tested for PnCounter {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, _: u8, number: i8, _: bool) -> Self {
        self.add(at.actor, number.into()).unwrap()
    }
}

impl Tested for LwwRegister<i8> {
    fn empty() -> Self {
        Self::new(Timestamp::MIN, 0)
    }

    fn change(&mut self, at: At, _: u8, number: i8, _: bool) -> Self {
        self.assign(at.timestamp(), number).unwrap();
        self.clone()
    }
}

impl Tested for MvRegister<i8> {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, _: u8, number: i8, _: bool) -> Self {
        self.assign(at.actor, number).unwrap()
    }
}

impl Tested for OrSet<u8> {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, key: u8, number: i8, removes: bool) -> Self {
        match removes {
            true if number == 0 => self.clear(),
            true => self.remove(&key),
            false => self.insert(at.actor, key).unwrap(),
        }
    }
}

type Cart = OrMap<u8, MapCounter>;

impl Tested for Cart {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, key: u8, number: i8, removes: bool) -> Self {
        if removes {
            self.remove(&key)
        } else {
            self.update(key, |count| count.add(at.actor, number.into())).unwrap()
        }
    }
}

type Settings = OrMap<u8, OrMap<u8, MvRegister<i8>>>;

impl Tested for Settings {
    fn empty() -> Self {
        Self::default()
    }

    fn change(&mut self, at: At, key: u8, number: i8, removes: bool) -> Self {
        if removes && number % 2 == 0 {
            return self.remove(&key);
        }
        let inner = key.wrapping_add(1);
        let changed = self.update(key, |group| {
            if removes {
                Ok(group.remove(&inner))
            } else {
                group.update(inner, |value| value.assign(at.actor, number))
            }
        });
        changed.unwrap()
    }
}

/// Runs a history.
fn run<T: Tested>(history: &[Step]) -> [T; REPLICAS] {
    let mut replicas: [T; REPLICAS] = std::array::from_fn(|_| T::empty());
    let mut changes = Vec::new();
    for (index, step) in history.iter().enumerate() {
        match *step {
            Step::Change { replica, key, number, removes } => {
                // The number of the step makes timestamps differ.
                changes.push(replicas[replica].change(At::new(replica, index + 1), key, number, removes));
            }
            Step::Deliver { replica, change } if !changes.is_empty() => {
                let change = changes[change % changes.len()].clone();
                replicas[replica].merge(change).unwrap();
            }
            Step::Deliver { .. } => {}
            Step::Sync { replica, from } => {
                let from = replicas[from].clone();
                replicas[replica].merge(from).unwrap();
            }
        }
    }
    replicas
}

fn merged<T: Tested>(first: &T, second: &T) -> T {
    let mut merged = first.clone();
    merged.merge(second.clone()).unwrap();
    merged
}

/// T200
fn check_laws<T: Tested>(history: &[Step]) {
    let [a, b, c, d] = &run::<T>(history);
    assert_eq!(merged(a, b), merged(b, a), "commutative");
    assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)), "associative");
    assert_eq!(&merged(a, a), a, "idempotent");
    let all = merged(&merged(a, b), &merged(c, d));
    assert_eq!(merged(&all, a), all, "monotone: nothing that was merged is lost");
    assert_eq!(merged(&merged(d, b), &merged(a, c)), all, "all replicas converge");
    let copy: T = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
    assert_eq!(copy, all, "a copy that was sent is equal");
}

/// The changes alone, in any order, have the same effect as the whole values.
fn check_changes<T: Tested>(history: &[Step], order: &[usize]) {
    let mut changes = Vec::new();
    let mut replicas: [T; REPLICAS] = std::array::from_fn(|_| T::empty());
    for (index, step) in history.iter().enumerate() {
        if let Step::Change { replica, key, number, removes } = *step {
            changes.push(replicas[replica].change(At::new(replica, index + 1), key, number, removes));
        }
    }
    let whole = replicas.iter().fold(T::empty(), |all, replica| merged(&all, replica));
    for swap in order {
        if !changes.is_empty() {
            let last = changes.len() - 1;
            changes.swap(swap % (last + 1), last);
            let again = changes[swap % (last + 1)].clone();
            changes.push(again);
        }
    }
    let received = changes.iter().fold(T::empty(), |all, change| merged(&all, change));
    assert_eq!(received, whole);
}

macro_rules! laws {
    ($($name:ident: $tested:ty),*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn merging_obeys_the_laws(history in history()) {
                    check_laws::<$tested>(&history);
                }

                #[test]
                fn changes_alone_converge_in_any_order(history in history(), order in vec(any::<usize>(), 0..40)) {
                    check_changes::<$tested>(&history, &order);
                }
            }
        }
    )*};
}

laws! {
    g_counter: GCounter,
    pn_counter: PnCounter,
    lww_register: LwwRegister<i8>,
    mv_register: MvRegister<i8>,
    or_set: OrSet<u8>,
    cart: Cart,
    settings: Settings
}

/// Runs a history with both implementations, and compares what each replica returns after each step. T201
fn compare<O: Merge + Clone + Default, T: CvRDT + Clone + Default, V: PartialEq + Debug>(
    history: &[Step],
    change: impl Fn(&mut O, &mut T, usize, (u8, i8, bool)),
    read: impl Fn(&O, &T) -> (V, V),
) {
    let mut replicas: [(O, T); REPLICAS] = std::array::from_fn(|_| Default::default());
    for step in history {
        match *step {
            Step::Change { replica, key, number, removes } => {
                let (ours, theirs) = &mut replicas[replica];
                change(ours, theirs, replica, (key, number, removes));
            }
            Step::Sync { replica, from } => {
                let (ours, theirs) = replicas[from].clone();
                replicas[replica].0.merge(ours).unwrap();
                replicas[replica].1.merge(theirs);
            }
            // The other implementation has no changes alone.
            Step::Deliver { .. } => {}
        }
        for (ours, theirs) in &replicas {
            let (ours, theirs) = read(ours, theirs);
            assert_eq!(ours, theirs);
        }
    }
}

proptest! {
    #[test]
    fn sets_are_equal_to_those_of_another_implementation(history in history()) {
        let change = |ours: &mut OrSet<u8>, theirs: &mut crdts::Orswot<u8, usize>, replica: usize, (key, _, removes)| {
            let operation = if removes {
                ours.remove(&key);
                theirs.rm(key, theirs.contains(&key).derive_rm_ctx())
            } else {
                ours.insert(Actor::new(replica as u64), key).unwrap();
                theirs.add(key, theirs.read_ctx().derive_add_ctx(replica))
            };
            theirs.apply(operation);
        };
        compare(&history, change, |ours, theirs| {
            let ours: BTreeSet<u8> = ours.iter().copied().collect();
            (ours, theirs.read().val.into_iter().collect())
        });
    }

    #[test]
    fn registers_are_equal_to_those_of_another_implementation(history in history()) {
        let change = |ours: &mut MvRegister<i8>, theirs: &mut crdts::MVReg<i8, usize>, replica: usize, (_, number, _)| {
            ours.assign(Actor::new(replica as u64), number).unwrap();
            theirs.apply(theirs.write(number, theirs.read_ctx().derive_add_ctx(replica)));
        };
        compare(&history, change, |ours, theirs| {
            let (mut ours, mut theirs): (Vec<i8>, Vec<i8>) = (ours.values().copied().collect(), theirs.read().val);
            ours.sort_unstable();
            theirs.sort_unstable();
            (ours, theirs)
        });
    }

    #[test]
    fn counters_are_equal_to_those_of_another_implementation(history in history()) {
        let change = |ours: &mut PnCounter, theirs: &mut crdts::PNCounter<usize>, replica: usize, (_, number, _): (u8, i8, bool)| {
            ours.add(Actor::new(replica as u64), number.into()).unwrap();
            let size = u64::from(number.unsigned_abs());
            let operation =
                if number < 0 { theirs.dec_many(replica, size) } else { theirs.inc_many(replica, size) };
            theirs.apply(operation);
        };
        compare(&history, change, |ours, theirs| (ours.value().to_string(), theirs.read().to_string()));
    }

    /// The meaning of a cart, without any replication: the sum of all that was added, if nothing is removed.
    #[test]
    fn a_cart_counts_everything_that_was_added(history in history()) {
        let mut expected = BTreeMap::new();
        let adds: Vec<Step> = history
            .into_iter()
            .map(|step| match step {
                Step::Change { replica, key, number, .. } => {
                    *expected.entry(key).or_insert(0) += i64::from(number);
                    Step::Change { replica, key, number, removes: false }
                }
                step => step,
            })
            .collect();
        let all = run::<Cart>(&adds).iter().fold(Cart::default(), |all, cart| merged(&all, cart));
        let found: BTreeMap<u8, i64> = all.iter().map(|(key, count)| (*key, count.value())).collect();
        prop_assert_eq!(found, expected);
    }
}
