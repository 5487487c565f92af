//! The levels of one call, by hand.

use std::fmt;

use super::Level;
use super::failed::AllFailed;
use crate::outcome::{Failure, Outcome};

type Answer<'a, R> = Box<dyn FnOnce(&Failure<<R as Outcome>::Error>) -> R + 'a>;

/// What to ask, level by level, when a call has failed; at least one.
pub struct Chain<'a, R: Outcome> {
    first: (Level, Answer<'a, R>),
    rest: Vec<(Level, Answer<'a, R>)>,
}

/// Who counts what the levels do: a fallback by hand, or a call with a fallback stage.
pub(crate) trait Levels {
    fn asked(&mut self, level: Level);
    fn served(&mut self, level: Level);
    fn all_failed(&mut self);
}

impl<'a, R: Outcome> Chain<'a, R> {
    /// A chain of one level. The level is given the failure of the call itself.
    pub fn of(level: Level, answer: impl FnOnce(&Failure<R::Error>) -> R + 'a) -> Self {
        Self { first: (level, Box::new(answer)), rest: Vec::new() }
    }

    /// Adds a level. Levels run in the order of [`Level`], whatever the order they are added in; of two with
    /// the same name the earlier added runs first.
    pub fn or(mut self, level: Level, answer: impl FnOnce(&Failure<R::Error>) -> R + 'a) -> Self {
        let added: (Level, Answer<'a, R>) = (level, Box::new(answer));
        if level < self.first.0 {
            // The old first was before all the rest, also before those of the same name.
            let second = std::mem::replace(&mut self.first, added);
            self.rest.insert(0, second);
        } else {
            let place = self.rest.partition_point(|(other, _)| *other <= level);
            self.rest.insert(place, added);
        }
        self
    }

    pub(crate) fn answer(self, levels: &mut impl Levels, failure: Failure<R::Error>) -> R
    where
        R: AllFailed,
    {
        let mut ask = |(level, answer): (Level, Answer<'a, R>)| {
            levels.asked(level);
            let outcome = answer(&failure);
            if !outcome.is_failure() {
                levels.served(level);
            }
            (level, outcome)
        };
        let mut latest = ask(self.first);
        for next in self.rest {
            if !latest.1.is_failure() {
                break;
            }
            latest = ask(next);
        }
        let (level, outcome) = latest;
        if !outcome.is_failure() {
            return outcome;
        }
        levels.all_failed();
        R::all_failed(level, outcome, failure)
    }
}

impl<R: Outcome> fmt::Debug for Chain<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = std::iter::once(&self.first).chain(&self.rest).map(|(level, _)| level);
        f.debug_list().entries(levels).finish()
    }
}
