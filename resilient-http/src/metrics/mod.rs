//! What was counted, for Prometheus, for OpenTelemetry (feature `otel`) and for the crate `metrics` (feature `metrics`), under
//! the same names: read when somebody asks, so that nothing is added to a call.
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
//! All series of a component are there from its first mention, at zero. Of each kind 1 024 names are told, in their order;
//! how many are not is `resilient_names_left_out`.

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

/// How the metrics are written.
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
    /// The text format of Prometheus, 0.0.4.
    #[default]
    Text,
    /// [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` header asks for.
    ///
    /// ```
    /// use resilient_http::metrics::Format;
    ///
    /// let asked = Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    /// assert_eq!(Format::accepted(asked), Format::OpenMetrics);
    /// assert_eq!(Format::accepted(None), Format::Text);
    /// ```
    pub fn accepted(accept: Option<&str>) -> Self {
        let wants = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if wants { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the answer.
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

/// The metrics of a registry now; its alerts are looked at before. For them to fire somebody has to look more often than
/// Prometheus does: the admin API, or [`Registry::watch_alerts`].
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

/// What the alerts say is of now, too.
fn fresh(registry: &Registry) -> resilient_runtime::registry::Stats {
    registry.evaluate_alerts();
    registry.stats()
}

#[cfg(test)]
mod tests;
