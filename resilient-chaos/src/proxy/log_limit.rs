//! Limits a log line that any client can cause to one per second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct LogLimit {
    /// When the last line was logged, and how many were left out since.
    last: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    /// Returns the number of lines that were left out before this one, or `None` to leave this one out.
    pub(super) fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (time, left_out) = *last;
        if time.is_some_and(|time| now.saturating_duration_since(time) < PAUSE) {
            last.1 += 1;
            return None;
        }
        *last = (Some(now), 0);
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_counts_the_others() {
        let (limit, now) = (LogLimit::default(), Instant::now());
        assert_eq!(limit.pass_at(now), Some(0));
        assert_eq!(limit.pass_at(now + PAUSE / 2), None);
        assert_eq!(limit.pass_at(now + PAUSE), Some(1));
    }
}
