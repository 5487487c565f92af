use resilient_runtime::clock::ManualClock;

use super::record::{HALF_LIFE, KNOWN_FOR, MAX_ENTRIES};
use super::*;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn address(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

#[test]
fn each_further_failure_locks_for_twice_as_long() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock()).failures(3);
    let fail = || guard.attempt("ada", address(1)).map(drop);
    assert_eq!([fail(), fail(), fail()], [Ok(()); 3]);
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let locked = guard.attempt("ada", address(1)).unwrap_err();
        assert_eq!(locked.retry_after, SECONDS(minutes * 60));
        time.advance(SECONDS(minutes * 60));
        assert_eq!(fail(), Ok(()));
    }
    assert_eq!(guard.attempt("ada", address(2)).map(drop), Ok(()), "another address of ada is not locked");
    assert_eq!(guard.attempt("bob", address(1)).map(drop), Ok(()));
}

#[test]
fn an_address_and_an_identity_are_locked_after_ten_times_as_many_failures() {
    let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    let spray = (0..100).take_while(|n| guard.attempt(&format!("user {n}"), address(1)).map(drop).is_ok());
    assert_eq!(spray.count(), 20);
    let botnet = (100..200).take_while(|n| guard.attempt("ada", address(*n)).map(drop).is_ok());
    assert_eq!(botnet.count(), 20);
    assert!(guard.attempt("another", address(300)).is_ok());
}

#[test]
fn all_spellings_of_an_identity_share_their_failures() {
    let spellings = [
        &[
            "ada",
            "Ada",
            "ADA",
            " ada",
            "ada\t",
            "\u{ff41}\u{ff44}\u{ff41}",
            "a\u{200b}da",
            "ada\u{feff}",
            "a\u{ad}da",
            "ada\0",
            "\u{a0}ada",
        ][..],
        &["r\u{e9}ne", "re\u{301}ne", "R\u{c9}NE", "RE\u{301}NE\r\n"],
        &["stra\u{df}e", "STRASSE", "STRA\u{1e9e}E", "Strasse"],
        &[
            "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}",
            "\u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}",
            "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c3}",
        ],
        &["\u{fb01}n@example.org", "FIN@EXAMPLE.ORG", "fin\u{ff20}example\u{ff0e}org"],
        &["\u{212b}ngstr\u{f6}m", "\u{c5}NGSTR\u{d6}M", "a\u{30a}ngstro\u{308}m"],
    ];
    for spellings in spellings {
        let guard = LoginGuard::new(&ManualClock::new().clock());
        let guesses = (0..100).filter(|n| {
            let name = spellings[n % spellings.len()];
            guard.attempt(name, address(1)).map(drop).is_ok()
        });
        assert_eq!(guesses.count(), 5, "{spellings:?}");
    }
    let names = ["ada", "adam", "bda", "a da", "ad\u{e0}", "1da"];
    let distinct: std::collections::HashSet<_> = names.map(identity::normalize).into();
    assert_eq!(distinct.len(), names.len());
    let long = identity::normalize(&"a\u{301}".repeat(1 << 20));
    assert!(long.len() < 8 * identity::MAX_CHARS, "the length is bounded");
}

#[test]
fn concurrent_attempts_cannot_exceed_the_limit() {
    let guard = LoginGuard::new(&ManualClock::new().clock());
    let together: Vec<_> = (0..100).map_while(|_| guard.attempt("ada", address(1)).ok()).collect();
    assert_eq!(together.len(), 5);
    together.into_iter().next().unwrap().succeeded();
    assert!(guard.attempt("ada", address(1)).is_ok(), "the success unlocks");
}

#[test]
fn a_success_and_time_remove_failures() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock()).failures(3);
    for _ in 0..10 {
        guard.attempt("ada", address(1)).map(drop).unwrap();
        guard.attempt("ada", address(1)).map(drop).unwrap();
        guard.attempt("ada", address(1)).unwrap().succeeded();
    }
    guard.attempt("bob", address(2)).map(drop).unwrap();
    guard.attempt("bob", address(2)).map(drop).unwrap();
    time.advance(HALF_LIFE + SECONDS(1));
    guard.attempt("bob", address(2)).map(drop).unwrap();
    assert!(guard.attempt("bob", address(2)).is_ok());
}

#[test]
fn daily_typing_errors_behind_one_address_never_lock_it() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock());
    let hours = |hours: u64| time.advance(SECONDS(hours * 3600));
    for day in 0..365_u32 {
        for slip in 0..2 {
            // The user gives up, or logs in correctly the next day.
            let user = format!("user {}", (day * 7 + slip * 3) % 200);
            assert_eq!(guard.attempt(&user, address(1)).map(drop), Ok(()), "day {day}");
            hours(12);
        }
    }
    // Any number of failures is allowed if each is followed by a success.
    for _ in 0..10 {
        for user in 0..200 {
            let user = format!("user {user}");
            guard.attempt(&user, address(1)).map(drop).unwrap();
            guard.attempt(&user, address(1)).unwrap().succeeded();
        }
    }
}

#[test]
fn one_correct_password_gives_no_extra_guesses_at_other_identities() {
    let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    let guesses = (0..100).take_while(|n| {
        guard.attempt("mallory", address(1)).is_ok_and(|own| {
            own.succeeded();
            guard.attempt(&format!("user {n}"), address(1)).map(drop).is_ok()
        })
    });
    assert_eq!(guesses.count(), 20);
}

#[test]
fn failures_at_other_addresses_do_not_lock_a_known_address() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock());
    let storm = |from: u32| {
        let guess = |n: u32| guard.attempt("ada", address(from + n / 5)).map(drop).is_ok();
        (0..500).filter(|n| guess(*n)).count()
    };
    guard.attempt("ada", address(1)).unwrap().succeeded();
    assert_eq!(storm(100), 50);
    assert!(guard.attempt("ada", address(2)).is_err(), "an unknown address is locked");
    guard.attempt("ada", address(1)).unwrap().succeeded();
    assert!(guard.attempt("ada", address(101)).is_err(), "the success does not help the attacker");
    let own = (0..10).take_while(|_| guard.attempt("ada", address(1)).map(drop).is_ok()).count();
    assert_eq!(own, 5, "its own failures lock it");
    time.advance(KNOWN_FOR + SECONDS(1));
    assert_eq!(storm(1000), 50);
    assert!(guard.attempt("ada", address(1)).is_err(), "the address is no longer known");
}

#[test]
fn known_addresses_are_bounded_and_the_oldest_are_removed_first() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock());
    for number in 0..150_000 {
        time.advance(Duration::from_millis(1));
        guard.attempt(&number.to_string(), address(number)).unwrap().succeeded();
    }
    let record = guard.shared.record();
    assert!(record.known.len() <= MAX_ENTRIES);
    assert!(record.known.contains_key(&guard.keys("149999", address(149_999))[0]));
}

#[test]
fn stored_failures_are_bounded_and_the_largest_counts_are_removed_last() {
    let guard = LoginGuard::new(&ManualClock::new().clock());
    for _ in 0..5 {
        guard.attempt("ada", address(1)).map(drop).unwrap();
    }
    for number in 10..200_000 {
        guard.attempt(&number.to_string(), address(number)).map(drop).unwrap();
    }
    assert!(guard.shared.record().failures.len() <= MAX_ENTRIES);
    assert!(guard.attempt("ada", address(1)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failure_takes_at_least_the_set_time() {
    let guard = LoginGuard::new(&Clock::tokio()).answers_after(SECONDS(1));
    let began = tokio::time::Instant::now();
    let attempt = guard.attempt("no-such-user", address(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    attempt.failed().await;
    assert_eq!(began.elapsed(), SECONDS(1));
}
