//! Admits the requests to a store. The registry implements it with a circuit breaker and a bulkhead, so that this module
//! does not depend on other components.

use std::fmt;
use std::time::Duration;

use super::Config;

pub(crate) trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Admits a request.
    fn enter(&self) -> Result<Box<dyn Pass + '_>, Refused>;
    /// Whether requests are refused because several requests have failed.
    fn is_degraded(&self) -> bool;
    /// How long it has been degraded, or not degraded.
    fn unchanged_for(&self) -> Duration;
    /// Number of requests in progress.
    fn in_use(&self) -> u32;
    fn apply(&self, settings: &Config);
    fn reset(&self);
}

/// An admitted request. If it is dropped, the request does not count.
pub(crate) trait Pass: Send {
    fn end(self: Box<Self>, has_failed: bool);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Several requests have failed.
    Degraded,
    /// There are too many requests at the same time.
    Busy,
}

/// Admits every request.
#[derive(Debug)]
pub(super) struct Always;

struct Admitted;

impl Gate for Always {
    fn enter(&self) -> Result<Box<dyn Pass + '_>, Refused> {
        Ok(Box::new(Admitted))
    }

    fn is_degraded(&self) -> bool {
        false
    }

    fn unchanged_for(&self) -> Duration {
        Duration::ZERO
    }

    fn in_use(&self) -> u32 {
        0
    }

    fn apply(&self, _: &Config) {}

    fn reset(&self) {}
}

impl Pass for Admitted {
    fn end(self: Box<Self>, _: bool) {}
}
