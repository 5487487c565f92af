//! The calls in flight, and the limit of each class.

use once_cell::race::OnceBox;

use super::config::Config;
use crate::adaptive::{AdaptiveLimit, Sample};
use crate::clock::Instant;
use crate::priority::Priority;
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// Counts every admitted call, even without a limit, so that the count is correct when a limit is set.
#[derive(Debug)]
pub(super) struct Gauge {
    in_flight: AtomicU32,
    /// `u32::MAX` for none. Relaxed, like the others: settings. A call can still use the earlier ones.
    most: AtomicU32,
    is_adaptive: AtomicBool,
    /// Allocated when it is first enabled.
    adaptive: OnceBox<AdaptiveLimit>,
    /// By [`Priority`], in units of 1 / [`WHOLE`].
    shares: [AtomicU32; 4],
}

const WHOLE: u32 = 1 << 16;

impl Gauge {
    pub(super) fn new(config: &Config) -> Self {
        let gauge = Self {
            in_flight: AtomicU32::new(0),
            most: AtomicU32::new(u32::MAX),
            is_adaptive: AtomicBool::new(false),
            adaptive: OnceBox::new(),
            shares: std::array::from_fn(|_| AtomicU32::new(WHOLE)),
        };
        gauge.apply(config);
        gauge
    }

    pub(super) fn apply(&self, config: &Config) {
        let most = config.most();
        if config.adaptive {
            let (initial, least) = (config.initial_in_flight, config.min_in_flight);
            let new = || Box::new(AdaptiveLimit::new(initial, least, most));
            self.adaptive.get_or_init(new).set_bounds(least, most);
        }
        self.most.store(most, Ordering::Relaxed);
        self.is_adaptive.store(config.adaptive, Ordering::Relaxed);
        for priority in Priority::ALL {
            // Between 0 and 65 536, not rounded up: otherwise four fifths of ten would be more than eight.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let share = (config.share(priority).get() * f64::from(WHOLE)) as u32;
            self.shares[priority as usize].store(share, Ordering::Relaxed);
        }
    }

    /// Adds a call in flight, if its class is admitted.
    #[inline]
    pub(super) fn try_enter(&self, priority: Priority) -> bool {
        let limit = self.limit_of(priority);
        let mut in_flight = self.in_flight.load(Ordering::Relaxed);
        while in_flight < limit {
            // Relaxed: the count does not order other data.
            let entered = self.in_flight.compare_exchange_weak(
                in_flight,
                in_flight + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match entered {
                Ok(_) => return true,
                Err(now) => in_flight = now,
            }
        }
        false
    }

    /// Removes a call in flight. Returns how many there were before.
    #[inline]
    pub(super) fn leave(&self) -> u32 {
        self.in_flight.fetch_sub(1, Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the limit. `u32::MAX` if there is none.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        self.adaptive().map_or_else(|| self.most.load(Ordering::Relaxed), AdaptiveLimit::limit)
    }

    /// Returns the adaptive limit, if it is enabled.
    #[inline]
    fn adaptive(&self) -> Option<&AdaptiveLimit> {
        if self.is_adaptive() { self.adaptive.get() } else { None }
    }

    #[inline]
    pub(super) fn is_adaptive(&self) -> bool {
        self.is_adaptive.load(Ordering::Relaxed)
    }

    /// Passes the result of a call to the adaptive limit. `in_flight` is the number of calls before it ended.
    #[inline]
    pub(super) fn learn(&self, since: Instant, now: Instant, in_flight: u32, end: Sample) {
        if let Some(adaptive) = self.adaptive() {
            adaptive.sample(since, now, in_flight, end);
        }
    }

    /// Restarts the adaptive limit.
    pub(super) fn restart(&self, config: &Config) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.restart(config.initial_in_flight, config.min_in_flight, config.most());
        }
    }

    /// Returns the limit of a class. At least 1, however small the limit is, so that no class is locked out.
    #[inline]
    pub(super) fn limit_of(&self, priority: Priority) -> u32 {
        let share = u64::from(self.shares[priority as usize].load(Ordering::Relaxed));
        let limit = (u64::from(self.limit()) * share).div_ceil(u64::from(WHOLE));
        // At most the limit, because a share is at most 1.
        u32::try_from(limit).unwrap_or(u32::MAX).max(1)
    }
}
