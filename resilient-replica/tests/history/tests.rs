//! Histories that the checker accepts, and bad ones that it finds.

use proptest::prelude::*;

use crate::history::{Event, Kind, Outcome, check};

fn event(kind: Kind, began: u64, ended: u64) -> Event<u64> {
    Event { kind, outcome: Outcome::Done, began, ended }
}

fn write(value: u64, began: u64, ended: u64) -> Event<u64> {
    event(Kind::Write(value), began, ended)
}

fn read(value: u64, began: u64, ended: u64) -> Event<u64> {
    event(Kind::Read(Some(value)), began, ended)
}

fn nothing(began: u64, ended: u64) -> Event<u64> {
    event(Kind::Read(None), began, ended)
}

#[test]
fn a_lost_write_and_a_read_that_goes_back_are_found() {
    for good in [
        &[write(1, 0, 10), read(1, 20, 30)][..],
        &[write(1, 0, 10), nothing(5, 30)],
        &[write(1, 0, 10), write(2, 0, 10), read(2, 20, 30), read(2, 40, 50)],
        &[write(1, 0, 10), write(2, 0, 30), read(2, 12, 20), read(2, 21, 22)],
        &[write(1, 0, 10), write(2, 0, 30), read(1, 12, 20), read(2, 21, 22)],
    ] {
        assert_eq!(check(good), Ok(()), "{good:?}");
    }
    for bad in [
        &[write(1, 0, 10), nothing(20, 30)][..],
        &[read(1, 0, 10), write(1, 20, 30)],
        &[write(1, 0, 10), write(2, 20, 30), read(1, 40, 50)],
        &[write(1, 0, 10), write(2, 0, 10), read(2, 20, 30), read(1, 40, 50)],
        &[write(1, 0, 10), write(2, 0, 99), read(2, 20, 30), read(1, 40, 50)],
    ] {
        check(bad).expect_err(&format!("{bad:?}"));
    }
}

#[test]
fn a_write_of_unknown_outcome_takes_effect_once_or_never() {
    let unknown = Event { outcome: Outcome::Unknown, ..write(3, 10, 20) };
    for good in [
        &[unknown, nothing(30, 40), nothing(50, 60)][..],
        &[unknown, nothing(30, 40), read(3, 50, 60)],
        &[unknown, read(3, 12, 15), write(1, 30, 40), read(1, 50, 60)],
    ] {
        assert_eq!(check(good), Ok(()), "{good:?}");
    }
    for bad in [
        &[unknown, read(3, 0, 9)][..],
        &[unknown, read(3, 30, 40), nothing(50, 60)],
        &[unknown, read(3, 30, 40), write(1, 50, 60), read(1, 70, 80), read(3, 90, 95)],
    ] {
        check(bad).expect_err(&format!("{bad:?}"));
    }
    let refused = Event { outcome: Outcome::NoEffect, ..write(3, 10, 20) };
    assert_eq!(check(&[refused, nothing(30, 40)]), Ok(()));
    check(&[refused, read(3, 30, 40)]).unwrap_err();
}

#[test]
fn a_repeated_write_takes_effect_again_only_before_it_ends() {
    let again = Event { outcome: Outcome::Repeated, ..write(1, 0, 50) };
    let other = [write(1, 0, 50), write(2, 20, 30), read(1, 10, 12), read(2, 31, 32)];
    let with = |more: &[Event<u64>]| [&other, more].concat();
    check(&with(&[read(1, 33, 60)])).unwrap_err();
    assert_eq!(check(&with(&[again, read(1, 33, 60)])), Ok(()));
    assert_eq!(check(&with(&[again, read(1, 51, 60)])), Ok(()));
    check(&with(&[again, read(1, 33, 60), read(2, 61, 70)])).unwrap_err();
    check(&with(&[again, read(2, 51, 60), read(1, 61, 70)])).unwrap_err();
    // A read that began after the end of the write does not keep it from taking effect before.
    let late = [write(1, 0, 5), write(2, 6, 7), again, read(1, 8, 100), read(1, 60, 70)];
    assert_eq!(check(&late), Ok(()));
}

#[test]
fn a_long_history_of_many_clients_is_checked() {
    // Each write overlaps with seven others, and each read returns the write that ended last.
    let writes = (0..3000).map(|number| write(number, number * 10, number * 10 + 79));
    let reads = (8..3000).map(|number| read(number - 8, number * 10, number * 10));
    let mut all: Vec<Event<u64>> = writes.chain(reads).collect();
    assert_eq!(check(&all), Ok(()));
    all.push(read(5, 20_000, 20_001));
    let found = check(&all).unwrap_err();
    assert_eq!((found.value, found.reads.last()), (Some(5), Some(&read(5, 20_000, 20_001))));
}

/// Tries all orders.
fn has_order(left: &[Event<u64>], ordered: &[Event<u64>], value: Option<u64>) -> bool {
    let must = |event: &&Event<u64>| event.outcome == Outcome::Done;
    let can_be_next = |event: &Event<u64>| {
        let is_late = ordered.iter().any(|before| event.ended < before.began);
        !left.iter().filter(must).any(|other| other.ended < event.began)
            && (event.outcome == Outcome::Unknown || !is_late)
            && (matches!(event.kind, Kind::Write(_)) || event.kind == Kind::Read(value))
    };
    let rest = |index: usize| [&left[..index], &left[index + 1..]].concat();
    let next = |(index, event): (usize, &Event<u64>)| {
        let value = if let Kind::Write(written) = event.kind { Some(written) } else { value };
        can_be_next(event) && has_order(&rest(index), &[ordered, &[*event]].concat(), value)
    };
    left.iter().filter(must).count() == 0 || left.iter().enumerate().any(next)
}

/// Writes of one value: one that is certain or not, and its repetitions.
fn writes(value: u64) -> impl Strategy<Value = Vec<Event<u64>>> {
    (0..20_u64, 0..15_u64, any::<bool>(), 0..=1_usize).prop_map(move |(began, span, is_done, again)| {
        let [first, other] =
            if is_done { [Outcome::Done, Outcome::Repeated] } else { [Outcome::Unknown, Outcome::Unknown] };
        let event = write(value, began, began + span);
        let again = std::iter::repeat_n(Event { outcome: other, ..event }, again);
        std::iter::once(Event { outcome: first, ..event }).chain(again).collect()
    })
}

fn reads() -> impl Strategy<Value = Event<u64>> {
    (0..=3_u64, 0..30_u64, 0..15_u64).prop_map(|(value, began, span)| match value {
        0 => nothing(began, began + span),
        value => read(value, began, began + span),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn it_decides_as_a_search_of_all_orders(
        all in (writes(1), writes(2), writes(3), proptest::collection::vec(reads(), 0..5)),
    ) {
        let history = [all.0, all.1, all.2, all.3].concat();
        prop_assert_eq!(check(&history).is_ok(), has_order(&history, &[], None), "{:?}", history);
    }
}
