use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::proxy::toxic::{Effect, Toxic, TransferRate};

fn entry(id: u64, toxic: Toxic) -> Arc<Entry> {
    Arc::new(Entry { id, revision: 0, name: toxic.name(), toxic })
}

fn chain() -> Chain {
    Chain::new(Random::new(1))
}

fn text(text: &str) -> Item {
    Item::Data(Bytes::copy_from_slice(text.as_bytes()))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Takes the output until nothing more is due, and returns it with the point in time when the rest is due.
fn output(chain: &mut Chain, now: Instant) -> (String, Option<Instant>) {
    let mut text = String::new();
    loop {
        let next = chain.advance(now).unwrap();
        let Some(item) = chain.output().pop_front() else { return (text, next) };
        match item {
            Item::Data(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Item::End => text.push('.'),
            Item::Close => text.push('!'),
        }
    }
}

#[test]
fn toxics_apply_one_after_the_other() {
    let (mut chain, start) = (chain(), Instant::now());
    let toxics = [entry(1, Toxic::latency(ms(100))), entry(2, Toxic::latency(ms(50)))];
    chain.apply(&toxics, start).unwrap();
    chain.push(text("hello"), start);
    assert_eq!(output(&mut chain, start), (String::new(), Some(start + ms(100))));
    assert_eq!(output(&mut chain, start + ms(100)), (String::new(), Some(start + ms(150))));
    assert_eq!(output(&mut chain, start + ms(150)), ("hello".to_owned(), None));
}

#[test]
fn at_toxicity_zero_no_toxic_is_in_the_path() {
    let (mut chain, start) = (chain(), Instant::now());
    let toxics = [entry(1, Toxic::black_hole().toxicity(0.0)), entry(2, Toxic::new(Effect::Noop))];
    chain.apply(&toxics, start).unwrap();
    assert!(chain.is_idle() && !chain.is_affected());
}

#[test]
fn a_larger_toxicity_affects_all_connections_of_a_smaller_one() {
    let affected = |share: f64| -> Vec<u64> {
        let affects = |connection: &u64| {
            let chain = Chain::new(Random::new(7).for_part(*connection));
            chain.affects(&entry(1, Toxic::black_hole().toxicity(share)))
        };
        (0..2000).filter(affects).collect()
    };
    let (few, many) = (affected(0.2), affected(0.5));
    assert!((320..480).contains(&few.len()), "{}", few.len());
    assert!((900..1100).contains(&many.len()), "{}", many.len());
    assert!(few.iter().all(|connection| many.contains(connection)));
    assert_eq!(affected(1.0).len(), 2000);
    assert_eq!(affected(0.2), few, "reproducible");
}

#[test]
fn a_removed_toxic_in_the_middle_keeps_the_order() {
    let (mut chain, start) = (chain(), Instant::now());
    let [first, second, third] =
        [1, 2, 3].map(|id| entry(id, Toxic::latency(ms(100 * id)).named(id.to_string())));
    chain.apply(&[Arc::clone(&first), second, Arc::clone(&third)], start).unwrap();
    chain.push(text("a"), start);
    output(&mut chain, start + ms(100));
    output(&mut chain, start + ms(300)); // `a` is in the third
    chain.push(text("b"), start + ms(300));
    output(&mut chain, start + ms(400)); // `b` is in the second
    chain.push(text("c"), start + ms(450)); // `c` is in the first
    chain.apply(&[first, third], start + ms(450)).unwrap();
    let (none, due) = output(&mut chain, start + ms(599));
    assert_eq!((none.as_str(), due), ("", Some(start + ms(600))));
    assert_eq!(output(&mut chain, start + ms(600)).0, "a");
    chain.apply(&[], start + ms(600)).unwrap();
    assert_eq!(output(&mut chain, start + ms(600)).0, "bc");
    assert!(chain.is_idle());
}

#[test]
fn an_update_keeps_the_queue_and_the_count() {
    let (mut chain, start) = (chain(), Instant::now());
    let limit = |revision, bytes| {
        let toxic = Toxic::limit_data(bytes);
        Arc::new(Entry { id: 1, revision, name: toxic.name(), toxic })
    };
    chain.apply(&[limit(0, 4)], start).unwrap();
    chain.push(text("abc"), start);
    assert_eq!(output(&mut chain, start).0, "abc");
    chain.apply(&[limit(1, 5)], start).unwrap();
    chain.push(text("defgh"), start);
    assert_eq!(output(&mut chain, start).0, "de!");
}

#[test]
fn a_removed_black_hole_closes_the_connection() {
    let (mut chain, start) = (chain(), Instant::now());
    let hole = entry(1, Toxic::black_hole());
    chain.apply(&[hole], start).unwrap();
    chain.push(text("lost"), start);
    assert_eq!(output(&mut chain, start), (String::new(), None));
    assert_eq!(chain.apply(&[], start), Err(Closing::Close));
}

#[test]
fn a_full_toxic_stops_the_source() {
    let (mut chain, start) = (chain(), Instant::now());
    chain.apply(&[entry(1, Toxic::bandwidth(TransferRate::bytes(0)))], start).unwrap();
    let mut pushed = 0;
    while chain.accepts() {
        chain.push(Item::Data(Bytes::from(vec![0; 1000])), start);
        chain.advance(start).unwrap();
        pushed += 1000;
    }
    assert!(pushed <= 66_000, "{pushed}");
}

/// A toxic that passes all data on.
fn lossless() -> impl Strategy<Value = Toxic> {
    prop_oneof![
        (0..300_u64, 0..400_u64)
            .prop_map(|(latency, jitter)| Toxic::latency_with_jitter(ms(latency), ms(jitter))),
        (0..20_000_u64).prop_map(|rate| Toxic::bandwidth(TransferRate::bytes(rate))),
        (0..300_u64).prop_map(|delay| Toxic::slow_close(ms(delay))),
        (1..20_usize, 0..3000_u64).prop_map(|(size, delay)| Toxic::slicer(
            size,
            size - 1,
            Duration::from_micros(delay)
        )),
        Just(Toxic::limit_data(u64::MAX)),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Add(Toxic),
    Remove(usize),
    Update(usize, Toxic),
    Send(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        lossless().prop_map(Act::Add),
        any::<usize>().prop_map(Act::Remove),
        (any::<usize>(), lossless()).prop_map(|(index, toxic)| Act::Update(index, toxic)),
        (1..200_usize).prop_map(Act::Send),
        (1..500_u64).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    // No byte is lost, duplicated or reordered, whatever changes while data is on the way.
    #[test]
    fn changes_never_corrupt_the_data(acts in proptest::collection::vec(act(), 1..60)) {
        let (mut chain, mut now) = (chain(), Instant::now());
        let mut toxics: Vec<Arc<Entry>> = Vec::new();
        let (mut sent, mut received) = (String::new(), String::new());
        for (id, act) in (1..).zip(acts) {
            match act {
                Act::Add(toxic) => toxics.push(entry(id, toxic)),
                Act::Remove(_) | Act::Update(..) if toxics.is_empty() => {}
                Act::Remove(index) => drop(toxics.remove(index % toxics.len())),
                Act::Update(index, toxic) => {
                    let index = index % toxics.len();
                    let old = &toxics[index];
                    if old.toxic.effect().kind() == toxic.effect().kind() {
                        toxics[index] =
                            Arc::new(Entry { id: old.id, revision: old.revision + 1, name: old.name.clone(), toxic });
                    }
                }
                Act::Send(length) if chain.accepts() => {
                    let letters: String = ('a'..='z').cycle().skip(sent.len() % 26).take(length).collect();
                    chain.push(text(&letters), now);
                    sent += &letters;
                }
                Act::Send(_) => {}
                Act::Wait(time) => now += ms(time),
            }
            prop_assert!(chain.apply(&toxics, now).is_ok());
            let (more, next) = output(&mut chain, now);
            prop_assert!(next.is_none_or(|next| next > now), "due in the past");
            received += &more;
            prop_assert!(sent.starts_with(&received));
        }
        chain.push(Item::End, now);
        prop_assert!(chain.apply(&[], now).is_ok());
        received += &output(&mut chain, now).0;
        prop_assert_eq!(received, sent + ".");
        prop_assert!(chain.is_idle());
    }
}
