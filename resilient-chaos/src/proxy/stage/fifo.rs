//! Items in the order of their arrival, with a bound on their memory.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// Memory that an item needs in addition to its bytes. It bounds the number of small items.
const OVERHEAD: usize = 128;

/// Data, or the end of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Item {
    Data(Bytes),
    /// The sender closed its direction (TCP FIN).
    End,
    /// The whole connection closes after the items before this one.
    Close,
}

impl Item {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::End | Self::Close => 0,
        }
    }
}

/// Items with the time of their arrival.
#[derive(Debug)]
pub(in super::super) struct Fifo {
    items: VecDeque<(Instant, Item)>,
    memory: usize,
    most: usize,
}

impl Fifo {
    /// Creates a queue that has room for `most` bytes.
    pub(in super::super) fn new(most: usize) -> Self {
        Self { items: VecDeque::new(), memory: 0, most }
    }

    pub(in super::super) fn accepts(&self) -> bool {
        self.memory < self.most
    }

    pub(in super::super) fn push(&mut self, item: Item, now: Instant) {
        self.memory += item.len() + OVERHEAD;
        self.items.push_back((now, item));
    }

    pub(in super::super) fn first(&self) -> Option<(Instant, &Item)> {
        self.items.front().map(|(arrived, item)| (*arrived, item))
    }

    pub(in super::super) fn pop(&mut self) -> Option<Item> {
        let (_, item) = self.items.pop_front()?;
        self.memory -= item.len() + OVERHEAD;
        Some(item)
    }

    /// Takes at most `most` bytes of the first item. The rest stays the first item.
    pub(in super::super) fn pop_slice(&mut self, most: usize) -> Option<Item> {
        match self.items.front_mut() {
            Some((_, Item::Data(bytes))) if bytes.len() > most => {
                self.memory -= most;
                Some(Item::Data(bytes.split_to(most)))
            }
            _ => self.pop(),
        }
    }

    /// Removes all items.
    pub(in super::super) fn clear(&mut self) {
        self.items.clear();
        self.memory = 0;
    }

    pub(in super::super) fn into_items(self) -> Vec<Item> {
        self.items.into_iter().map(|(_, item)| item).collect()
    }
}
