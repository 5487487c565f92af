//! Exports metrics to Prometheus, OpenTelemetry (feature `otel`) and the `metrics` crate (feature `metrics`).
//!
//! All exporters use the same metric names. Metrics are read when they are exported, so that they add no cost to a call.
//!
//! ```
//! use resilient_http::metrics::{Format, render};
//!
//! let registry = resilient_runtime::Registry::new();
//! registry.bulkhead("gateway");
//! let text = render(&registry, Format::Text);
//! assert!(text.contains("resilient_bulkhead_limit{name=\"gateway\"} 64\n"));
//! ```
//!
//! All series of a component exist as soon as the component is created, with the value zero. At most 1024 component
//! names are exported per kind, in alphabetical order. `resilient_names_left_out` counts the names that are not
//! exported.

#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "otel")]
mod otel;
#[cfg(any(feature = "metrics", feature = "otel"))]
mod series;
mod text;

use prometheus_client::encoding::{prometheus_text, text as openmetrics};
use prometheus_client::registry::Registry as Collection;
use resilient_runtime::Registry;
use text::Snapshot;

#[cfg(feature = "metrics")]
pub use facade::{publish, publish_every};
#[cfg(feature = "otel")]
pub use otel::observe;

/// Text format of the metrics.
///
/// ```
/// use resilient_http::metrics::{Format, render};
///
/// let registry = resilient_runtime::Registry::new();
/// assert!(render(&registry, Format::OpenMetrics).ends_with("# EOF\n"));
/// assert!(!render(&registry, Format::Text).ends_with("# EOF\n"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus text format, version 0.0.4.
    #[default]
    Text,
    /// [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0.
    OpenMetrics,
}

impl Format {
    /// Returns the format that an `Accept` header requests.
    ///
    /// The default is [`Format::Text`].
    ///
    /// ```
    /// use resilient_http::metrics::Format;
    ///
    /// let accept = Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    /// assert_eq!(Format::accepted(accept), Format::OpenMetrics);
    /// assert_eq!(Format::accepted(None), Format::Text);
    /// ```
    pub fn accepted(accept: Option<&str>) -> Self {
        let wants = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if wants { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the `Content-Type` of the format.
    ///
    /// ```
    /// use resilient_http::metrics::Format;
    ///
    /// assert!(Format::Text.content_type().starts_with("text/plain; version=0.0.4"));
    /// ```
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes the current metrics of a registry, after evaluating its alerts.
///
/// Scrapes are too rare to evaluate alerts in time. To use alerts, also run the [admin API](crate::Admin) or
/// [`Registry::watch_alerts`].
///
/// ```
/// use resilient_http::metrics::{Format, render};
///
/// let registry = resilient_runtime::Registry::new();
/// registry.pipeline("checkout").build().call(|| Some(7));
/// let text = render(&registry, Format::Text);
/// assert!(text.contains("operation=\"checkout\""), "{text}");
/// ```
pub fn render(registry: &Registry, format: Format) -> String {
    let mut all = Collection::default();
    all.register_collector(Box::new(Snapshot(fresh(registry))));
    let mut text = String::new();
    let outcome = match format {
        Format::Text => prometheus_text::encode(&mut text, &all),
        Format::OpenMetrics => openmetrics::encode(&mut text, &all),
    };
    // Writing to a string cannot fail.
    debug_assert!(outcome.is_ok());
    text
}

/// Current statistics, with evaluated alerts.
fn fresh(registry: &Registry) -> resilient_runtime::registry::Stats {
    registry.evaluate_alerts();
    registry.stats()
}

#[cfg(test)]
mod tests;
