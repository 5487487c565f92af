//! Replica sets over members that fail.

#[path = "sets/anomalies.rs"]
mod anomalies;
#[path = "sets/bounds.rs"]
mod bounds;
mod history;
#[path = "sets/members.rs"]
mod members;
#[path = "sets/modes.rs"]
mod modes;
#[path = "sets/session.rs"]
mod session;
