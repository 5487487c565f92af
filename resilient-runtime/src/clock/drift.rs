//! A registry on the system clock in a program on a paused tokio clock.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two readings one after the other are closer than this on any machine that still works.
const FAR: Duration = Duration::from_millis(500);
/// A test of paused time is short: its first timers are looked at, then one of so many.
const FIRST: u32 = 256;
const THEN: u32 = 1024;

static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Says once that tokio's clock is not the real one. Called where a timer of tokio is armed for the system clock; only a
/// debug build looks, as only tests pause the clock.
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
    if (armed < FIRST || armed.is_multiple_of(THEN)) && !IS_TOLD.load(Ordering::Relaxed) && is_virtual() {
        tell();
    }
}

/// Whether tokio's clock is paused, or was. Not noticed before it has moved away from the real one.
fn is_virtual() -> bool {
    let before = std::time::Instant::now();
    let theirs = tokio::time::Instant::now().into_std();
    let after = std::time::Instant::now();
    let apart = before.saturating_duration_since(theirs).max(theirs.saturating_duration_since(after));
    apart > FAR
}

#[cold]
#[allow(clippy::print_stderr)] // in a debug build: tests have no subscriber as a rule
fn tell() {
    const WHAT: &str = "tokio's clock is paused, and this registry is on the system clock: its timers fire in virtual time while \
                        it reads real time. Use `resilient_runtime::Registry::install(Clock::tokio())` first, or \
                        `Registry::with_clock(Clock::tokio())`";
    if IS_TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    tracing::warn!(target: "resilient_runtime::clock", "{WHAT}");
    eprintln!("resilient: {WHAT}");
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_noticed_once_it_has_moved() {
        // H9
        assert!(!is_virtual());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_virtual());
    }

    #[tokio::test]
    async fn a_clock_that_runs_is_not_taken_for_a_paused_one() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!is_virtual());
    }
}
