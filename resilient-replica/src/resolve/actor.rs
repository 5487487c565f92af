//! The instances that change replicated data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instance that changes replicated data.
///
/// It must be stable and unique: the same for an instance after a restart, and different for two instances that run at the
/// same time. Use the name of the instance (the name of a stateful set's pod, of a host, of a region), not a number that is
/// new at each start: all data remembers each actor that changed it, and accepts at most
/// [`MAX_ACTORS`](super::MAX_ACTORS).
///
/// ```
/// use resilient_replica::resolve::Actor;
///
/// assert_eq!(Actor::named("orders-0"), Actor::named("orders-0"));
/// assert_ne!(Actor::named("orders-0"), Actor::named("orders-1"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(u64);

impl Actor {
    /// Creates an actor with a number.
    ///
    /// ```
    /// use resilient_replica::resolve::Actor;
    ///
    /// assert_eq!(Actor::new(7).number(), 7);
    /// ```
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Creates an actor from the name of an instance, by the hash FNV-1a, which is equal on every machine.
    ///
    /// Two of 100 names are equal with a probability of 3 in 10^16.
    ///
    /// ```
    /// use resilient_replica::resolve::Actor;
    ///
    /// assert_eq!(Actor::named("eu-1").number(), 0xcd8e_1560_7fb8_3535);
    /// ```
    pub const fn named(name: &str) -> Self {
        Self(fnv1a(name))
    }

    /// Returns the number of the actor.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({:#x})", self.0)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The hash FNV-1a, which is equal on every machine: <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(crate) const fn fnv1a(text: &str) -> u64 {
    let (bytes, mut hash, mut index) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}
