//! Values from elsewhere that are wrong, and values that would grow without a bound. T202

use std::time::Duration;

use resilient_replica::resolve::{
    Actor, CausalContext, GCounter, HybridClock, LwwRegister, MAX_ACTORS, MAX_GAPS, MAX_SIBLINGS, MapCounter,
    Merge, MergeError, MvRegister, OrMap, OrSet, PnCounter, Timestamp, VersionVector,
};

fn actor(number: usize) -> Actor {
    Actor::new(number as u64)
}

#[test]
fn a_version_vector_accepts_64_actors_and_refuses_the_next_one_unchanged() {
    let mut vector = VersionVector::new();
    for number in 0..MAX_ACTORS {
        vector.increment(actor(number)).unwrap();
    }
    let before = vector.clone();
    assert_eq!(vector.increment(actor(MAX_ACTORS)), Err(MergeError::TooManyActors));
    let mut other = VersionVector::new();
    other.increment(actor(MAX_ACTORS)).unwrap();
    assert_eq!(vector.merge(other), Err(MergeError::TooManyActors));
    assert_eq!(vector, before);
    assert_eq!(vector.increment(actor(0)), Ok(2), "known actors still count");
}

#[test]
fn a_version_vector_of_16_actors_takes_at_most_400_bytes() {
    let mut vector = VersionVector::new();
    for number in 0..16 {
        vector.increment(actor(number)).unwrap();
    }
    let merged = {
        let mut merged = VersionVector::new();
        merged.merge(vector.clone()).unwrap();
        merged
    };
    let bytes = size_of::<VersionVector>() + merged.iter().len() * size_of::<(Actor, u64)>();
    assert!(bytes <= 400, "{bytes}");
}

#[test]
fn sets_maps_and_registers_refuse_too_many_actors_unchanged() {
    let (mut set, mut map, mut register) =
        (OrSet::default(), OrMap::<u8, MapCounter>::default(), MvRegister::default());
    for number in 0..MAX_ACTORS {
        set.insert(actor(number), 1).unwrap();
        map.update(1, |count| count.add(actor(number), 1)).unwrap();
        register.assign(actor(number), 1).unwrap();
    }
    let before = (set.clone(), map.clone(), register.clone());
    let next = actor(MAX_ACTORS);
    assert_eq!(set.insert(next, 2), Err(MergeError::TooManyActors));
    assert_eq!(map.update(1, |count| count.add(next, 1)), Err(MergeError::TooManyActors));
    assert_eq!(register.assign(next, 2), Err(MergeError::TooManyActors));
    let mut other = OrSet::default();
    other.insert(next, 3).unwrap();
    assert_eq!(set.merge(other), Err(MergeError::TooManyActors));
    assert_eq!((set, map, register), before);
}

#[test]
fn a_register_refuses_a_million_siblings() {
    let (mut register, nothing) = (MvRegister::default(), CausalContext::new());
    for number in 0..MAX_SIBLINGS {
        register.assign_after(&nothing, actor(1), number).unwrap();
    }
    assert_eq!(register.assign_after(&nothing, actor(1), 0), Err(MergeError::TooManySiblings));
    assert_eq!(register.values().len(), MAX_SIBLINGS);
    let siblings: Vec<String> = (1..=1_000_000).map(|number| format!("[[7,{number}],{number}]")).collect();
    let sent = format!("{{\"store\":[{}],\"context\":[[[7,1000000]],[]]}}", siblings.join(","));
    let sent: MvRegister<usize> = serde_json::from_str(&sent).unwrap();
    assert_eq!(MvRegister::default().merge(sent), Err(MergeError::TooManySiblings));
}

#[test]
fn a_set_refuses_too_many_changes_without_those_before_them() {
    let mut here = OrSet::default();
    let (mut there, mut refused) = (OrSet::default(), None);
    for number in 0..2 * MAX_GAPS + 10 {
        let change = there.insert(actor(1), number).unwrap();
        // Each second change is lost.
        if number % 2 == 1 {
            let before = here.clone();
            if let Err(error) = here.merge(change) {
                refused = Some(error);
                assert_eq!(here, before);
                break;
            }
        }
    }
    assert_eq!(refused, Some(MergeError::TooManyGaps));
    here.merge(there.clone()).unwrap();
    assert_eq!(here, there, "the whole value closes all gaps");
}

#[test]
fn foreign_version_vectors_and_contexts_are_refused() {
    let read = |text: &str| serde_json::from_str::<VersionVector>(text).map_err(|error| error.to_string());
    assert!(read("[[1,2],[3,4]]").is_ok());
    for wrong in ["[[3,4],[1,2]]", "[[1,2],[1,3]]", "[[1,0]]", "[[1,-1]]", "{}", "[[1]]"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let many: Vec<_> = (0..=MAX_ACTORS).map(|number| format!("[{number},1]")).collect();
    assert!(read(&format!("[{}]", many.join(","))).unwrap_err().contains("more than 64 actors"));
    assert!(serde_json::from_str::<CausalContext>("[[],[[1,0]]]").is_err());
}

#[test]
fn a_clock_refuses_a_timestamp_a_year_ahead_and_is_unchanged() {
    let at = |seconds| move || Duration::from_secs(seconds);
    let here = HybridClock::with_wall_clock(actor(1), at(1_000_000));
    let there = HybridClock::with_wall_clock(actor(2), at(1_000_000 + 365 * 86_400));
    let before = here.now();
    let refused = here.observe(there.now());
    assert_eq!(
        refused,
        Err(MergeError::ClockAhead { actor: actor(2), ahead: Duration::from_hours(365 * 24) })
    );
    let after = here.now();
    assert!(after > before && after.since_epoch() == before.since_epoch());
    here.observe(HybridClock::with_wall_clock(actor(2), at(1)).now()).expect("the past is no problem");
}

#[test]
fn a_clock_that_goes_back_does_not_make_timestamps_go_back() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let seconds = Arc::new(AtomicU64::new(5000));
    let wall = Arc::clone(&seconds);
    let clock =
        HybridClock::with_wall_clock(actor(1), move || Duration::from_secs(wall.load(Ordering::Relaxed)));
    let before = clock.now();
    seconds.store(1000, Ordering::Relaxed);
    let mut last = before;
    // More than fit into the counter of a millisecond.
    for _ in 0..100_000 {
        let next = clock.now();
        assert!(next > last);
        last = next;
    }
    assert!(last.since_epoch().saturating_sub(before.since_epoch()) < Duration::from_millis(3));
}

#[test]
fn the_same_timestamp_of_two_values_is_an_error() {
    let timestamp = HybridClock::new(actor(3)).now();
    let mut register = LwwRegister::new(timestamp, "a");
    assert_eq!(register.merge(LwwRegister::new(timestamp, "a")), Ok(()));
    assert_eq!(register.merge(LwwRegister::new(timestamp, "b")), Err(MergeError::SameTimestamp(actor(3))));
    assert_eq!(*register.value(), "a");
    assert!(Timestamp::MIN < timestamp);
}

#[test]
fn the_same_change_with_two_values_is_an_error_and_changes_nothing() {
    let (mut here, mut there) = (OrMap::<_, MvRegister<_>>::default(), OrMap::<_, MvRegister<_>>::default());
    here.update("a", |value| value.assign(actor(1), 1)).unwrap();
    there.update("a", |value| value.assign(actor(1), 2)).unwrap();
    let before = here.clone();
    assert_eq!(here.merge(there), Err(MergeError::SameChange(actor(1))));
    assert_eq!(here, before);
}

#[test]
fn counts_do_not_overflow() {
    let mut count = GCounter::default();
    count.add(actor(1), u64::MAX).unwrap();
    assert_eq!(count.add(actor(1), 1), Err(MergeError::Overflow));
    count.add(actor(2), u64::MAX).unwrap();
    assert_eq!(count.value(), 2 * u128::from(u64::MAX));

    let mut both = PnCounter::default();
    both.add(actor(1), i64::MIN).unwrap();
    both.add(actor(1), i64::MIN).unwrap_err();
    assert_eq!(both.value(), i128::from(i64::MIN));

    let mut in_map = MapCounter::default();
    in_map.add(actor(1), i64::MAX).unwrap();
    assert_eq!(in_map.add(actor(1), 1), Err(MergeError::Overflow));
    in_map.add(actor(2), i64::MAX).unwrap();
    assert_eq!(in_map.value(), i64::MAX);
}
