//! Where hints are kept besides the memory.

use std::fmt;
use std::time::Duration;

use resilient_runtime::store::{Answer, ReplicaRecord};

/// Keeps the hints on disk. It is called while the state is locked, so it goes through the same states.
pub(crate) trait HintLog: fmt::Debug + Send + Sync {
    /// Starts to store a hint of this age in place of an earlier one.
    fn put(&self, member: usize, key: &str, record: &ReplicaRecord, age: Duration) -> Answer<'static, ()>;

    /// Starts to remove a hint. If that fails, it is delivered again after a restart, which changes nothing.
    fn remove(&self, member: usize, key: &str);
}
