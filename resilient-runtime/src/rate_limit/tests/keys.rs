//! Limits by key.

use super::*;

#[test]
fn a_million_keys_take_bounded_memory_and_active_keys_are_kept() {
    // T90
    let (time, limiter) = limiter(rate("2/min").max_keys(100_000));
    let hot: Vec<u32> = (0..100).collect();
    for key in &hot {
        assert!(limiter.check_key_weighted(key, 2).allowed);
    }
    let mut refused_new = 0;
    for key in 1000..1_001_000_u32 {
        refused_new += u32::from(!limiter.check_key(&key).allowed);
        if key % 100_000 == 0 {
            time.advance(MS);
            let again = hot.iter().filter(|key| limiter.check_key(*key).allowed).count();
            assert_eq!(again, 0, "a hot key got its limit back");
        }
    }
    let stats = limiter.stats();
    assert!(stats.keys <= 201_000, "{stats:?}");
    assert!(stats.overflows > 0);
    assert!(refused_new < 1_000_000, "some new keys are admitted");
    // Idle keys make room.
    time.advance(Duration::from_mins(2));
    assert!((2_000_000..2_010_000_u32).all(|key| limiter.check_key(&key).allowed));
}

#[test]
fn keys_within_the_bound_rarely_share_a_limit() {
    let (_, limiter) = limiter(rate("1/h").max_keys(100_000));
    let refused = (0..100_000_u32).filter(|key| !limiter.check_key(key).allowed).count();
    assert!(refused < 100, "{refused}");
    let long = "x".repeat(1 << 20);
    assert!(limiter.check_key(&long).allowed && !limiter.check_key(&long).allowed);
    assert!(limiter.check_key("").allowed, "an empty key is a valid key");
}

#[test]
fn a_key_takes_33_bytes() {
    let of = |ways: usize| {
        2 * ways * (size_of::<keyed::Key>() + size_of::<meter::Cell>()) + 2 * size_of::<meter::Cell>()
    };
    // 16 keys: 32 slots and two shared meters.
    assert!(of(16) / 16 <= 48, "{}", of(16));
}

#[test]
fn a_hot_key_has_exactly_its_own_rate_under_any_load() {
    // T90: a million keys, once each, in a table of 10 000 slots that are all in use at any time.
    const EACH: Duration = Duration::from_micros(10);
    let config = rate("10/s").max_keys(5_000);
    let rule = Rule::of(&config);
    let (time, limiter) = limiter(config);
    let mut hot: Vec<(u32, meter::Cell)> = (0..50).map(|key| (key, meter::Cell::default())).collect();
    // The hot keys come first. A key that comes later can share a limit before it gets a slot.
    for (hot, alone) in &mut hot {
        let now = limiter.core.clock().now().as_nanos();
        assert!(limiter.check_key(hot).allowed && meter::Meter::take(alone, rule, now, 1).is_ok());
    }
    let mut newcomers = 0;
    for key in 1_000..1_001_000_u32 {
        // Each hot key comes 20 times per second.
        if key % 100 == 0 {
            let turn = (key / 100 % 50) as usize;
            let (hot, alone) = &mut hot[turn];
            let now = limiter.core.clock().now().as_nanos();
            let expected = meter::Meter::take(alone, rule, now, 1).is_ok();
            assert_eq!(limiter.check_key(hot).allowed, expected, "the hot key {hot} at {now}");
        }
        newcomers += u32::from(limiter.check_key(&key).allowed);
        time.advance(EACH);
    }
    let stats = limiter.stats();
    assert!(stats.keys <= 10_240 && stats.overflows > 0, "{stats:?}");
    assert!(newcomers > 500_000, "only {newcomers} new keys were admitted");
}

#[test]
fn each_limiter_hashes_keys_with_its_own_seed() {
    let (one, other) = (limiter(rate("1/s")).1, limiter(rate("1/s")).1);
    assert_ne!(one.request("a"), other.request("a"));
    assert_eq!(one.request("a"), one.request(&String::from("a")));
}
