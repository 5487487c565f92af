//! What is counted and told about calls: golden numbers for each operation, and events.

mod buckets;
mod describe;
mod events;
mod latency;
mod listener;
mod log_limit;
mod metric;
mod operation;
mod slot;
mod striped;
mod text;

pub(crate) use describe::{Describe, Family, counts};
pub(crate) use events::Events;
pub use events::{EVENT_CAPACITY, Event, EventKind, Subscription};
pub use latency::{DurationHistogram, LatencyStats};
pub(crate) use latency::{Latencies, optional_seconds, seconds};
pub use listener::Listener;
pub use log_limit::LogLimit;
pub(crate) use log_limit::log_limited;
pub(crate) use metric::MOST_NAMES;
pub use metric::{Metric, MetricFamily, MetricKind, MetricValue};
pub use operation::OperationStats;
pub(crate) use operation::{Ending, Operation, Total};
pub(crate) use striped::Striped;
pub(crate) use text::{Cause, ErrorSlot, NOTHING, Texts};
pub use text::{ERROR_TEXT_BYTES, ErrorText, LastError, Words};
