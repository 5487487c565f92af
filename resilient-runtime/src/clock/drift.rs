//! Detects a registry on the system clock in a program on a paused tokio clock.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two consecutive readings of the real clock are closer than this on any working machine.
const FAR: Duration = Duration::from_millis(500);
/// Tests with paused time are short: check the first `FIRST` timers of a thread, then one in every `THEN`.
const FIRST: u32 = 256;
const THEN: u32 = 1024;

static WARNED: AtomicBool = AtomicBool::new(false);

/// Warns once if tokio's clock is not the real one. Called when a tokio timer is armed for the system clock. Only
/// debug builds check, because only tests pause the clock.
#[inline]
pub(super) fn look() {
    if cfg!(debug_assertions) {
        look_at_some();
    }
}

fn look_at_some() {
    thread_local!(static ARMED: Cell<u32> = const { Cell::new(0) });
    let armed = ARMED.get();
    ARMED.set(armed.wrapping_add(1));
    if (armed < FIRST || armed.is_multiple_of(THEN)) && !WARNED.load(Ordering::Relaxed) && is_virtual() {
        warn();
    }
}

/// Returns whether tokio's clock is or was paused. Detects it only after the clock has moved away from the real
/// one.
fn is_virtual() -> bool {
    let before = std::time::Instant::now();
    let theirs = tokio::time::Instant::now().into_std();
    let after = std::time::Instant::now();
    let apart = before.saturating_duration_since(theirs).max(theirs.saturating_duration_since(after));
    apart > FAR
}

#[cold]
#[allow(clippy::print_stderr)] // debug builds only: most tests have no subscriber
fn warn() {
    const WHAT: &str = "tokio's clock is paused, but this registry uses the system clock: its timers fire in virtual time \
                        and it reads real time. Call `resilient_runtime::Registry::install(Clock::tokio())` first, or \
                        create the registry with `Registry::with_clock(Clock::tokio())`";
    if WARNED.swap(true, Ordering::Relaxed) {
        return;
    }
    tracing::warn!(target: "resilient_runtime::clock", "{WHAT}");
    eprintln!("resilient: {WHAT}");
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_detected_once_it_has_moved() {
        assert!(!is_virtual());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_virtual());
    }

    #[tokio::test]
    async fn a_running_clock_is_not_mistaken_for_a_paused_one() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!is_virtual());
    }
}
