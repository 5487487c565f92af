//! One call that is made for all who ask the same: who leads, who waits, and the answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use crate::sync::Mutex;

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
pub(super) struct Flight(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    waiting: BTreeMap<u64, Option<Waker>>,
    arrivals: u64,
}

/// What is to be done by who asks.
#[derive(Debug)]
pub(super) enum Turn {
    Lead,
    Take(Answer),
    Wait,
}

impl Default for Flight {
    /// With a leader.
    fn default() -> Self {
        Self(Mutex::new(State { phase: Phase::Led, waiting: BTreeMap::new(), arrivals: 0 }))
    }
}

impl Flight {
    /// Joins those who wait, unless there is something better to do. With the table locked: whoever waits keeps the
    /// flight in it.
    pub(super) fn join(&self) -> (Turn, u64) {
        let mut state = self.0.lock();
        state.arrivals += 1;
        let number = state.arrivals;
        // No waker yet: it comes with the first poll.
        state.waiting.insert(number, None);
        (state.turn(number, None), number)
    }

    /// What the waiter `number` can do now; `waker` is woken when that changes.
    pub(super) fn turn(&self, number: u64, waker: &Waker) -> Turn {
        self.0.lock().turn(number, Some(waker))
    }

    /// The leader has an answer.
    pub(super) fn land(&self, answer: Answer) {
        let waiting = {
            let mut state = self.0.lock();
            state.phase = Phase::Landed(answer);
            // They are taken out as they come for the answer.
            state.waiting.values_mut().filter_map(Option::take).collect::<Vec<_>>()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The leader has gone without an answer. Whether somebody waits who can take its place.
    pub(super) fn vacate(&self) -> bool {
        let mut state = self.0.lock();
        state.phase = Phase::Vacant;
        let (next, is_empty) = (state.next(), state.waiting.is_empty());
        drop(state);
        next.into_iter().for_each(Waker::wake);
        !is_empty
    }

    /// The waiter `number` gives up: if it was called to take the lead, the next one is.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.0.lock();
        state.waiting.remove(&number);
        let next = if matches!(state.phase, Phase::Vacant) { state.next() } else { None };
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }

    /// Nobody leads it, and nobody is there to do so. With the table locked.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.0.lock();
        matches!(state.phase, Phase::Vacant) && state.waiting.is_empty()
    }
}

impl State {
    fn turn(&mut self, number: u64, waker: Option<&Waker>) -> Turn {
        match &self.phase {
            Phase::Landed(answer) => {
                let answer = Arc::clone(answer);
                self.waiting.remove(&number);
                Turn::Take(answer)
            }
            Phase::Vacant => {
                self.phase = Phase::Led;
                self.waiting.remove(&number);
                Turn::Lead
            }
            Phase::Led => {
                if let (Some(kept), Some(waker)) = (self.waiting.get_mut(&number), waker) {
                    *kept = Some(waker.clone());
                }
                Turn::Wait
            }
        }
    }

    /// The first who waits and can be woken. One that has no waker yet will look by itself.
    fn next(&mut self) -> Option<Waker> {
        self.waiting.values_mut().next().and_then(Option::take)
    }
}
