//! A lease on a fault: it ends when the guard is dropped.

use std::sync::Arc;
use std::time::Duration;

use super::armed::{Armed, ArmedFault, FaultId};
use super::fault::check_ttl;
use super::problem::{InvalidFault, Problems};
use super::shared::Shared;

/// A fault in force, until this is dropped or the fault's time to live has passed.
///
/// ```
/// use resilient_runtime::{Class, Registry, chaos::Fault};
///
/// let registry = Registry::new();
/// let load = registry.pipeline("load").build();
/// let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load")).unwrap();
/// assert_eq!(load.call(|| Some(7)), None);
/// drop(fault);
/// assert_eq!(load.call(|| Some(7)), Some(7));
/// ```
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct FaultGuard {
    pub(super) armed: Arc<Armed>,
    pub(super) shared: Arc<Shared>,
}

impl FaultGuard {
    /// Returns the number of the fault.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::{Fault, FaultId}};
    ///
    /// let fault = Registry::new().chaos().inject(Fault::hang().on("load")).unwrap();
    /// assert_eq!(fault.id(), FaultId::new(1));
    /// ```
    pub fn id(&self) -> FaultId {
        self.armed.id
    }

    /// Returns how many attempts the fault has affected.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").build();
    /// let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load").every(2)).unwrap();
    /// (0..10).for_each(|_| drop(load.call(|| Some(7))));
    /// assert_eq!(fault.injected(), 5);
    /// ```
    pub fn injected(&self) -> u64 {
        self.armed.injected()
    }

    /// Returns a snapshot of the fault.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let fault = Registry::new().chaos().inject(Fault::hang().on("load")).unwrap();
    /// assert_eq!(fault.snapshot().target, "load");
    /// ```
    pub fn snapshot(&self) -> ArmedFault {
        self.armed.snapshot()
    }

    /// Changes the share of the attempts that are hit, for example for a ramp.
    ///
    /// The attempts are drawn as before: with a higher rate, all attempts are still hit that a lower rate would hit.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").build();
    /// let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load").rate(0.000_001)).unwrap();
    /// assert_eq!(load.call(|| Some(7)), Some(7));
    /// fault.set_rate(1.0).unwrap();
    /// assert_eq!(load.call(|| Some(7)), None);
    /// assert!(fault.set_rate(1.5).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns an error if the rate is not over 0 and at most 1.
    pub fn set_rate(&self, rate: f64) -> Result<(), InvalidFault> {
        let mut problems = Problems::default();
        super::target::check_rate(rate, &mut problems);
        problems.finish()?;
        self.armed.set_rate(rate);
        self.armed.update_component();
        Ok(())
    }

    /// Extends the time to live: the fault ends `ttl` from now. A controller that renews a short time to live at each
    /// step leaves nothing behind when it dies.
    ///
    /// A fault that has ended stays ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, chaos::Fault, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock());
    /// let fault = registry.chaos().inject(Fault::hang().on("load").ttl(Duration::from_secs(5))).unwrap();
    /// time.advance(Duration::from_secs(4));
    /// fault.renew(Duration::from_secs(5)).unwrap();
    /// time.advance(Duration::from_secs(4));
    /// assert!(registry.chaos().is_armed());
    /// time.advance(Duration::from_secs(1));
    /// assert!(!registry.chaos().is_armed());
    /// ```
    ///
    /// # Errors
    /// Returns an error if `ttl` is not from 1 ms to 24 h.
    pub fn renew(&self, ttl: Duration) -> Result<(), InvalidFault> {
        let mut problems = Problems::default();
        check_ttl(ttl, &mut problems);
        problems.finish()?;
        let left = self.armed.left();
        if !left.is_zero() {
            self.armed.renew(ttl);
            if ttl < left {
                // Held calls wait for the end that they knew.
                self.armed.wake();
            }
        }
        Ok(())
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.shared.remove(self.armed.id);
    }
}
