//! Conflict resolution: clocks, versions, and data types that can be merged.
//!
//! Replicas that are changed independently must be merged later. Choose how by what may be lost:
//!
//! | type | of two concurrent changes | use it for |
//! |---|---|---|
//! | [`LwwRegister`] | the later one wins, the other one is lost | a preference, a status, a cached value |
//! | [`MvRegister`] | both are kept, and the application merges them | a document, an address |
//! | [`GCounter`], [`PnCounter`] | both count | views, likes |
//! | [`OrSet`] | both take effect; adding wins over removing | members, tags |
//! | [`OrMap`] | both take effect, for each key | a cart (of [`MapCounter`]s), settings (of [`MvRegister`]s) |
//!
//! Each method that changes such a value returns the change alone, as a value of the same type (a *delta*), which is
//! small. Send it to the other replicas and [`merge`](Merge::merge) it there, in any order and as often as you like. A
//! replica that missed changes merges the whole value.
//!
//! Each is [`Serialize`](serde::Serialize) and [`Deserialize`](serde::Deserialize). Values from elsewhere are checked:
//! none grows beyond [`MAX_ACTORS`] actors, [`MAX_SIBLINGS`] siblings and [`MAX_GAPS`] missing changes, besides the items
//! that were added to it.

mod actor;
pub mod causal;
mod context;
mod counter;
mod lww_register;
mod map_counter;
mod merge;
mod mv_register;
mod or_map;
mod or_set;
mod timestamp;
mod version_vector;

pub use actor::Actor;
pub(crate) use actor::fnv1a;
pub use context::{CausalContext, Dot, MAX_GAPS};
pub use counter::{GCounter, PnCounter};
pub use lww_register::LwwRegister;
pub use map_counter::MapCounter;
pub use merge::{Merge, MergeError};
pub use mv_register::MvRegister;
pub use or_map::{Nested, OrMap};
pub use or_set::OrSet;
pub use timestamp::{HybridClock, Timestamp};
pub use version_vector::{MAX_ACTORS, VersionVector};

/// The maximum number of values of an [`MvRegister`] that were assigned concurrently.
pub const MAX_SIBLINGS: usize = 64;
