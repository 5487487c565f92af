//! The calls that a fault holds, to wake them at its end.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    last: u64,
}

/// The place of a waiting call.
#[derive(Debug)]
pub(crate) struct Place(u64);

impl Waiters {
    /// Registers a waker, in the place of the call if it has one. After this, the call must check again whether the
    /// fault is over.
    pub(crate) fn register(&self, place: &mut Option<Place>, waker: Waker) {
        let mut waiting = self.0.lock();
        let number = match place {
            Some(Place(number)) => *number,
            None => {
                waiting.last += 1;
                let number = waiting.last;
                *place = Some(Place(number));
                number
            }
        };
        let before = waiting.wakers.insert(number, waker);
        drop(waiting);
        // Outside of the lock: dropping a waker can end a task that holds a place.
        drop(before);
    }

    pub(crate) fn leave(&self, place: Option<&Place>) {
        if let Some(Place(number)) = place {
            let waker = self.0.lock().wakers.remove(number);
            drop(waker);
        }
    }

    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut self.0.lock().wakers);
        woken.into_values().for_each(Waker::wake);
    }
}
