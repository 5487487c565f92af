//! Evaluates the alerts of a registry.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use super::{Registry, saturation};
use crate::alert::Reading;
#[cfg(feature = "chaos")]
use crate::alert::Signal;
use crate::clock::{BoxedTimer, NoTimer};
use crate::component::Component;
use crate::nearest::nearest;

/// The time between two evaluations.
const PAUSE: Duration = Duration::from_secs(1);

impl Registry {
    /// Evaluates all alerts now and then once per second.
    ///
    /// The future never ends; spawn it. Programs with the admin API do not need it, because the admin API runs it.
    ///
    /// It needs a tokio runtime with `enable_time`, or a [`ManualClock`](crate::clock::ManualClock). Without them,
    /// it evaluates once and logs an error.
    ///
    /// # Cancel safety
    /// Dropping the future stops the evaluation. The alerts keep their state.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, alert::{Config, Severity, Signal}, bulkhead, clock::Clock};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let watch = tokio::spawn(registry.watch_alerts());
    /// let full = Config::default().signal(Signal::Saturation).critical(0.9).hold(Duration::from_secs(30));
    /// registry.alert("full").reconfigure(full).unwrap();
    /// let bulkhead = registry.bulkhead("db");
    /// bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    /// let _permit = bulkhead.try_acquire().unwrap();
    /// tokio::time::sleep(Duration::from_secs(40)).await;
    /// assert_eq!(registry.alert("full").stats().severity, Some(Severity::Critical));
    /// watch.abort();
    /// # }
    /// ```
    pub fn watch_alerts(&self) -> impl Future<Output = Infallible> + Send + 'static + use<> {
        let registry = self.clone();
        async move {
            loop {
                registry.evaluate_alerts();
                match BoxedTimer::armed(registry.clock(), registry.clock().now().after(PAUSE)) {
                    Ok(timer) => timer.await,
                    Err(NoTimer) => {
                        let what =
                            "there is no tokio runtime with `enable_time`: alerts are not evaluated any more";
                        tracing::error!(target: "resilient_runtime::alert", "{what}");
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Evaluates all alerts once.
    ///
    /// Call it about once per second, as [`watch_alerts`](Self::watch_alerts) does. Evaluations that are further
    /// apart than 3 s and a quarter of an alert's window update its value but do not add up to its `hold`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, alert::{Config, Severity, Signal}, bulkhead};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("db").reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    /// let full = Config::default().signal(Signal::Saturation).warning(0.9);
    /// registry.alert("full").reconfigure(full.hold(Duration::ZERO).min_samples(0)).unwrap();
    /// registry.evaluate_alerts(); // rates are known from the second evaluation on
    /// let bulkhead = registry.bulkhead("db");
    /// let permit = bulkhead.try_acquire().unwrap();
    /// registry.evaluate_alerts();
    /// assert_eq!(registry.alert("full").stats().severity, Some(Severity::Warning));
    /// # drop(permit);
    /// ```
    pub fn evaluate_alerts(&self) {
        let alerts = self.0.shelves.alert.all();
        if alerts.is_empty() {
            return;
        }
        // One at a time: with concurrent evaluations, older counts that arrive later would look like a reset.
        let turn = self.0.evaluating.lock();
        let (now, operations) = (self.clock().now(), self.0.operations.all());
        #[cfg(feature = "chaos")]
        let without_injected: Vec<_> = if alerts.iter().any(|(_, alert)| alert.config().exclude_injected) {
            operations.iter().map(|(name, op)| (*name, op.stats_without_injected(now))).collect()
        } else {
            Vec::new()
        };
        let operations: Vec<_> = operations.iter().map(|(name, op)| (*name, op.stats(now))).collect();
        let saturation = saturation::of_all(&self.saturations()).get();
        let mut changed = Vec::new();
        for (_, alert) in alerts {
            let config = alert.config();
            if !config.enabled {
                continue;
            }
            let only = config.operation.as_deref();
            let mut reading = Reading { exists: only.is_none(), saturation, ..Reading::default() };
            #[cfg(feature = "chaos")]
            let is_excluded = config.exclude_injected && config.signal != Signal::Traffic;
            #[cfg(feature = "chaos")]
            let operations = if is_excluded { &without_injected } else { &operations };
            let wanted = operations.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
            wanted.for_each(|(_, stats)| reading.add(stats));
            changed.extend(alert.evaluate(&config, &reading).map(|change| (alert, change)));
        }
        drop(turn);
        changed.iter().for_each(|(alert, change)| alert.report(change));
    }

    /// Returns alerts on operations that do not exist yet.
    pub(super) fn alerts_without_operation(&self) -> Vec<String> {
        let operations = self.0.operations.all();
        let known = || operations.iter().map(|(name, _)| *name);
        let problem = |(name, alert): (_, std::sync::Arc<crate::Alert>)| {
            let config = alert.config();
            let operation = config.operation.as_deref()?;
            if known().any(|known| known == operation) {
                return None;
            }
            Some(match nearest(operation, known()) {
                Some(near) => {
                    format!("alert: `{name}`: there is no operation `{operation}`; did you mean `{near}`?")
                }
                None => format!("alert: `{name}`: there is no operation `{operation}` yet"),
            })
        };
        self.0.shelves.alert.all().into_iter().filter_map(problem).collect()
    }
}
