//! The HTTP API of Toxiproxy 2.

mod access;
mod routes;
mod serve;
mod wire;

pub use serve::ServeError;

pub(super) use access::Token;
pub(super) use wire::kinds;
