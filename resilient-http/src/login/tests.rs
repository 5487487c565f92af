use futures_util::FutureExt;
use resilient_runtime::clock::ManualClock;

use super::*;
use resilient_runtime::Registry;
use resilient_runtime::store::{Answer, Backend, LoginState, LoginStore, MemoryLogins};
use tokio::task::yield_now;

fn attempt(guard: &LoginGuard, identity: &str, address: IpAddr) -> Result<LoginAttempt, Locked> {
    guard.attempt(identity, address).now_or_never().expect("memory answers at once")
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn address(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

#[test]
fn each_further_failure_locks_for_twice_as_long() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock()).failures(3);
    let fail = || attempt(&guard, "ada", address(1)).map(drop);
    assert_eq!([fail(), fail(), fail()], [Ok(()); 3]);
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let locked = attempt(&guard, "ada", address(1)).unwrap_err();
        assert_eq!(locked.retry_after, SECONDS(minutes * 60));
        time.advance(SECONDS(minutes * 60));
        assert_eq!(fail(), Ok(()));
    }
    assert_eq!(attempt(&guard, "ada", address(2)).map(drop), Ok(()), "another address of ada is not locked");
    assert_eq!(attempt(&guard, "bob", address(1)).map(drop), Ok(()));
}

#[test]
fn an_address_and_an_identity_are_locked_after_ten_times_as_many_failures() {
    let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    let spray = (0..100).take_while(|n| attempt(&guard, &format!("user {n}"), address(1)).map(drop).is_ok());
    assert_eq!(spray.count(), 20);
    let botnet = (100..200).take_while(|n| attempt(&guard, "ada", address(*n)).map(drop).is_ok());
    assert_eq!(botnet.count(), 20);
    assert!(attempt(&guard, "another", address(300)).is_ok());
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
            attempt(&guard, name, address(1)).map(drop).is_ok()
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
    let together: Vec<_> = (0..100).map_while(|_| attempt(&guard, "ada", address(1)).ok()).collect();
    assert_eq!(together.len(), 5);
    together.into_iter().next().unwrap().succeeded().now_or_never();
    assert!(attempt(&guard, "ada", address(1)).is_ok(), "the success unlocks");
}

#[test]
fn a_success_and_time_remove_failures() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock()).failures(3);
    for _ in 0..10 {
        attempt(&guard, "ada", address(1)).map(drop).unwrap();
        attempt(&guard, "ada", address(1)).map(drop).unwrap();
        attempt(&guard, "ada", address(1)).unwrap().succeeded().now_or_never();
    }
    attempt(&guard, "bob", address(2)).map(drop).unwrap();
    attempt(&guard, "bob", address(2)).map(drop).unwrap();
    time.advance(LoginRule::HALF_LIFE + SECONDS(1));
    attempt(&guard, "bob", address(2)).map(drop).unwrap();
    assert!(attempt(&guard, "bob", address(2)).is_ok());
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
            assert_eq!(attempt(&guard, &user, address(1)).map(drop), Ok(()), "day {day}");
            hours(12);
        }
    }
    // Any number of failures is allowed if each is followed by a success.
    for _ in 0..10 {
        for user in 0..200 {
            let user = format!("user {user}");
            attempt(&guard, &user, address(1)).map(drop).unwrap();
            attempt(&guard, &user, address(1)).unwrap().succeeded().now_or_never();
        }
    }
}

#[test]
fn one_correct_password_gives_no_extra_guesses_at_other_identities() {
    let guard = LoginGuard::new(&ManualClock::new().clock()).failures(2);
    let guesses = (0..100).take_while(|n| {
        attempt(&guard, "mallory", address(1)).is_ok_and(|own| {
            own.succeeded().now_or_never();
            attempt(&guard, &format!("user {n}"), address(1)).map(drop).is_ok()
        })
    });
    assert_eq!(guesses.count(), 20);
}

#[test]
fn failures_at_other_addresses_do_not_lock_a_known_address() {
    let time = ManualClock::new();
    let guard = LoginGuard::new(&time.clock());
    let storm = |from: u32| {
        let guess = |n: u32| attempt(&guard, "ada", address(from + n / 5)).map(drop).is_ok();
        (0..500).filter(|n| guess(*n)).count()
    };
    attempt(&guard, "ada", address(1)).unwrap().succeeded().now_or_never();
    assert_eq!(storm(100), 50);
    assert!(attempt(&guard, "ada", address(2)).is_err(), "an unknown address is locked");
    attempt(&guard, "ada", address(1)).unwrap().succeeded().now_or_never();
    assert!(attempt(&guard, "ada", address(101)).is_err(), "the success does not help the attacker");
    let own = (0..10).take_while(|_| attempt(&guard, "ada", address(1)).map(drop).is_ok()).count();
    assert_eq!(own, 5, "its own failures lock it");
    time.advance(LoginRule::KNOWN_FOR + SECONDS(1));
    assert_eq!(storm(1000), 50);
    assert!(attempt(&guard, "ada", address(1)).is_err(), "the address is no longer known");
}

#[tokio::test(start_paused = true)]
async fn a_failure_takes_at_least_the_set_time() {
    let guard = LoginGuard::new(&Clock::tokio()).answers_after(SECONDS(1));
    let began = tokio::time::Instant::now();
    let attempt = attempt(&guard, "no-such-user", address(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    attempt.failed().await;
    assert_eq!(began.elapsed(), SECONDS(1));
}

/// Guards of two instances that share a store, and the store.
fn shared(time: &ManualClock) -> ([LoginGuard; 2], Registry) {
    let registry = Registry::with_clock(Clock::tokio());
    registry.use_store("shared", MemoryLogins::new(time.clock()));
    let instance = || LoginGuard::new(&time.clock()).store(registry.store("shared"));
    ([instance(), instance()], registry)
}

#[tokio::test(start_paused = true)]
async fn instances_with_a_store_share_failures_and_known_addresses() {
    // T196
    let time = ManualClock::new();
    let ([first, second], _registry) = shared(&time);
    for number in 0..5 {
        let guard = if number % 2 == 0 { &first } else { &second };
        drop(guard.attempt("ada", address(1)).await.unwrap());
    }
    for guard in [&first, &second] {
        assert_eq!(guard.attempt("ada", address(1)).await.unwrap_err().retry_after, SECONDS(60));
    }
    first.attempt("ada", address(2)).await.unwrap().succeeded().await;
    let storm = async |from: u32| {
        for number in 0..100 {
            drop(first.attempt("ada", address(from + number)).await);
        }
    };
    storm(100).await;
    assert!(second.attempt("ada", address(300)).await.is_err());
    assert!(second.attempt("ada", address(2)).await.is_ok(), "known by a login at the other instance");
}

/// A store that lets others run before each operation, as one on the network does.
#[derive(Debug)]
struct Distant(MemoryLogins);

impl Backend for Distant {
    fn address(&self) -> String {
        "distant".to_owned()
    }

    fn logins(&self) -> Option<&dyn LoginStore> {
        Some(self)
    }
}

impl LoginStore for Distant {
    fn check<'a>(&'a self, key: &'a str) -> Answer<'a, LoginState> {
        Box::pin(async { yield_now().then(|()| self.0.check(key)).await })
    }

    fn count<'a>(&'a self, key: &'a str, rule: LoginRule, is_judged: bool) -> Answer<'a, LoginState> {
        Box::pin(async move { yield_now().then(|()| self.0.count(key, rule, is_judged)).await })
    }

    fn forgive<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async { yield_now().then(|()| self.0.forgive(key)).await })
    }

    fn subtract<'a>(&'a self, key: &'a str, rule: LoginRule, thousandths: u64) -> Answer<'a, ()> {
        Box::pin(async move { yield_now().then(|()| self.0.subtract(key, rule, thousandths)).await })
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_guesses_at_several_instances_cannot_exceed_the_limit() {
    // T197
    let (time, registry) = (ManualClock::new(), Registry::with_clock(Clock::tokio()));
    let store = Arc::new(Distant(MemoryLogins::new(time.clock())));
    registry.use_store("shared", Arc::clone(&store));
    let guards: [LoginGuard; 2] =
        std::array::from_fn(|_| LoginGuard::new(&time.clock()).failures(2).store(registry.store("shared")));
    let attempts = (0..30).map(|number| guards[number % 2].attempt("ada", address(1)));
    let admitted = futures_util::future::join_all(attempts).await;
    assert_eq!(admitted.iter().filter(|attempt| attempt.is_ok()).count(), 2);

    let names: Vec<String> = (0..60).map(|number| format!("user {number}")).collect();
    let attempts = (0..60).map(|number| guards[number % 2].attempt(&names[number], address(2)));
    let admitted = futures_util::future::join_all(attempts).await;
    assert_eq!(admitted.iter().filter(|attempt| attempt.is_ok()).count(), 20, "the limit of the address");
    for (name, attempt) in names.iter().zip(&admitted) {
        let counted = store.0.forgive(&guards[0].keys(name, address(2)).0[0]).await;
        assert_eq!(counted, Ok(if attempt.is_ok() { 1000 } else { 0 }), "a refused attempt does not count");
    }
}

#[tokio::test(start_paused = true)]
async fn the_failures_that_an_instance_has_seen_decide_while_the_store_fails() {
    // T198
    let time = ManualClock::new();
    let ([first, second], registry) = shared(&time);
    for _ in 0..3 {
        drop(first.attempt("ada", address(1)).await.unwrap());
    }
    // A store without the role fails each request.
    registry.use_store("shared", resilient_runtime::rate_limit::MemoryStore::new(time.clock(), 10));
    let more = async |guard: &LoginGuard| {
        let mut count = 0;
        while count < 100 && guard.attempt("ada", address(1)).await.is_ok() {
            count += 1;
        }
        count
    };
    assert_eq!((more(&first).await, more(&second).await), (2, 5));
}
