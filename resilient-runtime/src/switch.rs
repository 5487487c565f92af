//! The byte that every call of a registry reads: whether protection is on, and whether faults are injected.

use std::sync::Arc;

use crate::sync::{AtomicU8, Ordering};

/// Shared by a registry and its pipelines. 0 is the usual state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<AtomicU8>);

/// All protection is off.
const OFF: u8 = 1;
/// Faults are in force.
#[cfg(feature = "chaos")]
const ARMED: u8 = 2;

impl Switch {
    /// Relaxed: a call may see a change slightly late. It uses the value it saw until it ends.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) & OFF == 0
    }

    /// Turns protection on or off, and returns whether it was on.
    pub(crate) fn set(&self, on: bool) -> bool {
        let before = if on {
            self.0.fetch_and(!OFF, Ordering::Relaxed)
        } else {
            self.0.fetch_or(OFF, Ordering::Relaxed)
        };
        before & OFF == 0
    }
}

#[cfg(feature = "chaos")]
impl Switch {
    /// Whether protection is on and no faults are in force.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn arm(&self, armed: bool) {
        if armed {
            self.0.fetch_or(ARMED, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!ARMED, Ordering::Relaxed);
        }
    }
}
