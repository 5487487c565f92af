//! The behaviour of a replica set that cannot reach enough members.

use std::time::Duration;

/// The choice between consistency and availability (the CAP theorem), for a set or one operation.
///
/// ```
/// use std::time::Duration;
/// use resilient_replica::Mode;
///
/// assert_eq!(Mode::default(), Mode::Cp);
/// let within = Mode::Within(Duration::from_millis(50));
/// assert_ne!(within, Mode::Ap);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Consistency: an operation needs the members of its [`Level`], and is refused if it cannot reach them.
    #[default]
    Cp,
    /// Availability: an operation needs one member. A write that did not reach the members of its [`Level`] is delivered to
    /// them later, and a read that did not reach them is marked as possibly stale.
    Ap,
    /// Consistency if it takes no longer than this, then availability.
    Within(Duration),
}

/// How many members an operation needs.
///
/// ```
/// use resilient_replica::Level;
///
/// assert_eq!(Level::default(), Level::Quorum);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Any one. Does not see what was written last.
    One,
    /// The numbers of the set: more than half of the members, or as
    /// [`Builder::quorums`](crate::Builder::quorums) sets.
    #[default]
    Quorum,
    /// More than half of the members in the own region, or [`Quorum`](Self::Quorum) if the set has no region. Sees what was written last in the own region.
    LocalQuorum,
    /// All members. Works only if no member fails.
    All,
}
