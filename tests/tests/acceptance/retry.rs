//! Retry: repeats calls with transient errors.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use resilient_runtime::retry::Config;
use resilient_runtime::{Component, EventKind, resilient};

use crate::{SECOND, not_found, refused, registry};

#[test]
fn a_call_with_a_transient_error_is_retried() {
    let (_, registry) = registry();
    let calls = Cell::new(0);
    let stock = registry.retry("stock").call(|| {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(refused()) } else { Ok(7) }
    });
    assert_eq!((stock.unwrap(), calls.get()), (7, 3));
}

#[test]
fn after_the_last_attempt_the_caller_gets_the_last_error() {
    let (_, registry) = registry();
    let calls = Cell::new(0);
    let failed: io::Result<()> = registry.retry("stock").call(|| {
        calls.set(calls.get() + 1);
        Err(refused())
    });
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(calls.get(), 4, "one call and three retries");
}

#[test]
fn a_call_with_a_permanent_error_is_not_retried() {
    #[resilient(retry(max = 3))]
    fn find(calls: &Cell<u32>) -> io::Result<()> {
        calls.set(calls.get() + 1);
        Err(not_found())
    }
    let calls = Cell::new(0);
    assert_eq!(find(&calls).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(calls.get(), 1);
}

#[test]
fn delays_double_and_are_jittered_by_half() {
    let (_, registry) = registry();
    let retry = registry.retry("stock");
    retry.reconfigure(Config::default().max(6).base(SECOND).max_delay(10 * SECOND)).unwrap();
    let mut events = registry.subscribe();
    let _ = retry.call(|| Err::<(), _>(refused()));
    let pauses: Vec<Duration> = std::iter::from_fn(|| events.try_recv())
        .filter_map(|event| match event.what {
            EventKind::Retrying { delay, .. } => Some(delay),
            _ => None,
        })
        .collect();
    assert_eq!(pauses.len(), 6);
    for (pause, seconds) in pauses.iter().zip([1, 2, 4, 8, 10, 10]) {
        let (least, most) = (SECOND * seconds / 2, (SECOND * seconds * 3 / 2).min(10 * SECOND));
        assert!((least..=most).contains(pause), "{pause:?} is not {seconds} s +- 50 %");
    }
    assert_ne!(pauses[4], pauses[5], "jitter also applies at the maximum delay");
}
