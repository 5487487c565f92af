//! Values of probes that do not come from the statistics: HTTP requests and functions of the program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::Registry;
use tokio::task::JoinSet;

use crate::probe::{Address, Measure, Outside, ProbeSpec, get};

/// Functions that provide values of custom probes, by name.
pub(super) type Functions = BTreeMap<String, Arc<dyn Fn(&Registry) -> Option<f64> + Send + Sync>>;

/// The requests and functions of an experiment. Dropping it cancels the requests.
pub(super) struct World {
    registry: Registry,
    functions: Functions,
    requests: BTreeMap<String, Request>,
    tasks: JoinSet<(String, bool)>,
}

struct Request {
    address: Address,
    status: u16,
    timeout: Duration,
    every: Duration,
    next: Duration,
    is_running: bool,
    last: Option<bool>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new<'p>(
        registry: &Registry,
        functions: Functions,
        probes: impl Iterator<Item = &'p ProbeSpec>,
    ) -> Self {
        let request = |probe: &ProbeSpec| {
            let Measure::Http { url, status, timeout, every } = &probe.measure else { return None };
            let address = Address::parse(url).ok()?;
            let (status, timeout, every) = (*status, *timeout, *every);
            let request = Request {
                address,
                status,
                timeout,
                every,
                next: Duration::ZERO,
                is_running: false,
                last: None,
            };
            Some((probe.id.clone(), request))
        };
        let requests = probes.filter_map(request).collect();
        Self { registry: registry.clone(), functions, requests, tasks: JoinSet::new() }
    }

    /// Starts the requests that are due, and takes the results of the requests that ended.
    pub(super) fn step(&mut self, now: Duration) {
        while let Some(Ok((id, holds))) = self.tasks.try_join_next() {
            if let Some(request) = self.requests.get_mut(&id) {
                request.is_running = false;
                request.last = Some(holds);
            }
        }
        for (id, request) in &mut self.requests {
            if request.is_running || now < request.next {
                continue;
            }
            request.next = now + request.every;
            request.is_running = true;
            let (id, address, timeout, expected) =
                (id.clone(), request.address.clone(), request.timeout, request.status);
            self.tasks.spawn(async move { (id, get(&address, timeout).await == Some(expected)) });
        }
    }
}

impl Outside for World {
    fn http(&self, id: &str) -> Option<bool> {
        self.requests.get(id)?.last
    }

    fn custom(&self, name: &str) -> Option<f64> {
        self.functions.get(name).and_then(|function| function(&self.registry))
    }
}
