//! Resets a component in all instances of a service.

use super::{Registry, UnknownComponent};
use crate::component::Kind;
use crate::store::StoreError;

/// Why a component was not reset in all instances.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let registry = Registry::new();
/// registry.bulkhead("gateway");
/// let error = registry.reset_all(Kind::Bulkhead, "gateway").await.unwrap_err();
/// assert_eq!(error.to_string(), "a bulkhead belongs to one instance: only a circuit_breaker can be reset for all instances");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetAllError {
    /// There is no such component.
    #[error(transparent)]
    Unknown(UnknownComponent),
    /// Components of this kind have no state that instances share.
    #[error("a {0} belongs to one instance: only a circuit_breaker can be reset for all instances")]
    NotShared(Kind),
    /// The store failed. No instance was reset, or this is not known.
    #[error("not reset for all instances: {0}")]
    Store(StoreError),
}

impl Registry {
    /// Resets a component in all instances of the service that share it: see
    /// [`CircuitBreaker::reset_all`](crate::CircuitBreaker::reset_all).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Kind, Registry, clock::Clock};
    /// use resilient_runtime::circuit_breaker::{Config, shared::MemoryCircuits};
    ///
    /// let registry = Registry::new();
    /// registry.use_store("shared", MemoryCircuits::new(Clock::system()));
    /// registry.circuit_breaker("payment").reconfigure(Config::default().store("shared")).unwrap();
    /// assert_eq!(registry.reset_all(Kind::CircuitBreaker, "payment").await, Ok(()));
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such component, if instances do not share it, or if the store fails.
    ///
    /// # Cancel safety
    /// If the future is dropped, the instances may have been reset.
    pub async fn reset_all(&self, kind: Kind, name: &str) -> Result<(), ResetAllError> {
        let known = self.known(kind, name).map_err(ResetAllError::Unknown)?;
        drop(known);
        if kind != Kind::CircuitBreaker {
            return Err(ResetAllError::NotShared(kind));
        }
        self.circuit_breaker(name).reset_all().await.map_err(ResetAllError::Store)
    }
}
