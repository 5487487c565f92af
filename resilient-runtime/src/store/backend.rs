//! The trait of a store.

use std::fmt;
use std::sync::Arc;

use super::{CacheStore, CircuitStore, IdempotencyStore, InstanceStore, LoginStore, RateStore, ReplicaStore};

/// A store that components use by name. It plays one or more roles.
///
/// Implement the role traits, and return `Some(self)` for each of them. Each role documents its rules, and
/// `resilient_runtime::testing` (feature `testing`) has a function that checks them.
///
/// ```
/// use resilient_runtime::Registry;
/// use resilient_runtime::idempotency::{Claim, Claimed, IdempotencyStore, Owner};
/// use resilient_runtime::store::{Answer, Backend};
/// # use std::time::Duration;
///
/// #[derive(Debug)]
/// struct Forgetful;
/// impl Backend for Forgetful {
///     fn address(&self) -> String { "nowhere".into() }
///     fn idempotency(&self) -> Option<&dyn IdempotencyStore> { Some(self) }
/// }
/// impl IdempotencyStore for Forgetful {
///     // ...
/// #    fn claim(&self, _: Claim) -> Answer<'_, Claimed> { Box::pin(async { Ok(Claimed::Acquired) }) }
/// #    fn renew<'a>(&'a self, _: &'a str, _: Owner, _: Duration) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
/// #    fn complete<'a>(&'a self, _: &'a str, _: Owner, _: Vec<u8>, _: Duration) -> Answer<'a, bool> {
/// #        Box::pin(async { Ok(true) })
/// #    }
/// #    fn abandon<'a>(&'a self, _: &'a str, _: Owner) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
/// }
/// # use resilient_runtime::Component;
/// let store = Registry::new().use_store("shared", Forgetful);
/// assert_eq!(store.stats().address.as_deref(), Some("nowhere"));
/// ```
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Returns where the store is, for people. Without a login.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::MemoryStore, store::Backend};
    ///
    /// assert_eq!(MemoryStore::new(Clock::system(), 10).address(), "memory");
    /// ```
    fn address(&self) -> String;

    /// Returns the store of idempotency records, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::MemoryStore, store::Backend};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).idempotency().is_some());
    /// ```
    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        None
    }

    /// Returns the store that coordinates circuit breakers, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::MemoryStore, store::Backend};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).circuits().is_none());
    /// ```
    fn circuits(&self) -> Option<&dyn CircuitStore> {
        None
    }

    /// Returns the store of a distributed cache, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, fallback::MemoryCache, store::Backend};
    ///
    /// assert!(MemoryCache::new(Clock::system(), 1000).cache().is_some());
    /// ```
    fn cache(&self) -> Option<&dyn CacheStore> {
        None
    }

    /// Returns the store that counts the running instances of a service, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::MemoryStore, store::Backend};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).instances().is_none());
    /// ```
    fn instances(&self) -> Option<&dyn InstanceStore> {
        None
    }

    /// Returns the store of failed logins, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, store::{Backend, MemoryLogins}};
    ///
    /// assert!(MemoryLogins::new(Clock::system()).logins().is_some());
    /// ```
    fn logins(&self) -> Option<&dyn LoginStore> {
        None
    }

    /// Returns the store of shared rate limits, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, rate_limit::MemoryStore, store::Backend};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).rate().is_some());
    /// ```
    fn rate(&self) -> Option<&dyn RateStore> {
        None
    }

    /// Returns the store of the records of replica sets, if this store has that role.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, rate_limit::MemoryStore, store::Backend};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).replica().is_none());
    /// ```
    fn replica(&self) -> Option<&dyn ReplicaStore> {
        None
    }
}

impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn address(&self) -> String {
        B::address(self)
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        B::idempotency(self)
    }

    fn circuits(&self) -> Option<&dyn CircuitStore> {
        B::circuits(self)
    }

    fn cache(&self) -> Option<&dyn CacheStore> {
        B::cache(self)
    }

    fn instances(&self) -> Option<&dyn InstanceStore> {
        B::instances(self)
    }

    fn logins(&self) -> Option<&dyn LoginStore> {
        B::logins(self)
    }

    fn rate(&self) -> Option<&dyn RateStore> {
        B::rate(self)
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        B::replica(self)
    }
}
