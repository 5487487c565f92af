//! Answers where the call could not: a chain of levels, each a worse answer than the one before.
//!
//! The levels have fixed names and a fixed order, from the nearest to the real answer to the farthest:
//! the call itself, then [`Level::Replica`], [`Level::DistributedCache`], [`Level::LocalCache`],
//! [`Level::Backup`], [`Level::Default`]. The chain runs once, after retry and everything else has given up;
//! a call that succeeds evaluates nothing of it.
//!
//! The attribute writes such a chain as `fallback(replica = .., default = ..)`; by hand it is a [`Chain`]:
//!
//! ```
//! use resilient::{Registry, fallback::{Chain, Level}};
//!
//! let registry = Registry::new();
//! let fallback = registry.fallback("rates");
//! let rate: Option<f64> = fallback.call(
//!     || None,
//!     || Chain::of(Level::LocalCache, |_| None).or(Level::Default, |_| Some(1.0)),
//! );
//! assert_eq!(rate, Some(1.0));
//! ```

mod chain;
mod config;
mod failed;
mod level;
mod stats;

use std::sync::Arc;

pub use chain::Chain;
pub(crate) use chain::Levels;
pub use config::Config;
pub(crate) use failed::into_failure;
pub use failed::{AllFailed, BoxError, FallbackFailed};
pub use level::Level;
pub use stats::{LevelStats, Stats};

use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicU64, Ordering};

/// Counts what each fallback level did. See the [module](self).
#[derive(Debug)]
pub struct Fallback {
    core: Core<Config>,
    levels: [Counters; Level::ALL.len()],
    all_failed: AtomicU64,
}

#[derive(Debug)]
struct Counters {
    asked: AtomicU64,
    served: AtomicU64,
}

impl Fallback {
    /// Runs `work`, and if it failed, the levels of `chain` until one answers. The chain is built only then.
    pub fn call<'a, R: AllFailed>(
        &self,
        work: impl FnOnce() -> R,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let outcome = work();
        if outcome.is_failure() {
            chain().answer(&mut &*self, failed::into_failure(outcome))
        } else {
            outcome
        }
    }

    /// Like [`call`](Self::call) for asynchronous work; the levels are asked without waiting.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work; no level is asked.
    pub async fn call_async<'a, R: AllFailed>(
        &self,
        work: impl AsyncFnOnce() -> R,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let outcome = work().await;
        if outcome.is_failure() {
            chain().answer(&mut &*self, failed::into_failure(outcome))
        } else {
            outcome
        }
    }

    pub(crate) fn asked(&self, level: Level) {
        self.levels[level as usize].asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn served(&self, level: Level) {
        self.levels[level as usize].served.fetch_add(1, Ordering::Relaxed);
        let level = level.as_str();
        tracing::warn!(target: "resilient::fallback", fallback = %self.core.name, level, "degraded answer");
        self.core.publish(Self::KIND, Happening::FallbackServed { level });
    }

    pub(crate) fn all_failed(&self) {
        self.all_failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(target: "resilient::fallback", fallback = %self.core.name, "every level failed");
        self.core.publish(Self::KIND, Happening::FallbackFailed);
    }
}

impl Levels for &Fallback {
    fn asked(&mut self, level: Level) {
        Fallback::asked(self, level);
    }

    fn served(&mut self, level: Level) {
        Fallback::served(self, level);
    }

    fn all_failed(&mut self) {
        Fallback::all_failed(self);
    }
}

impl Create for Fallback {
    fn create(core: Core<Config>) -> Self {
        let zero = || AtomicU64::new(0);
        let levels = Level::ALL.map(|_| Counters { asked: zero(), served: zero() });
        Self { core, levels, all_failed: zero() }
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for Fallback {
    const KIND: Kind = Kind::Fallback;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        let level = |level: Level| {
            let counters = &self.levels[level as usize];
            let asked = counters.asked.load(Ordering::Relaxed);
            (level, LevelStats { asked, served: counters.served.load(Ordering::Relaxed) })
        };
        Stats {
            levels: Level::ALL.into_iter().map(level).collect(),
            all_failed: self.all_failed.load(Ordering::Relaxed),
        }
    }

    fn reset(&self) {
        for counters in &self.levels {
            counters.asked.store(0, Ordering::Relaxed);
            counters.served.store(0, Ordering::Relaxed);
        }
        self.all_failed.store(0, Ordering::Relaxed);
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        self.core.reconfigure(Self::KIND, config, |_| ())
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
