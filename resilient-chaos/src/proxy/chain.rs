//! The toxics of one direction of one connection, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::random::Random;
use super::stage::{Closing, Due, Item, Stage, stage};
use super::toxic_list::Entry;

/// Chained stages and the items that left the last one.
pub(super) struct Chain {
    links: Vec<Link>,
    output: VecDeque<Item>,
    /// Decides which toxics affect this connection.
    random: Random,
}

struct Link {
    id: u64,
    revision: u64,
    stage: Box<dyn Stage>,
}

impl Chain {
    pub(super) fn new(random: Random) -> Self {
        Self { links: Vec::new(), output: VecDeque::new(), random }
    }

    /// Whether the connection belongs to the share of connections that a toxic affects.
    ///
    /// The number of a connection is the same for each toxicity, so that a larger share contains a smaller one.
    fn affects(&self, entry: &Entry) -> bool {
        self.random.for_part(entry.id).below_one() < entry.toxic.share()
    }

    /// Applies a new list: keeps only the toxics that affect this connection.
    ///
    /// A toxic that is in both keeps its queue and its count. The items of a removed toxic continue without delay.
    pub(super) fn apply(&mut self, toxics: &[Arc<Entry>], now: Instant) -> Result<(), Closing> {
        let mut old = std::mem::take(&mut self.links);
        for entry in toxics {
            if !self.affects(entry) {
                continue;
            }
            let known = old.iter().position(|link| link.id == entry.id);
            // Both lists are in the order of the ids, so that the toxics before this one were removed.
            let removed: Vec<Link> = old.drain(..known.unwrap_or_default()).collect();
            let mut link = match known {
                Some(_) => old.remove(0),
                None => {
                    let random = self.random.for_part(!entry.id);
                    let Some(stage) = stage(entry.toxic.effect(), random, now) else { continue };
                    Link { id: entry.id, revision: entry.revision, stage }
                }
            };
            if link.revision != entry.revision {
                link.stage.update(entry.toxic.effect(), now);
                link.revision = entry.revision;
            }
            // Data moves from the first toxic to the last, so that the last one has the oldest items.
            for removed in removed.into_iter().rev() {
                removed.stage.finish()?.into_iter().for_each(|item| link.stage.push(item, now));
            }
            self.links.push(link);
        }
        for removed in old.into_iter().rev() {
            self.output.extend(removed.stage.finish()?);
        }
        Ok(())
    }

    /// Moves all items that are due to the next toxic. Returns when the next one is due.
    pub(super) fn advance(&mut self, now: Instant) -> Result<Option<Instant>, Closing> {
        loop {
            let (mut has_moved, mut next) = (false, None);
            // Backwards, so that an item makes room for the one behind it.
            for index in (0..self.links.len()).rev() {
                let due = self.move_from(index, now, &mut has_moved)?;
                next = next.into_iter().chain(due).min();
            }
            if !has_moved {
                return Ok(next);
            }
        }
    }

    /// Moves items from one toxic to the next. Returns when the first item that stays is due.
    fn move_from(
        &mut self,
        index: usize,
        now: Instant,
        has_moved: &mut bool,
    ) -> Result<Option<Instant>, Closing> {
        let (before, after) = self.links.split_at_mut(index + 1);
        let Some(link) = before.last_mut() else { return Ok(None) };
        loop {
            match link.stage.due(now) {
                Due::Stop(closing) => return Err(closing),
                Due::At(time) => return Ok(Some(time)),
                Due::Unknown => return Ok(None),
                Due::Now => {}
            }
            let is_free = after.first().map_or_else(|| self.output.is_empty(), |next| next.stage.accepts());
            let Some(item) = is_free.then(|| link.stage.pop(now)).flatten() else { return Ok(None) };
            match after.first_mut() {
                Some(next) => next.stage.push(item, now),
                None => self.output.push_back(item),
            }
            *has_moved = true;
        }
    }

    /// Adds an item before the first toxic.
    pub(super) fn push(&mut self, item: Item, now: Instant) {
        match self.links.first_mut() {
            Some(first) => first.stage.push(item, now),
            None => self.output.push_back(item),
        }
    }

    /// Whether there is room for more data.
    pub(super) fn accepts(&self) -> bool {
        self.links.first().map_or_else(|| self.output.is_empty(), |first| first.stage.accepts())
    }

    /// The items that left the last toxic.
    pub(super) fn output(&mut self) -> &mut VecDeque<Item> {
        &mut self.output
    }

    /// Whether data can take the direct path.
    pub(super) fn is_idle(&self) -> bool {
        self.links.is_empty() && self.output.is_empty()
    }

    /// Whether at least one toxic affects this direction of the connection.
    pub(super) fn is_affected(&self) -> bool {
        !self.links.is_empty()
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
