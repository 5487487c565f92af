//! What a limiter remembers: one meter for all calls, and tables of them by key.

use std::time::Duration;

use once_cell::sync::OnceCell;

use super::config::Algorithm;
use super::keyed::Keyed;
use super::meter::{Cell, Log, Meter, Wait, Window};
use super::rule::Rule;
use super::{Decision, Request};
use crate::clock::Instant;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// The meters of each algorithm, as far as they were needed.
#[derive(Debug)]
pub(super) struct State {
    /// A [`Cell`], without a lock.
    cell: AtomicU64,
    window: Mutex<Window>,
    log: Mutex<Log>,
    keyed_cells: OnceCell<Keyed<Cell>>,
    keyed_windows: OnceCell<Keyed<Window>>,
    keyed_logs: OnceCell<Keyed<Log>>,
    max_keys: AtomicU32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            cell: AtomicU64::new(0),
            window: Mutex::default(),
            log: Mutex::default(),
            keyed_cells: OnceCell::new(),
            keyed_windows: OnceCell::new(),
            keyed_logs: OnceCell::new(),
            max_keys: AtomicU32::new(0),
        }
    }
}

/// Calls `$body` with the meter of a request.
macro_rules! with_meter {
    ($state:expr, $rule:expr, $now:expr, $key:expr, |$meter:ident| $body:expr) => {
        match ($rule.algorithm, $key) {
            (Algorithm::TokenBucket | Algorithm::LeakyBucket, 0) => {
                let mut cell = Cell { full_at: $state.cell.load(Ordering::Relaxed) };
                let $meter = &mut cell;
                $body
            }
            (Algorithm::TokenBucket | Algorithm::LeakyBucket, key) => {
                $state.table(&$state.keyed_cells).with($rule, $now, key, |$meter| $body)
            }
            (Algorithm::SlidingWindow, 0) => {
                let mut guard = $state.window.lock();
                let $meter = &mut *guard;
                $body
            }
            (Algorithm::SlidingWindow, key) => {
                $state.table(&$state.keyed_windows).with($rule, $now, key, |$meter| $body)
            }
            (Algorithm::SlidingLog, 0) => {
                let mut guard = $state.log.lock();
                let $meter = &mut *guard;
                $body
            }
            (Algorithm::SlidingLog, key) => {
                $state.table(&$state.keyed_logs).with($rule, $now, key, |$meter| $body)
            }
        }
    };
}

impl State {
    /// `request.weight` is from 1 to the rule's burst.
    #[inline]
    pub(super) fn take(&self, rule: Rule, now: Instant, request: Request) -> Result<(), Wait> {
        let now = now.as_nanos();
        if request.key == 0 && matches!(rule.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket) {
            return self.take_cell(rule, now, request.weight);
        }
        self.take_slowly(rule, now, request)
    }

    /// One compare-and-swap. Relaxed: what a call does is not ordered by its place in a rate.
    #[inline]
    fn take_cell(&self, rule: Rule, now: u64, weight: u32) -> Result<(), Wait> {
        let mut full_at = self.cell.load(Ordering::Relaxed);
        loop {
            let next = Cell { full_at }.after(rule, now, weight)?.full_at;
            match self.cell.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => full_at = seen,
            }
        }
    }

    #[inline(never)]
    fn take_slowly(&self, rule: Rule, now: u64, request: Request) -> Result<(), Wait> {
        with_meter!(self, rule, now, request.key, |meter| meter.take(rule, now, request.weight))
    }

    /// How long a call would have to wait, that does not take its place yet.
    pub(super) fn wait(&self, rule: Rule, now: Instant, request: Request) -> Wait {
        let now = now.as_nanos();
        let weight = request.weight;
        with_meter!(self, rule, now, request.key, |meter| (*meter).clone().take(rule, now, weight))
            .err()
            .unwrap_or(0)
    }

    pub(super) fn give_back(&self, rule: Rule, now: Instant, request: Request) {
        if rule.is_unlimited() {
            return;
        }
        let (now, weight) = (now.as_nanos(), request.weight);
        if request.key == 0 && matches!(rule.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket) {
            let returned = |full_at| Some(Cell { full_at }.returned(rule, weight).full_at);
            let _ = self.cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, returned);
            return;
        }
        with_meter!(self, rule, now, request.key, |meter| meter.give_back(rule, now, weight));
    }

    /// How things stand after a check.
    pub(super) fn describe(
        &self,
        rule: Rule,
        now: Instant,
        request: Request,
        taken: Result<(), Option<Duration>>,
    ) -> Decision {
        let at = now.as_nanos();
        let (remaining, reset_after) = if rule.is_unlimited() {
            (u32::MAX, 0)
        } else {
            with_meter!(self, rule, at, request.key, |meter| {
                (meter.remaining(rule, at), meter.reset_after(rule, at))
            })
        };
        Decision {
            allowed: taken.is_ok(),
            limit: rule.burst,
            remaining,
            retry_after: taken.err().flatten(),
            reset_after: Duration::from_nanos(reset_after),
        }
    }

    pub(super) fn rescale(&self, now: Instant, before: Rule, after: Rule) {
        let now = now.as_nanos();
        let is_cell = |rule: Rule| matches!(rule.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket);
        let rescaled = |full_at| {
            let same = is_cell(before) && is_cell(after);
            Some(if same { Cell { full_at }.rescaled(now, before, after).full_at } else { 0 })
        };
        let _ = self.cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rescaled);
        if before.window != after.window || before.algorithm != after.algorithm {
            // Tenths of another window cannot be told from each other.
            *self.window.lock() = Window::default();
            if let Some(table) = self.keyed_windows.get() {
                table.clear();
            }
        }
    }

    pub(super) fn tell_apart(&self, max_keys: u32) {
        self.max_keys.store(max_keys, Ordering::Relaxed);
    }

    fn table<'a, M: Meter>(&self, table: &'a OnceCell<Keyed<M>>) -> &'a Keyed<M> {
        table.get_or_init(|| Keyed::new(self.max_keys.load(Ordering::Relaxed)))
    }

    /// Keys that have a place, and how often a key had none.
    pub(super) fn keys(&self) -> (usize, u64) {
        let used = [
            self.keyed_cells.get().map(Keyed::used),
            self.keyed_windows.get().map(Keyed::used),
            self.keyed_logs.get().map(Keyed::used),
        ];
        used.into_iter().flatten().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(super) fn reset(&self) {
        self.cell.store(0, Ordering::Relaxed);
        *self.window.lock() = Window::default();
        *self.log.lock() = Log::default();
        self.keyed_cells.get().inspect(|table| table.clear());
        self.keyed_windows.get().inspect(|table| table.clear());
        self.keyed_logs.get().inspect(|table| table.clear());
    }
}
