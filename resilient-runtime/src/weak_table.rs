//! A table of weak references by number, for handles that must be small and own nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

#[derive(Debug)]
pub(crate) struct WeakTable<T> {
    known: BTreeMap<u32, Weak<T>>,
    /// Numbers up to this one are never assigned.
    reserved: u32,
    last: u32,
}

impl<T> WeakTable<T> {
    pub(crate) const fn after(reserved: u32) -> Self {
        Self { known: BTreeMap::new(), reserved, last: reserved }
    }

    /// Assigns a free number, creates a value for it with `make`, and adds the value to the table.
    pub(crate) fn join(&mut self, make: impl FnOnce(u32) -> T) -> Arc<T> {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(self.reserved + 1);
            if !self.known.contains_key(&self.last) {
                break;
            }
        }
        let held = Arc::new(make(self.last));
        self.known.insert(self.last, Arc::downgrade(&held));
        held
    }

    pub(crate) fn find(&self, number: u32) -> Option<Arc<T>> {
        self.known.get(&number)?.upgrade()
    }

    /// Removes a number. The destructor of its value calls this.
    pub(crate) fn leave(&mut self, number: u32) {
        self.known.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_use_is_not_reassigned_after_the_counter_wraps() {
        let mut numbered = WeakTable::after(1);
        numbered.last = u32::MAX - 1;
        let held: Vec<Arc<u32>> = (0..3).map(|_| numbered.join(|number| number)).collect();
        assert_eq!(held.iter().map(|number| **number).collect::<Vec<_>>(), [u32::MAX, 2, 3]);
        numbered.last = 1;
        assert_eq!(*numbered.join(|number| number), 4, "2 and 3 are in use");
        assert_eq!(numbered.find(3).as_deref(), Some(&3));
        drop(held);
        assert_eq!(numbered.find(3), None);
        numbered.leave(3);
        numbered.last = 2;
        assert_eq!(*numbered.join(|number| number), 3);
    }
}
