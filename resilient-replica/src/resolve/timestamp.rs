//! Timestamps that respect causality, by a hybrid logical clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Actor, MergeError};

/// The bits of the counter. The others are milliseconds since 1970, which last until the year 10889.
const COUNTER: u32 = 16;

/// A timestamp of a [`HybridClock`]. No two are equal, and one that is made after another was seen is greater.
///
/// The timestamps of two actors that have not seen each other are ordered by their clocks, so only as exactly as these
/// agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Milliseconds since 1970, and a counter in the lowest 16 bits.
    time: u64,
    actor: Actor,
}

impl Timestamp {
    /// The earliest timestamp, before each one of a clock.
    pub const MIN: Self = Self { time: 0, actor: Actor::new(0) };

    /// Returns who made it.
    pub fn actor(self) -> Actor {
        self.actor
    }

    /// Returns the time since 1970, in whole milliseconds.
    pub fn since_epoch(self) -> Duration {
        Duration::from_millis(self.time >> COUNTER)
    }

    /// Returns 16 bytes that are ordered like timestamps, for stores that compare bytes.
    ///
    /// ```
    /// use resilient_replica::resolve::{Actor, HybridClock, Timestamp};
    ///
    /// let clock = HybridClock::new(Actor::named("eu-1"));
    /// let (first, second) = (clock.now(), clock.now());
    /// assert!(first.to_bytes() < second.to_bytes());
    /// assert_eq!(Timestamp::from_bytes(first.to_bytes()), first);
    /// ```
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.time) << 64 | u128::from(self.actor.number())).to_be_bytes()
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        #[allow(clippy::cast_possible_truncation, reason = "both halves of the number are wanted")]
        let (time, actor) = ((both >> 64) as u64, both as u64);
        Self { time, actor: Actor::new(actor) }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counter = self.time & ((1 << COUNTER) - 1);
        write!(f, "{}ms+{counter}@{}", self.time >> COUNTER, self.actor)
    }
}

/// A clock that gives each change a [`Timestamp`].
///
/// It is the time of the machine, but never goes back: not if the clock of the machine does, and not behind a timestamp that
/// it [`observe`](Self::observe)d. An effect of a change is therefore later than the change, although the clocks of two
/// machines differ.
///
/// It refuses timestamps that are far in the future, which would make all later changes of a wrong clock win. Clones are
/// the same clock. Reading it is one atomic operation.
///
/// # Source
/// S. Kulkarni et al., *Logical Physical Clocks*, OPODIS 2014.
///
/// ```
/// use resilient_replica::resolve::{Actor, HybridClock};
///
/// let (here, there) = (HybridClock::new(Actor::named("eu-1")), HybridClock::new(Actor::named("us-1")));
/// let cause = there.now();
/// here.observe(cause)?;
/// assert!(here.now() > cause);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone)]
pub struct HybridClock {
    actor: Actor,
    max_ahead: Duration,
    wall: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// The time of the latest timestamp. Relaxed: timestamps are ordered by their values only.
    last: Arc<AtomicU64>,
}

impl HybridClock {
    /// Creates a clock with the time of the machine, which accepts timestamps that are up to 500 ms in the future.
    pub fn new(actor: Actor) -> Self {
        Self::with_wall_clock(actor, || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Creates a clock with another source of the time since 1970, for tests.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_replica::resolve::{Actor, HybridClock};
    ///
    /// let clock = HybridClock::with_wall_clock(Actor::new(1), || Duration::from_secs(5));
    /// assert!(clock.now() < clock.now(), "although the time stands still");
    /// ```
    pub fn with_wall_clock(actor: Actor, wall: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { actor, max_ahead: Duration::from_millis(500), wall: Arc::new(wall), last: Arc::default() }
    }

    /// Sets how far in the future a timestamp may be that the clock observes. It should be above the difference between the
    /// clocks of all machines.
    #[must_use]
    pub fn max_ahead(self, max_ahead: Duration) -> Self {
        Self { max_ahead, ..self }
    }

    /// Returns whose clock it is.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// Returns a timestamp that is greater than all that this clock has returned or observed.
    pub fn now(&self) -> Timestamp {
        let wall = packed((self.wall)());
        let next = |last: u64| wall.max(last.saturating_add(1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let time = last.map_or(wall, next);
        Timestamp { time, actor: self.actor }
    }

    /// The time since 1970 of the machine.
    pub(crate) fn wall(&self) -> Duration {
        (self.wall)()
    }

    /// Makes all timestamps from now on greater than this one.
    ///
    /// # Errors
    /// Returns [`MergeError::ClockAhead`] if it is more than [`max_ahead`](Self::max_ahead) in the future. The clock is
    /// unchanged then.
    pub fn observe(&self, seen: Timestamp) -> Result<(), MergeError> {
        let now = (self.wall)();
        let ahead = seen.since_epoch().saturating_sub(now);
        if ahead > self.max_ahead {
            return Err(MergeError::ClockAhead { actor: seen.actor, ahead });
        }
        self.last.fetch_max(seen.time, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridClock")
            .field("actor", &self.actor)
            .field("max_ahead", &self.max_ahead)
            .finish_non_exhaustive()
    }
}

fn packed(since_epoch: Duration) -> u64 {
    const MOST: u64 = u64::MAX >> COUNTER;
    u64::try_from(since_epoch.as_millis()).unwrap_or(MOST).min(MOST) << COUNTER
}
