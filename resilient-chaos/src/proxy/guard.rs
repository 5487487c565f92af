//! A toxic for the lifetime of a value.

use std::fmt;
use std::sync::Arc;

use super::connection::Shared;
use super::toxic_list::Entry;
use super::{Effect, ProxyError};

/// A toxic that is removed when this value is dropped.
///
/// ```
/// use std::time::Duration;
/// use resilient_chaos::proxy::{Proxy, Toxic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
/// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
/// {
///     let _slow = proxy.add(Toxic::latency(Duration::from_secs(1)))?;
///     assert_eq!(proxy.toxics().len(), 1);
/// }
/// assert!(proxy.toxics().is_empty());
/// # Ok(()) }
/// ```
#[must_use = "dropping the guard removes the toxic: use `keep` to leave it"]
pub struct ToxicGuard {
    shared: Arc<Shared>,
    name: String,
    /// `None` after [`keep`](Self::keep).
    id: Option<u64>,
}

impl ToxicGuard {
    pub(super) fn new(shared: Arc<Shared>, entry: &Entry) -> Self {
        Self { shared, name: entry.name.clone(), id: Some(entry.id) }
    }

    /// Returns the name of the toxic.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_eq!(proxy.add(Toxic::black_hole())?.name(), "timeout_downstream");
    /// # Ok(()) }
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes the effect, also for open connections.
    ///
    /// # Errors
    /// Returns an error if a value is out of range, if the effect is of another kind, or if the toxic was removed by
    /// another caller.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Effect, Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// let limit = proxy.add(Toxic::limit_data(100))?;
    /// limit.update(Effect::LimitData { bytes: 200 })?;
    /// # Ok(()) }
    /// ```
    pub fn update(&self, effect: Effect) -> Result<(), ProxyError> {
        self.shared.toxics.update(&self.name, self.id, |toxic| Ok(toxic.with_effect(effect))).map(drop)
    }

    /// Leaves the toxic in the proxy. [`Proxy::remove`](super::Proxy::remove) removes it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// proxy.add(Toxic::black_hole())?.keep();
    /// assert_eq!(proxy.toxics().len(), 1);
    /// # Ok(()) }
    /// ```
    pub fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for ToxicGuard {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.toxics.remove_id(id);
        }
    }
}

impl fmt::Debug for ToxicGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToxicGuard")
            .field("proxy", &self.shared.name)
            .field("toxic", &self.name)
            .finish_non_exhaustive()
    }
}
