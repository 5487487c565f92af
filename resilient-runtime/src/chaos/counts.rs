//! How often faults were injected, by kind.

use std::collections::BTreeMap;

use super::fault::FaultKind;
use crate::sync::{AtomicU64, Ordering};

/// Counts for one operation. Allocated with the first fault, because few operations have one.
#[derive(Debug, Default)]
pub(crate) struct Injected(std::sync::OnceLock<Box<[AtomicU64; FaultKind::ALL.len()]>>);

impl Injected {
    pub(crate) fn count(&self, kind: FaultKind) {
        let counts = self.0.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts that are not 0.
    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, u64> {
        let Some(counts) = self.0.get() else { return BTreeMap::new() };
        let read = FaultKind::ALL.into_iter().zip(counts.iter());
        let read = read.map(|(kind, count)| (kind, count.load(Ordering::Relaxed)));
        read.filter(|(_, count)| *count > 0).collect()
    }
}
