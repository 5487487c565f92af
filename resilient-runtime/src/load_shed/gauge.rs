//! The calls in flight, and up to how many of them each class is admitted.

use once_cell::race::OnceBox;

use super::config::Config;
use crate::adaptive::{AdaptiveLimit, Sample};
use crate::clock::Instant;
use crate::priority::Priority;
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// Every admitted call is counted, whether or not there is a limit: so that the count is right when one is set.
#[derive(Debug)]
pub(super) struct Gauge {
    in_flight: AtomicU32,
    /// `u32::MAX` for none. Relaxed, as the others: settings; a call may still go by those of before.
    most: AtomicU32,
    is_adaptive: AtomicBool,
    /// Made when it is first asked for.
    adaptive: OnceBox<AdaptiveLimit>,
    /// By [`Priority`], in parts of [`WHOLE`].
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
            // From 0 to 65 536, and not rounded up, or four fifths of ten would be more than eight.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let share = (config.share(priority).get() * f64::from(WHOLE)) as u32;
            self.shares[priority as usize].store(share, Ordering::Relaxed);
        }
    }

    /// One more in flight, if this class may.
    #[inline]
    pub(super) fn try_enter(&self, priority: Priority) -> bool {
        let limit = self.limit_of(priority);
        let mut in_flight = self.in_flight.load(Ordering::Relaxed);
        while in_flight < limit {
            // Relaxed: the count orders nothing but itself.
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

    /// One less; how many there were.
    #[inline]
    pub(super) fn leave(&self) -> u32 {
        self.in_flight.fetch_sub(1, Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// `u32::MAX` where there is none.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        self.adaptive().map_or_else(|| self.most.load(Ordering::Relaxed), AdaptiveLimit::limit)
    }

    /// The limit that finds itself, if there is one.
    #[inline]
    fn adaptive(&self) -> Option<&AdaptiveLimit> {
        if self.is_adaptive() { self.adaptive.get() } else { None }
    }

    #[inline]
    pub(super) fn is_adaptive(&self) -> bool {
        self.is_adaptive.load(Ordering::Relaxed)
    }

    /// What a call that has ended says about the limit, with the calls in flight before it left.
    #[inline]
    pub(super) fn learn(&self, since: Instant, now: Instant, in_flight: u32, end: Sample) {
        if let Some(adaptive) = self.adaptive() {
            adaptive.sample(since, now, in_flight, end);
        }
    }

    /// Forgets what was learned.
    pub(super) fn restart(&self, config: &Config) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.restart(config.initial_in_flight, config.min_in_flight, config.most());
        }
    }

    /// At least one, however small the limit: no class is shut out for good.
    #[inline]
    pub(super) fn limit_of(&self, priority: Priority) -> u32 {
        let share = u64::from(self.shares[priority as usize].load(Ordering::Relaxed));
        let limit = (u64::from(self.limit()) * share).div_ceil(u64::from(WHOLE));
        // At most the limit, because a share is at most the whole.
        u32::try_from(limit).unwrap_or(u32::MAX).max(1)
    }
}
