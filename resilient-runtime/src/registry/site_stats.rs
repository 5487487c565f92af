//! The annotated functions of the process and their statistics.

use serde::Serialize;

use super::Registry;
use crate::observe::OperationStats;
use crate::pipeline::Pipeline;
use crate::site::{self, Site};

/// An annotated function and its statistics.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// #[resilient_runtime::resilient(timeout = "2s", name = "look a user up")]
/// async fn user(id: u32) -> Option<u32> {
///     Some(id)
/// }
/// assert_eq!(user(7).await, Some(7));
/// let sites = resilient_runtime::registry().sites();
/// let site = sites.iter().find(|site| site.operation == "look a user up").unwrap();
/// assert!(site.asynchronous && site.function.ends_with("::user"));
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SiteStats {
    /// The name of the operation.
    pub operation: String,
    /// The path of the function, with its module.
    pub function: String,
    /// The file and line of the function.
    pub place: String,
    /// Whether the function is asynchronous.
    pub asynchronous: bool,
    /// The golden signals of the function; all zero before its first call.
    pub stats: OperationStats,
}

impl Registry {
    /// Returns all annotated functions that use this registry, whether called or not.
    ///
    /// ```
    /// #[resilient_runtime::resilient(bulkhead = "mail", name = "send a mail")]
    /// fn send() -> Option<()> {
    ///     Some(())
    /// }
    /// assert_eq!(send(), Some(()));
    /// let sites = resilient_runtime::registry().sites();
    /// let site = sites.iter().find(|site| site.operation == "send a mail").unwrap();
    /// assert_eq!((site.stats.calls, site.stats.succeeded), (1, 1));
    /// ```
    pub fn sites(&self) -> Vec<SiteStats> {
        let operation = |site: &'static Site| {
            if self.is_global() {
                return (!site.meta().own_registry).then(|| site.resolved().map(Pipeline::stats));
            }
            let key = std::ptr::from_ref(site).addr();
            self.0.pipelines.lock().get(&key).map(|pipeline| Some(pipeline.stats()))
        };
        let described = |site: &'static Site| {
            let stats = operation(site)?.unwrap_or_default();
            let meta = site.meta();
            Some(SiteStats {
                operation: site.operation_name(),
                function: format!("{}::{}", meta.module, meta.function),
                place: site.place().to_string(),
                asynchronous: meta.asynchronous,
                stats,
            })
        };
        site::all().into_iter().filter_map(described).collect()
    }
}
