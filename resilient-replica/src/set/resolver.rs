//! How the values of several members become one.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::resolve::{Merge, MergeError};

/// How a replica set resolves different values of a key. [`LastWriteWins`] or [`Merging`].
pub trait Resolver<T>: Send + Sync + 'static {
    /// Whether values are merged, so that a write must contain the values that it replaces.
    const MERGES: bool;

    /// Merges another value into `value`.
    ///
    /// # Errors
    /// Returns why they cannot be merged.
    fn merge(value: &mut T, other: T) -> Result<(), MergeError>;
}

/// The value that was written last wins. One of two concurrent writes is lost.
#[derive(Clone, Copy, Debug)]
pub struct LastWriteWins;

impl<T> Resolver<T> for LastWriteWins {
    const MERGES: bool = false;

    /// Is not called, because the versions decide.
    fn merge(_: &mut T, _: T) -> Result<(), MergeError> {
        Ok(())
    }
}

/// Values are merged, so that no write is lost.
#[derive(Clone, Copy, Debug)]
pub struct Merging;

impl<T: Merge> Resolver<T> for Merging {
    const MERGES: bool = true;

    fn merge(value: &mut T, other: T) -> Result<(), MergeError> {
        value.merge(other)
    }
}

/// A value of a replica set. Implemented for all types that `serde` can store.
pub trait Value: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}
