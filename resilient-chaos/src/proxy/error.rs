//! Errors of proxies and toxics.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::toxic::LONGEST_NAME;

/// Error of an operation on a proxy or a toxic.
///
/// ```
/// use resilient_chaos::proxy::{Proxy, ProxyError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let everywhere = Proxy::start("0.0.0.0:0", "127.0.0.1:6379").await;
/// assert!(matches!(everywhere, Err(ProxyError::NotLoopback { .. })));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The name of a proxy or a toxic is empty, too long, or has a slash or a control character.
    #[error(
        "invalid name {name:?} of a {what}: use 1 to {LONGEST_NAME} bytes without `/` and control characters"
    )]
    InvalidName {
        /// `proxy` or `toxic`.
        what: &'static str,
        /// The name, at most 100 characters of it.
        name: String,
    },
    /// A required field is missing or empty.
    #[error("missing required field: {field}")]
    MissingField {
        /// The field.
        field: String,
    },
    /// A body is not the expected JSON.
    #[error("bad request body: {reason}")]
    InvalidBody {
        /// The reason and the position.
        reason: String,
    },
    /// An address is not of the form `host:port`, or cannot be resolved.
    #[error("invalid {field} `{address}`: {reason}; use `host:port`, such as `127.0.0.1:6379`")]
    InvalidAddress {
        /// `listen` or `upstream`.
        field: &'static str,
        /// The address.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The upstream is the address on which the proxy itself listens.
    #[error("the upstream `{upstream}` is the proxy itself: use the address of the server")]
    OwnUpstream {
        /// The upstream.
        upstream: String,
    },
    /// The address is reachable from other machines, and this was not allowed.
    #[error(
        "refused to listen on {address}, which other machines can reach: listen on 127.0.0.1, set a token for the API \
         (`Proxies::token`), or allow it in code (`ProxyBuilder::allow_remote`)"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The listener could not be created.
    #[error("cannot listen on {address}: {explanation}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason, with a remedy if one is known.
        explanation: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No proxy has this name.
    #[error("proxy not found: `{name}`")]
    ProxyNotFound {
        /// The name.
        name: String,
    },
    /// Another proxy has this name.
    #[error("proxy already exists: `{name}`")]
    ProxyExists {
        /// The name.
        name: String,
    },
    /// There is no such direction.
    #[error("stream was invalid, can be either upstream or downstream: `{stream}`")]
    InvalidStream {
        /// The value.
        stream: String,
    },
    /// There is no such kind of toxic.
    #[error("invalid toxic type `{kind}`: use one of {}", super::api::kinds())]
    InvalidType {
        /// The value.
        kind: String,
    },
    /// A value of a toxic is out of range.
    #[error("invalid toxic `{name}`: {reason}")]
    InvalidToxic {
        /// The name of the toxic.
        name: String,
        /// The reason.
        reason: Invalid,
    },
    /// An effect of another kind cannot replace the effect of a toxic.
    #[error("toxic `{name}` is of the type {kind}: remove it to add one of the type {new}")]
    KindChange {
        /// The name of the toxic.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// The kind of the new effect.
        new: &'static str,
    },
    /// No toxic of the proxy has this name.
    #[error("toxic not found: `{name}`")]
    ToxicNotFound {
        /// The name.
        name: String,
    },
    /// Another toxic of the proxy has this name.
    #[error("toxic already exists: `{name}`")]
    ToxicExists {
        /// The name.
        name: String,
    },
    /// There are too many proxies, or too many toxics in one proxy.
    #[error("too many {what}: the limit is {limit}")]
    TooMany {
        /// `proxies` or `toxics`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The token is too short.
    #[error("the token has {length} bytes: use at least {shortest}")]
    ShortToken {
        /// Its length in bytes.
        length: usize,
        /// The minimum length in bytes.
        shortest: usize,
    },
}

/// The reason why a value of a toxic is invalid.
///
/// ```
/// use resilient_chaos::proxy::Invalid;
///
/// let text = Invalid::Toxicity { toxicity: 1.5 }.to_string();
/// assert_eq!(text, "toxicity is 1.5: use a number from 0 to 1");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The toxicity is not between 0 and 1.
    #[error("toxicity is {toxicity}: use a number from 0 to 1")]
    Toxicity {
        /// The value.
        toxicity: f64,
    },
    /// A time is too long.
    #[error("{name} is {value:?}: use at most 30 days")]
    Time {
        /// The attribute.
        name: &'static str,
        /// The value.
        value: Duration,
    },
    /// Slices of no bytes would never transfer the data.
    #[error("average_size is 0: use at least 1")]
    SliceSize,
    /// The variation of a slice is not less than its size.
    #[error("size_variation is {size_variation}: use less than average_size, which is {average_size}")]
    SliceVariation {
        /// The average size of a slice.
        average_size: usize,
        /// Its variation.
        size_variation: usize,
    },
    /// An attribute is not an integer, or is negative or too large.
    #[error("attribute `{name}` is {value}: use an integer from 0 to {most}")]
    Attribute {
        /// The attribute.
        name: String,
        /// The value.
        value: String,
        /// The maximum.
        most: u64,
    },
    /// The toxic has no such attribute.
    #[error("unknown attribute `{name}`: {kind} has {known}")]
    UnknownAttribute {
        /// The attribute.
        name: String,
        /// The kind of the toxic.
        kind: &'static str,
        /// Its attributes.
        known: String,
    },
}
