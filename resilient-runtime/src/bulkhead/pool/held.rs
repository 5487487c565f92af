//! A thread of the pool that a fault holds.

use std::fmt;
use std::sync::Arc;

use super::{OnThread, Pool, Submitted};
use crate::chaos::Armed;
use crate::clock::Clock;
use crate::priority::Priority;
use crate::sync::{AtomicBool, Ordering};

/// Work that blocks a thread until its fault is over or this is dropped.
pub(in crate::bulkhead) struct HeldThread {
    armed: Arc<Armed>,
    /// Release and acquire, so that the thread that is woken sees it.
    is_released: Arc<AtomicBool>,
    submitted: Option<Submitted>,
}

impl fmt::Debug for HeldThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldThread").finish_non_exhaustive()
    }
}

impl Pool {
    /// Occupies the next free thread.
    pub(in crate::bulkhead) fn hold(&self, armed: &Arc<Armed>, clock: &Clock) -> HeldThread {
        let is_released = Arc::new(AtomicBool::new(false));
        let work = {
            let (armed, clock, is_released) = (Arc::clone(armed), clock.clone(), Arc::clone(&is_released));
            move |on_thread: OnThread<'_>| {
                armed.block_thread(&clock, &is_released);
                drop(on_thread);
            }
        };
        // Before waiting work: it takes the next free thread.
        let submitted = self.submit(Priority::Critical, Box::new(work));
        HeldThread { armed: Arc::clone(armed), is_released, submitted: Some(submitted) }
    }
}

impl Drop for HeldThread {
    fn drop(&mut self) {
        self.is_released.store(true, Ordering::Release);
        if let Some(submitted) = self.submitted.take() {
            submitted.withdraw();
        }
        self.armed.wake();
    }
}
