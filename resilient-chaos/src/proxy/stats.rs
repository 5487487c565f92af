//! Numbers of connections of a proxy.

/// Numbers of connections of a proxy.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
/// use resilient_chaos::proxy::{Proxy, ProxyStats};
///
/// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
/// assert_eq!(proxy.stats(), ProxyStats::default());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// Connections that were accepted since the start, including rejected and failed ones.
    pub accepted: u64,
    /// Connections that were closed because the limit of open connections was reached.
    pub rejected: u64,
    /// Connections that were closed because the upstream was not reachable.
    pub failed: u64,
    /// Open connections.
    pub open: usize,
    /// Directions of open connections that at least one toxic affects. Each connection has two directions.
    pub affected: usize,
}
