//! A separate pipeline for each host that a client calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use resilient_runtime::registry::PipelineBuilder;
use resilient_runtime::{Pipeline, Registry};

/// The default maximum number of hosts that have a separate pipeline.
const DEFAULT_MAX_HOSTS: usize = 1024;

type Build = dyn Fn(PipelineBuilder, &str) -> PipelineBuilder + Send + Sync;

/// A separate [`Pipeline`] for each host that a client calls.
///
/// With separate pipelines, a failing host does not open the circuit breaker of the other hosts.
///
/// # Names
/// The pipeline of a host is built when the host is called for the first time, and its operation is named `http HOST`. The
/// build function receives the same `HOST`: `example.com:443`, in lower case, without user and password, always with the
/// port. Use it as the name of each component that the host must have for itself. All hosts share the components that have
/// another name.
///
/// # Limit
/// [`at_most`](Self::at_most) and the number of names that a registry accepts limit the number of hosts. The hosts beyond
/// the limit share one pipeline, which is built for [`PerHost::OTHERS`], and a warning is logged once. This shared pipeline
/// never has a circuit breaker, because one dead host would open it for all the others; a circuit breaker that the build
/// function adds is removed. The hosts share its other components, such as its bulkhead and its retry budget.
///
/// # Examples
/// ```
/// use resilient_runtime::{Component, Registry};
/// use resilient_http::PerHost;
///
/// let registry = Registry::new();
/// let hosts = PerHost::new(&registry, |pipeline, host| {
///     pipeline.retry("web").timeout("web").circuit_breaker(host) // one retry budget for all
/// });
/// registry.circuit_breaker("dead.example:443").force_open();
/// assert!(hosts.pipeline("https", "dead.example", None).call(|| Some(1)).is_none());
/// assert!(hosts.pipeline("https", "live.example", None).call(|| Some(1)).is_some());
/// assert!(hosts.pipeline("https", "DEAD.example", Some(443)).call(|| Some(1)).is_none(), "the same host");
/// ```
pub struct PerHost {
    registry: Registry,
    build: Box<Build>,
    most: usize,
    hosts: RwLock<HashMap<Box<str>, Arc<Pipeline>>>,
    others: OnceLock<Arc<Pipeline>>,
}

impl PerHost {
    /// The `HOST` name of the shared pipeline.
    ///
    /// Hosts beyond the limit and requests without a host use this pipeline.
    pub const OTHERS: &str = "other hosts";

    /// Creates per-host pipelines in `registry`.
    ///
    /// For each host, `build` receives an empty builder and the name of the host (`example.com:443`).
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::PerHost;
    ///
    /// let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.circuit_breaker(host));
    /// assert_eq!(hosts.pipeline("http", "example.com", None).name(), "http example.com:80");
    /// ```
    pub fn new(
        registry: &Registry,
        build: impl Fn(PipelineBuilder, &str) -> PipelineBuilder + Send + Sync + 'static,
    ) -> Self {
        Self {
            registry: registry.clone(),
            build: Box::new(build),
            most: DEFAULT_MAX_HOSTS,
            hosts: RwLock::default(),
            others: OnceLock::new(),
        }
    }

    /// Sets how many hosts can have a separate pipeline; 1024 by default.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::PerHost;
    ///
    /// let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.circuit_breaker(host)).at_most(1);
    /// assert_eq!(hosts.pipeline("http", "a.example", None).name(), "http a.example:80");
    /// assert_eq!(hosts.pipeline("http", "b.example", None).name(), "http other hosts");
    /// assert_eq!(hosts.pipeline("http", "a.example", None).name(), "http a.example:80", "keeps its own");
    /// ```
    #[must_use]
    pub fn at_most(self, hosts: usize) -> Self {
        Self { most: hosts, ..self }
    }

    /// Returns the pipeline of a host, and builds it on first use.
    ///
    /// This is for clients that [`ReqwestMiddleware`](crate::ReqwestMiddleware) and
    /// [`HttpClientLayer`](crate::layer::HttpClientLayer) do not support. If `port` is `None`, the default port of `scheme`
    /// is used: 443 for `https` and `wss`, and 80 for every other scheme.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::PerHost;
    ///
    /// let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.bulkhead(host));
    /// let pipeline = hosts.pipeline("https", "api.example.com.", None);
    /// assert_eq!(pipeline.name(), "http api.example.com:443");
    /// ```
    pub fn pipeline(&self, scheme: &str, host: &str, port: Option<u16>) -> Arc<Pipeline> {
        match authority(scheme, host, port) {
            Some(host) => self.of(&host),
            None => self.others(),
        }
    }

    fn of(&self, host: &str) -> Arc<Pipeline> {
        let known = self.hosts.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some(pipeline) = known {
            return pipeline;
        }
        // The pipeline is built without the lock, because the build function can call `pipeline` for another host.
        let is_full = || self.hosts.read().unwrap_or_else(PoisonError::into_inner).len() >= self.most;
        if is_full() {
            return self.others();
        }
        let made = self.build(host);
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Arc::clone(known);
        }
        if hosts.len() >= self.most {
            drop(hosts);
            return self.others();
        }
        hosts.insert(host.into(), Arc::clone(&made));
        made
    }

    fn others(&self) -> Arc<Pipeline> {
        let made = || {
            tracing::warn!(
                target: "resilient_http",
                most = self.most,
                "requests beyond the host limit of `PerHost::at_most`, or without a host, share the pipeline `http {}`",
                Self::OTHERS
            );
            self.build(Self::OTHERS)
        };
        Arc::clone(self.others.get_or_init(made))
    }

    fn build(&self, host: &str) -> Arc<Pipeline> {
        let builder = (self.build)(self.registry.pipeline(&format!("http {host}")), host);
        let builder = if host == Self::OTHERS { builder.without_circuit_breaker() } else { builder };
        Arc::new(builder.build())
    }

    /// Returns the pipeline for the host in the request target, or in the `Host` header if the target is only a path.
    pub(crate) fn of_request<B>(&self, request: &http::Request<B>) -> Arc<Pipeline> {
        let uri = request.uri();
        let of_header = || request.headers().get(http::header::HOST)?.to_str().ok()?.parse().ok();
        let Some(authority) = uri.authority().cloned().or_else(of_header) else {
            return self.others();
        };
        self.pipeline(uri.scheme_str().unwrap_or("http"), authority.host(), authority.port_u16())
    }
}

impl fmt::Debug for PerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("PerHost").field("hosts", &hosts).field("most", &self.most).finish_non_exhaustive()
    }
}

/// Returns the normalized `host:port` of an authority, or `None` if there is no host.
fn authority(scheme: &str, host: &str, port: Option<u16>) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let usual = || match scheme {
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => 443,
        _ => 80,
    };
    let mut authority = host.to_ascii_lowercase();
    let port = port.unwrap_or_else(usual).to_string();
    authority.reserve_exact(port.len() + 1);
    authority.push(':');
    authority.push_str(&port);
    Some(authority)
}

/// Selects the pipeline of a request.
#[derive(Clone)]
pub(crate) enum Pipelines {
    One(Arc<Pipeline>),
    PerHost(Arc<PerHost>),
}

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(pipeline) => pipeline.name().fmt(f),
            Self::PerHost(hosts) => hosts.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_an_authority_have_the_same_name() {
        let of = |scheme: &str, host: &str, port| authority(scheme, host, port).unwrap();
        assert_eq!(of("https", "Example.COM", None), "example.com:443");
        assert_eq!(of("HTTPS", "example.com.", Some(443)), "example.com:443");
        assert_eq!(of("http", "example.com", None), "example.com:80");
        assert_eq!(of("http", "example.com", Some(8080)), "example.com:8080");
        assert_eq!(of("http", "[::1]", None), "[::1]:80");
        assert_eq!(authority("http", "", Some(80)), None);
        assert_eq!(authority("http", ".", None), None);
    }

    #[test]
    fn hosts_beyond_the_limit_share_one_pipeline() {
        let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.bulkhead(host)).at_most(3);
        let names = |range: std::ops::Range<u32>| -> Vec<String> {
            let of = |n: u32| hosts.pipeline("http", &format!("h{n}"), None).name().to_owned();
            range.map(of).collect()
        };
        assert_eq!(names(0..3), ["http h0:80", "http h1:80", "http h2:80"]);
        assert!(names(3..1000).iter().all(|name| name == "http other hosts"));
        assert_eq!(names(0..1), ["http h0:80"]);
        assert_eq!(hosts.hosts.read().unwrap().len(), 3);
    }

    #[test]
    fn a_dead_host_beyond_the_limit_does_not_open_the_circuit_of_the_others() {
        let registry = Registry::new();
        let hosts = PerHost::new(&registry, |pipeline, host| pipeline.circuit_breaker(host)).at_most(1);
        let call = |host: &str, result: Option<u32>| hosts.pipeline("http", host, None).call(|| result);
        assert_eq!(call("a.first", Some(1)), Some(1));
        for _ in 0..100 {
            assert_eq!(call("b.dead", None), None);
            assert_eq!(call("c.alive", Some(1)), Some(1));
        }
        let stages = hosts.pipeline("http", "c.alive", None).explain().stages;
        assert!(stages.is_empty(), "{stages:?}");
        assert!(!hosts.pipeline("http", "a.first", None).explain().stages.is_empty(), "keeps its own");
    }

    #[test]
    fn the_host_comes_from_the_request_target_or_the_host_header() {
        let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.bulkhead(host));
        let of = |uri: &str, host: Option<&str>| {
            let request = http::Request::get(uri);
            let request = host.into_iter().fold(request, |request, host| request.header("host", host));
            hosts.of_request(&request.body(()).unwrap()).name().to_owned()
        };
        assert_eq!(of("https://user:pw@Example.com/a?b", None), "http example.com:443");
        assert_eq!(of("/a", Some("Example.com:8080")), "http example.com:8080");
        assert_eq!(of("https://a.example/", Some("b.example")), "http a.example:443");
        assert_eq!(of("/a", None), "http other hosts");
        assert_eq!(of("/a", Some("not a host")), "http other hosts");
    }
}
