//! The state of a limiter: one meter for all calls, and tables of meters by key.

use std::time::Duration;

use once_cell::sync::OnceCell;

use super::config::Algorithm;
use super::keyed::Keyed;
use super::meter::{Cell, Log, Mark, Meter, Wait, Window};
use super::rule::{Pace, Rule};
use super::{Decision, RateKey, Request};
use crate::clock::Instant;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// The meters of each algorithm. Tables are created on first use.
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

pub(super) fn decision(
    rule: Rule,
    taken: Result<Mark, Option<Duration>>,
    remaining: u32,
    reset_after: u64,
) -> Decision {
    Decision {
        allowed: taken.is_ok(),
        limit: rule.burst,
        remaining,
        retry_after: taken.err().flatten(),
        reset_after: Duration::from_nanos(reset_after),
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
                $state.table(&$state.keyed_cells).with(key, |one| one.is_idle($rule, $now), |$meter| $body)
            }
            (Algorithm::SlidingWindow, 0) => {
                let mut guard = $state.window.lock();
                let $meter = &mut *guard;
                $body
            }
            (Algorithm::SlidingWindow, key) => {
                $state.table(&$state.keyed_windows).with(key, |one| one.is_idle($rule, $now), |$meter| $body)
            }
            (Algorithm::SlidingLog, 0) => {
                let mut guard = $state.log.lock();
                let $meter = &mut *guard;
                $body
            }
            (Algorithm::SlidingLog, key) => {
                $state.table(&$state.keyed_logs).with(key, |one| one.is_idle($rule, $now), |$meter| $body)
            }
        }
    };
}

impl State {
    /// Takes tokens. `request.weight` is between 1 and the rule's burst.
    #[inline]
    pub(super) fn take(&self, rule: Rule, now: Instant, request: Request) -> Result<Mark, Wait> {
        if rule.is_bucket() && request.key == 0 {
            return self.take_cell(rule.pace(), now, rule.cost(request.weight)).map(|_| now.as_nanos());
        }
        self.take_slowly(rule, now.as_nanos(), request)
    }

    /// Takes tokens with one compare-and-swap. Relaxed: the token does not order anything that a call does.
    #[inline]
    pub(super) fn take_cell(&self, pace: Pace, now: Instant, cost: u64) -> Result<Cell, Wait> {
        let now = now.as_nanos();
        let mut full_at = self.cell.load(Ordering::Relaxed);
        loop {
            let next = match (Cell { full_at }).after(pace, now, cost) {
                Ok(next) => next.full_at,
                Err(wait) => return Err(self.refuse(pace, now, full_at, wait)),
            };
            match self.cell.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(Cell { full_at: next }),
                Err(seen) => full_at = seen,
            }
        }
    }

    /// Like `take_cell`, for a key. Not inlined, so that calls without a key need fewer registers.
    #[inline(never)]
    pub(super) fn take_keyed_cell(&self, pace: Pace, now: Instant, key: RateKey) -> Result<Mark, Wait> {
        let now = now.as_nanos();
        self.table(&self.keyed_cells).with(
            key,
            |cell| cell.full_at <= now,
            |cell| cell.charge(pace, now, pace.interval),
        )
    }

    #[inline]
    fn refuse(&self, pace: Pace, now: u64, full_at: u64, wait: Wait) -> Wait {
        if let Some(Cell { full_at: next }) = (Cell { full_at }).stepped_back(pace, now) {
            // If another thread changed the cell since, it made the same correction.
            let _ = self.cell.compare_exchange(full_at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        wait
    }

    #[inline(never)]
    fn take_slowly(&self, rule: Rule, now: u64, request: Request) -> Result<Mark, Wait> {
        with_meter!(self, rule, now, request.key, |meter| meter.take(rule, now, request.weight))
    }

    /// Returns how long a call would have to wait, without taking tokens.
    pub(super) fn wait(&self, rule: Rule, now: Instant, request: Request) -> Wait {
        let now = now.as_nanos();
        let weight = request.weight;
        with_meter!(self, rule, now, request.key, |meter| (*meter).clone().take(rule, now, weight))
            .err()
            .unwrap_or(0)
    }

    pub(super) fn give_back(&self, rule: Rule, now: Instant, request: Request, mark: Mark) {
        if rule.is_unlimited() {
            return;
        }
        let (now, weight) = (now.as_nanos(), request.weight);
        if rule.is_bucket() && request.key == 0 {
            let returned = |full_at| Some(Cell { full_at }.returned(rule, now, weight, mark).full_at);
            let _ = self.cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, returned);
            return;
        }
        with_meter!(self, rule, now, request.key, |meter| meter.give_back(rule, now, weight, mark));
    }

    /// Takes tokens and returns the state, as one step that no other call interrupts.
    ///
    /// `request.weight` is at most the rule's burst. A weight of 0 only returns the state.
    pub(super) fn decide(&self, rule: Rule, now: Instant, request: Request) -> Decision {
        let (at, weight) = (now.as_nanos(), request.weight);
        let decide = |taken: Result<Mark, Wait>, remaining, reset_after| {
            decision(rule, taken.map_err(|wait| Some(Duration::from_nanos(wait))), remaining, reset_after)
        };
        if rule.is_bucket() && request.key == 0 {
            let look = || Cell { full_at: self.cell.load(Ordering::Relaxed) };
            let taken = match weight {
                0 => Ok(look()),
                _ => self.take_cell(rule.pace(), now, rule.cost(weight)),
            };
            let cell = taken.unwrap_or_else(|_| look());
            return decide(taken.map(|_| at), cell.remaining(rule, at), cell.reset_after(rule, at));
        }
        with_meter!(self, rule, at, request.key, |meter| {
            let taken = if weight == 0 { Ok(0) } else { meter.take(rule, at, weight) };
            decide(taken, meter.remaining(rule, at), meter.reset_after(rule, at))
        })
    }

    /// Returns the state for a call that is rejected for another reason.
    pub(super) fn refused(
        &self,
        rule: Rule,
        now: Instant,
        key: RateKey,
        retry_after: Option<Duration>,
    ) -> Decision {
        let looked = self.decide(rule, now, Request::of(key, 0));
        Decision { allowed: false, retry_after, ..looked }
    }

    pub(super) fn rescale(&self, now: Instant, before: Rule, after: Rule) {
        let now = now.as_nanos();
        let rescaled = |full_at| {
            let same = before.is_bucket() && after.is_bucket();
            Some(if same { Cell { full_at }.rescaled(now, before, after).full_at } else { 0 })
        };
        let _ = self.cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rescaled);
        if before.window != after.window || before.algorithm != after.algorithm {
            // Tenths of windows of different lengths are not comparable.
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

    /// Returns how many keys have a slot, and how often a key had none.
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
