//! The role of a store that keeps the values of a distributed cache.

use std::time::Duration;

use super::Answer;

/// A value in a [`CacheStore`], and its age.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::fallback::CacheEntry;
///
/// let entry = CacheEntry::new(b"1.1".to_vec(), Duration::from_secs(3));
/// assert_eq!((entry.value.len(), entry.age.as_secs()), (3, 3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// The bytes that were stored.
    pub value: Vec<u8>,
    /// The time since the value was made: its age when it was stored, and the time since then by the clock of the store.
    pub age: Duration,
}

impl CacheEntry {
    /// Creates an entry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use resilient_runtime::fallback::CacheEntry;
    /// assert!(CacheEntry::new(Vec::new(), Duration::ZERO).age.is_zero());
    /// ```
    pub fn new(value: Vec<u8>, age: Duration) -> Self {
        Self { value, age }
    }
}

/// Stores the values of the distributed cache, which is a level of a [`Fallback`](crate::Fallback).
///
/// Several processes can use the same store. It treats values as bytes: the level writes the format and the type of the
/// value into them, and checks both when it reads them.
///
/// An implementation must follow these rules. [`check_cache_store`](crate::testing::check_cache_store) (feature
/// `testing`) checks them.
///
/// - A value is returned unchanged. A later value replaces an earlier one of the same key, with its age and `ttl`. No reader sees a part of a value.
/// - The age of a value is its age at the put and the time since then. A process may have kept the value before it could
///   store it, so the age at the put is often not zero.
/// - A value is not returned after its `ttl`, which counts from the put. The store may remove a value earlier, for example because it
///   is full.
/// - The age is measured by one clock for all processes, usually the clock of the server. If that clock was set back, the
///   age of a value is unknown, and the value must not be returned as a new one.
/// - Keys that differ in one byte are different keys. A key has up to about 2 kB. It contains data of callers: a store
///   that is visible to others should hash it.
/// - A value that another program wrote under the key, or that has an unknown form, is the error
///   [`Refused`](crate::store::StoreError::Refused).
///
/// Operations are polled on any thread: on threads of callers with or without a runtime, and on a thread of this library
/// whose tokio runtime has timers but no I/O. A store that needs I/O does it on a runtime of its own. Operations need no
/// time limit, because the caller drops the future when its time is over. An operation that was dropped may take effect.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
/// use resilient_runtime::fallback::{CacheEntry, CacheStore};
/// use resilient_runtime::store::{Answer, Backend};
///
/// /// Keeps values until the process ends. A real store also removes the oldest values if it is full.
/// #[derive(Debug, Default)]
/// struct Local(Mutex<HashMap<String, (CacheEntry, Instant, Duration)>>);
/// impl Backend for Local {
///     fn address(&self) -> String { "this process".into() }
///     fn cache(&self) -> Option<&dyn CacheStore> { Some(self) }
/// }
/// impl CacheStore for Local {
///     fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>> {
///         let found = self.0.lock().unwrap().get(key).cloned();
///         let live = found.filter(|(_, stored, ttl)| stored.elapsed() < *ttl);
///         let entry = live.map(|(entry, stored, _)| CacheEntry::new(entry.value, entry.age + stored.elapsed()));
///         Box::pin(async { Ok(entry) })
///     }
///     fn put<'a>(&'a self, key: &'a str, entry: CacheEntry, ttl: Duration) -> Answer<'a, ()> {
///         self.0.lock().unwrap().insert(key.to_owned(), (entry, Instant::now(), ttl));
///         Box::pin(async { Ok(()) })
///     }
///     fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
///         let removed = self.0.lock().unwrap().remove(key);
///         Box::pin(async { Ok(removed.is_some_and(|(_, stored, ttl)| stored.elapsed() < ttl)) })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # #[cfg(feature = "testing")]
/// let pass = async |span| tokio::time::sleep(span).await;
/// # #[cfg(feature = "testing")]
/// resilient_runtime::testing::check_cache_store(&Local::default(), pass).await.unwrap();
/// # }
/// ```
pub trait CacheStore: Send + Sync + 'static {
    /// Returns the value of a key and its age, or `None` if there is none.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>>;

    /// Stores a value and its age for the duration `ttl` from now, in place of an earlier value of the key. A `ttl` of zero
    /// removes it.
    fn put<'a>(&'a self, key: &'a str, entry: CacheEntry, ttl: Duration) -> Answer<'a, ()>;

    /// Removes the value of a key. Returns whether there was one.
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool>;
}
