//! Statistics, metrics and events of calls.

mod buckets;
mod counter;
mod describe;
mod event;
mod events;
#[cfg(feature = "chaos")]
mod injected;
mod latency;
mod listener;
mod log_limit;
mod metric;
mod operation;
mod slot;
mod striped;
mod subscription;

pub use crate::error_text::{ERROR_TEXT_BYTES, ErrorText, Words};
pub use crate::last_error::LastError;
pub(crate) use counter::Counter;
pub(crate) use describe::{Describe, Family, counts};
pub use event::{Event, EventKind};
pub use events::EVENT_CAPACITY;
pub(crate) use events::Events;
#[cfg(feature = "chaos")]
pub use injected::{FaultKind, InjectedIntoComponent};
pub(crate) use latency::Latencies;
pub use latency::{DurationHistogram, LatencyStats};
pub use listener::Listener;
pub use log_limit::LogLimit;
pub(crate) use log_limit::log_limited;
pub(crate) use metric::MOST_NAMES;
pub use metric::{Metric, MetricFamily, MetricKind, MetricValue};
pub use operation::OperationStats;
pub(crate) use operation::{Ending, Operation, Total};
pub(crate) use striped::Striped;
pub use subscription::Subscription;
