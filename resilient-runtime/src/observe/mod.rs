//! What is counted and told about calls: golden numbers for each operation, and events.

mod buckets;
mod events;
mod latency;
mod listener;
mod operation;
mod slot;
mod striped;

pub(crate) use events::Events;
pub use events::{EVENT_CAPACITY, Event, Happening, Subscription};
pub use latency::LatencyStats;
pub(crate) use latency::{Latencies, optional_seconds, seconds};
pub use listener::Listener;
pub use operation::OperationStats;
pub(crate) use operation::{Ending, Operation, Total};
pub(crate) use striped::Striped;
