use std::time::Duration;

use super::window::{from_f64, log, to_f64};
use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn at(span: Duration) -> Instant {
    Instant::from_nanos(1_000_000_000).after(span)
}

#[test]
fn the_logarithm_is_right_within_a_hundredth() {
    let mut nanos = 1_u64;
    while nanos < u64::MAX / 3 {
        let off = to_f64(log(nanos)) - (nanos as f64).log2();
        assert!(off.abs() < 0.0125, "{nanos}: {off}");
        nanos += nanos / 7 + 1;
    }
    assert_eq!((log(0), log(1), log(1024)), (0, 0, from_f64(10.0)));
    assert!(log(u64::MAX) <= from_f64(64.0));
}

#[test]
fn it_begins_where_it_is_told_within_its_bounds() {
    assert_eq!(AdaptiveLimit::new(20, 1, 200).limit(), 20);
    assert_eq!(AdaptiveLimit::new(0, 5, 200).limit(), 5);
    assert_eq!(AdaptiveLimit::new(500, 5, 200).limit(), 200);
    assert_eq!(AdaptiveLimit::new(7, 9, 3).limit(), 9, "whatever it is told, it can be");
}

#[test]
fn one_window_of_calls_that_are_not_slower_lets_it_grow_and_says_why() {
    let limit = AdaptiveLimit::new(20, 1, 200);
    for call in 0..200 {
        let now = at(MS(10 * call));
        limit.sample(now, now.after(MS(10)), 20, Sample::Success);
        if limit.limit() > 20 {
            assert_eq!(limit.stats().reason, Reason::Growing);
            return;
        }
    }
    panic!("it did not grow: {:?}", limit.stats());
}
