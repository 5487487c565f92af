//! Faults of the simulated gateway and of the components of the model.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resilient_chaos::faults::{Arm, FaultId, Faults};
use resilient_runtime::clock::Instant;
use resilient_runtime::{Registry, Rejection};
use serde_json::Value;
use tokio::task::JoinSet;

use super::ChargeError;

/// Injects faults of scenarios into the model.
pub(crate) struct Injector {
    registry: Registry,
    armed: Mutex<Vec<Leased>>,
    last: AtomicU64,
}

struct Leased {
    id: FaultId,
    fault: Value,
    rate: f64,
    seed: u64,
    until: Instant,
    seen: u64,
    injected: u64,
    /// Tasks that hold permits until they are dropped.
    _permits: JoinSet<()>,
}

impl Injector {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), armed: Mutex::default(), last: AtomicU64::new(0) }
    }

    pub(crate) fn armed(&self) -> usize {
        let now = self.registry.clock().now();
        self.armed.lock().unwrap().iter().filter(|leased| now < leased.until).count()
    }

    /// Returns the faults of this kind that hit this call.
    fn hits(&self, is_target: impl Fn(&Value) -> bool) -> Vec<Value> {
        let now = self.registry.clock().now();
        let mut hits = Vec::new();
        for leased in self.armed.lock().unwrap().iter_mut() {
            if now >= leased.until || !is_target(&leased.fault) {
                continue;
            }
            leased.seen += 1;
            let mut mixed = (leased.seed ^ leased.seen.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let share = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            if share < leased.rate {
                leased.injected += 1;
                hits.push(leased.fault.clone());
            }
        }
        hits
    }

    /// Runs the faults before a call to the gateway.
    pub(crate) async fn before(&self, operation: &str) -> Result<(), ChargeError> {
        let targets = |fault: &Value| match &fault["on"] {
            Value::String(one) => one == operation,
            Value::Array(list) => list.iter().any(|each| each == operation),
            _ => false,
        };
        for fault in self.hits(targets) {
            match fault["type"].as_str() {
                Some("latency") => {
                    let add = fault["add"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
                    tokio::time::sleep(Duration::from_secs(add)).await;
                }
                Some("error") => return Err(ChargeError::Refused),
                other => panic!("the model does not know the fault {other:?}"),
            }
        }
        Ok(())
    }

    /// Whether the store of the idempotency keys is lost.
    pub(crate) fn is_store_lost(&self) -> bool {
        !self.hits(|fault| fault["type"] == "fail_store").is_empty()
    }
}

impl Faults for Injector {
    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let mut permits = JoinSet::new();
        if arm.fault["type"] == "hold_permits" {
            for _ in 0..arm.fault["permits"].as_u64().unwrap() {
                let bulkhead = self.registry.bulkhead("gateway");
                permits.spawn(async move {
                    let _ = bulkhead.call_async(std::future::pending::<Result<(), Rejection>>).await;
                });
            }
        }
        let injected = permits.len() as u64;
        let until = self.registry.clock().now().after(arm.ttl);
        let (fault, rate, seed) = (arm.fault.clone(), arm.rate, arm.seed);
        self.armed.lock().unwrap().push(Leased { id, fault, rate, seed, until, seen: 0, injected, _permits: permits });
        Ok(id)
    }

    fn renew(&self, id: FaultId, ttl: Duration) -> bool {
        let now = self.registry.clock().now();
        let mut armed = self.armed.lock().unwrap();
        let found = armed.iter_mut().find(|leased| leased.id == id && now < leased.until);
        found.map(|leased| leased.until = now.after(ttl)).is_some()
    }

    fn set_rate(&self, id: FaultId, rate: f64) -> bool {
        let mut armed = self.armed.lock().unwrap();
        armed.iter_mut().find(|leased| leased.id == id).map(|leased| leased.rate = rate).is_some()
    }

    fn remove(&self, id: FaultId) -> bool {
        let mut armed = self.armed.lock().unwrap();
        let before = armed.len();
        armed.retain(|leased| leased.id != id);
        armed.len() < before
    }

    fn injected(&self, id: FaultId) -> Option<u64> {
        self.armed.lock().unwrap().iter().find(|leased| leased.id == id).map(|leased| leased.injected)
    }
}
