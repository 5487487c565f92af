//! One call that is made for all who ask the same: who leads, who waits, and the answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// An answer, of which each who waits has a clone.
pub(super) type Answer = Arc<dyn Any + Send + Sync>;

#[derive(Debug)]
enum Phase {
    Led,
    /// The leader has gone without an answer; the first who waits has been woken to take its place.
    Vacant,
    Landed(Answer),
}

#[derive(Debug)]
pub(super) struct Flight {
    state: Mutex<State>,
    /// Counts the leaders so far. Written under the lock.
    term: AtomicU64,
    /// How often the work has been polled, and, in the low bits, how many are polling it now.
    beat: AtomicU64,
    /// Whether `State::leader` holds a waker.
    is_suspended: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    waiting: BTreeMap<u64, Option<Waker>>,
    arrivals: u64,
    /// Wakes the task of the leader while its work is pending.
    leader: Option<Waker>,
}

/// The number of a leader among those of its flight. A leader that was replaced no longer speaks for the flight.
pub(super) type Term = u64;

/// The work of a leader at one moment. It changes each time somebody polls that work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat(u64);

const POLLED: u64 = 1 << 16;

impl Beat {
    /// Whether the work is being polled at this moment.
    pub(super) fn is_running(self) -> bool {
        !self.0.is_multiple_of(POLLED)
    }
}

/// What is to be done by who asks.
#[derive(Debug)]
pub(super) enum Turn {
    Lead(Term),
    Take(Answer),
    Wait,
}

impl Default for Flight {
    /// With a leader.
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

    /// Somebody polls the work of the leader, until [`polled`](Self::polled).
    pub(super) fn polling(&self) {
        self.beat.fetch_add(1, Ordering::AcqRel);
    }

    /// The poll has ended.
    pub(super) fn polled(&self) {
        self.beat.fetch_add(POLLED - 1, Ordering::AcqRel);
    }

    /// The work of the leader now.
    pub(super) fn beat(&self) -> Beat {
        Beat(self.beat.load(Ordering::Acquire))
    }

    /// The work of the leader `term` is pending; `waker` wakes its task.
    pub(super) fn suspended(&self, term: Term, waker: &Waker) {
        let mut state = self.state.lock();
        if self.term() != term || state.leader.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            return;
        }
        let replaced = state.leader.replace(waker.clone());
        self.is_suspended.store(true, Ordering::Relaxed);
        drop(state);
        // Outside the lock: a waker may hold the last reference to a task that waits here.
        drop(replaced);
    }

    /// Wakes the task of the leader: one that is alive polls its work soon.
    pub(super) fn wake_leader(&self) {
        let leader = self.state.lock().leader.clone();
        leader.into_iter().for_each(Waker::wake);
    }

    /// Forgets the task of the leader, whose work has ended.
    pub(super) fn forget_leader(&self) {
        if self.is_suspended.load(Ordering::Relaxed) {
            let leader = self.state.lock().leader.take();
            self.is_suspended.store(false, Ordering::Relaxed);
            drop(leader);
        }
    }

    /// The waiter `number` takes the place of a leader that nobody has polled since `beat`.
    pub(super) fn take_over(&self, number: u64, beat: Beat) -> Turn {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Led) || self.beat() != beat {
            return Turn::Wait;
        }
        // The next waiter that looks finds a leader that has just begun.
        self.beat.fetch_add(POLLED, Ordering::AcqRel);
        let replaced = state.leader.take();
        state.waiting.remove(&number);
        let term = self.next_term();
        drop(state);
        drop(replaced);
        Turn::Lead(term)
    }

    /// With the state locked.
    fn next_term(&self) -> Term {
        self.term.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Joins those who wait, unless there is something better to do. With the table locked: whoever waits keeps the
    /// flight in it.
    pub(super) fn join(&self) -> (Turn, u64) {
        let mut state = self.state.lock();
        state.arrivals += 1;
        let number = state.arrivals;
        // No waker yet: it comes with the first poll.
        state.waiting.insert(number, None);
        let (turn, _) = self.turn_of(&mut state, number, None);
        (turn, number)
    }

    /// What the waiter `number` can do now; `waker` is woken when that changes.
    pub(super) fn turn(&self, number: u64, waker: &Waker) -> Turn {
        let (turn, replaced) = self.turn_of(&mut self.state.lock(), number, Some(waker));
        // Outside the lock, as above.
        drop(replaced);
        turn
    }

    /// A leader has an answer. Where another one had it before, that one counts.
    pub(super) fn land(&self, answer: Answer) {
        let waiting = {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Landed(_)) {
                return;
            }
            state.phase = Phase::Landed(answer);
            // They are taken out as they come for the answer.
            state.waiting.values_mut().filter_map(Option::take).collect::<Vec<_>>()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The leader `term` has gone without an answer. Whether the flight is still of use: somebody waits who can take its
    /// place, or has taken it.
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

    /// The waiter `number` gives up: if it was called to take the lead, the next one is.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        state.waiting.remove(&number);
        let next = if matches!(state.phase, Phase::Vacant) { state.next() } else { None };
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }

    /// Nobody leads it, and nobody is there to do so. With the table locked.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.state.lock();
        matches!(state.phase, Phase::Vacant) && state.waiting.is_empty()
    }

    /// What the waiter can do, and the waker that `waker` has replaced.
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
    /// The first who waits and can be woken. One that has no waker yet will look by itself.
    fn next(&mut self) -> Option<Waker> {
        self.waiting.values_mut().next().and_then(Option::take)
    }
}
