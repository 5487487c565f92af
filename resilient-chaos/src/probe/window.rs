//! Differences of counters over a time.

use std::collections::VecDeque;
use std::time::Duration;

/// The largest number of remembered readings. With more, every second one is dropped.
const MOST: usize = 1024;

/// Cumulative counters by time.
#[derive(Clone, Debug)]
pub(crate) struct Window<const N: usize> {
    length: Duration,
    past: VecDeque<(Duration, [f64; N])>,
}

impl<const N: usize> Window<N> {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, past: VecDeque::new() }
    }

    /// Adds a reading, and returns the increase over the window with its real length.
    ///
    /// Until the window is full, it is the increase since the first reading. A counter that decreases was reset, and
    /// starts the window again.
    pub(crate) fn add(&mut self, now: Duration, counters: [f64; N]) -> (Duration, [f64; N]) {
        if self.past.back().is_some_and(|(_, last)| last.iter().zip(&counters).any(|(last, now)| now < last))
        {
            self.past.clear();
        }
        // Keeps one reading that is at least as old as the window.
        while self.past.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= self.length) {
            self.past.pop_front();
        }
        if self.past.len() >= MOST {
            let mut index = 0_usize;
            self.past.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.past.push_back((now, counters));
        let (since, first) = self.past.front().copied().unwrap_or((now, counters));
        (now.saturating_sub(since), std::array::from_fn(|index| counters[index] - first[index]))
    }

    /// Forgets all but the last reading.
    pub(crate) fn restart(&mut self) {
        if let Some(last) = self.past.pop_back() {
            self.past.clear();
            self.past.push_back(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_increase_is_over_the_window() {
        let mut window = Window::new(seconds(2));
        let increases: Vec<_> = (0..6_u32)
            .map(|second| window.add(seconds(second.into()), [f64::from(second * second)]).1[0])
            .collect();
        assert_eq!(increases, [0.0, 1.0, 4.0, 8.0, 12.0, 16.0]);
    }

    #[test]
    fn a_reset_counter_and_a_restart_begin_a_new_window() {
        let mut window = Window::new(seconds(10));
        let is = |(_, [increase]): (Duration, [f64; 1]), expected: f64| (increase - expected).abs() < 1e-9;
        window.add(seconds(0), [5.0]);
        assert!(is(window.add(seconds(1), [7.0]), 2.0));
        assert!(is(window.add(seconds(2), [1.0]), 0.0));
        assert!(is(window.add(seconds(3), [4.0]), 3.0));
        window.restart();
        assert!(is(window.add(seconds(4), [6.0]), 2.0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut window = Window::new(Duration::from_hours(1));
        for tick in 0..100_000_u64 {
            window.add(Duration::from_millis(tick), [tick as f64]);
        }
        assert!(window.past.len() <= MOST);
    }
}
