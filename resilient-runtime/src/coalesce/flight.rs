//! A flight: one execution shared by calls with the same key, with its leader, its waiting calls and its result.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// A result that each waiting call clones.
pub(super) type Answer = Arc<dyn Any + Send + Sync>;

#[derive(Debug)]
enum Phase {
    Led,
    /// The leader left without a result. The first waiting call was woken to replace it.
    Vacant,
    Landed(Answer),
}

#[derive(Debug)]
pub(super) struct Flight {
    state: Mutex<State>,
    /// Number of leaders so far. Written under the lock.
    term: AtomicU64,
    /// How often the work was polled and, in the low bits, how many threads are polling it now.
    beat: AtomicU64,
    /// Whether `State::leader` holds a waker.
    is_suspended: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    waiting: BTreeMap<u64, Option<Waker>>,
    arrivals: u64,
    /// Wakes the leader's task while its work is pending.
    leader: Option<Waker>,
}

/// The number of a leader within its flight. A leader that was replaced can no longer change the flight.
pub(super) type Term = u64;

/// A snapshot of the polls of the leader's work. It changes with each poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat(u64);

const POLLED: u64 = 1 << 16;

impl Beat {
    /// Whether the work is being polled now.
    pub(super) fn is_running(self) -> bool {
        !self.0.is_multiple_of(POLLED)
    }
}

/// The next action of a joining or waiting call.
#[derive(Debug)]
pub(super) enum Turn {
    Lead(Term),
    Take(Answer),
    Wait,
}

impl Default for Flight {
    /// Creates a flight that has a leader.
    fn default() -> Self {
        let state = State { phase: Phase::Led, waiting: BTreeMap::new(), arrivals: 0, leader: None };
        Self {
            state: Mutex::new(state),
            term: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            is_suspended: AtomicBool::new(false),
        }
    }
}

impl Flight {
    /// The term of the current leader.
    pub(super) fn term(&self) -> Term {
        self.term.load(Ordering::Relaxed)
    }

    /// Marks the start of a poll of the leader's work. [`polled`](Self::polled) marks its end.
    pub(super) fn polling(&self) {
        self.beat.fetch_add(1, Ordering::AcqRel);
    }

    /// Marks the end of a poll.
    pub(super) fn polled(&self) {
        self.beat.fetch_add(POLLED - 1, Ordering::AcqRel);
    }

    /// The current beat of the leader's work.
    pub(super) fn beat(&self) -> Beat {
        Beat(self.beat.load(Ordering::Acquire))
    }

    /// Notes that the work of the leader `term` is pending. `waker` wakes its task.
    pub(super) fn suspended(&self, term: Term, waker: &Waker) {
        let mut state = self.state.lock();
        if self.term() != term || state.leader.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            return;
        }
        let replaced = state.leader.replace(waker.clone());
        self.is_suspended.store(true, Ordering::Relaxed);
        drop(state);
        // Dropped outside the lock: the waker may hold the last reference to a task that waits for this flight.
        drop(replaced);
    }

    /// Wakes the leader's task. A running task then polls its work soon.
    pub(super) fn wake_leader(&self) {
        let leader = self.state.lock().leader.clone();
        leader.into_iter().for_each(Waker::wake);
    }

    /// Drops the waker of the leader, whose work has ended.
    pub(super) fn forget_leader(&self) {
        if self.is_suspended.load(Ordering::Relaxed) {
            let leader = self.state.lock().leader.take();
            self.is_suspended.store(false, Ordering::Relaxed);
            drop(leader);
        }
    }

    /// Makes the waiter `number` the leader if the current leader was not polled since `beat`.
    pub(super) fn take_over(&self, number: u64, beat: Beat) -> Turn {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Led) || self.beat() != beat {
            return Turn::Wait;
        }
        // Counts as a poll, so the next waiter sees a leader that has just begun.
        self.beat.fetch_add(POLLED, Ordering::AcqRel);
        let replaced = state.leader.take();
        state.waiting.remove(&number);
        let term = self.next_term();
        drop(state);
        drop(replaced);
        Turn::Lead(term)
    }

    /// The state must be locked.
    fn next_term(&self) -> Term {
        self.term.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a waiter, unless the caller can lead or take the result at once. The table must be locked, because a waiter
    /// keeps the flight in the table.
    pub(super) fn join(&self) -> (Turn, u64) {
        let mut state = self.state.lock();
        state.arrivals += 1;
        let number = state.arrivals;
        // The first poll sets the waker.
        state.waiting.insert(number, None);
        let (turn, _) = self.turn_of(&mut state, number, None);
        (turn, number)
    }

    /// Returns the next action of the waiter `number`. If it must wait, `waker` is woken on a change.
    pub(super) fn turn(&self, number: u64, waker: &Waker) -> Turn {
        let (turn, replaced) = self.turn_of(&mut self.state.lock(), number, Some(waker));
        // Dropped outside the lock, as above.
        drop(replaced);
        turn
    }

    /// Sets the result, unless another leader already set one.
    pub(super) fn land(&self, answer: Answer) {
        let waiting = {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Landed(_)) {
                return;
            }
            state.phase = Phase::Landed(answer);
            // Each waiter removes itself when it takes the result.
            state.waiting.values_mut().filter_map(Option::take).collect::<Vec<_>>()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Notes that the leader `term` left without a result. Returns whether the flight is still in use, because a waiter
    /// can take the lead or has taken it.
    pub(super) fn vacate(&self, term: Term) -> bool {
        let mut state = self.state.lock();
        if self.term() != term || matches!(state.phase, Phase::Landed(_)) {
            return true;
        }
        state.phase = Phase::Vacant;
        let (next, is_empty) = (state.next(), state.waiting.is_empty());
        drop(state);
        next.into_iter().for_each(Waker::wake);
        !is_empty
    }

    /// Removes the waiter `number`. If it was woken to take the lead, the next one is woken instead.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        state.waiting.remove(&number);
        let next = if matches!(state.phase, Phase::Vacant) { state.next() } else { None };
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }

    /// Whether the flight has no leader and no waiter. The table must be locked.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.state.lock();
        matches!(state.phase, Phase::Vacant) && state.waiting.is_empty()
    }

    /// Returns the next action of the waiter, and the previous waker if `waker` replaced it.
    fn turn_of(&self, state: &mut State, number: u64, waker: Option<&Waker>) -> (Turn, Option<Waker>) {
        match &state.phase {
            Phase::Landed(answer) => {
                let answer = Arc::clone(answer);
                (Turn::Take(answer), state.waiting.remove(&number).flatten())
            }
            Phase::Vacant => {
                state.phase = Phase::Led;
                (Turn::Lead(self.next_term()), state.waiting.remove(&number).flatten())
            }
            Phase::Led => match (state.waiting.get_mut(&number), waker) {
                (Some(kept), Some(waker)) => (Turn::Wait, kept.replace(waker.clone())),
                _ => (Turn::Wait, None),
            },
        }
    }
}

impl State {
    /// Takes the waker of the first waiter. A waiter without a waker checks the flight when it is polled.
    fn next(&mut self) -> Option<Waker> {
        self.waiting.values_mut().next().and_then(Option::take)
    }
}
