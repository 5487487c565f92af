//! The payment service: four functions that use most features of the library.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use resilient_runtime::{Degradation, Failure, Priority, Rejection, RejectionKind, replayed, resilient};
use serde::{Deserialize, Serialize};

use crate::client::{self, ChargeError};

/// An order of a customer.
#[derive(Clone, Debug, Deserialize, Hash)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // the name of the JSON field
pub(crate) struct Order {
    /// Identifies the order, which is charged once however often it is sent.
    pub(crate) order_id: String,
    pub(crate) cents: u64,
    #[serde(default = "euro")]
    pub(crate) currency: String,
    /// Identifies the customer for the rate limit.
    #[serde(default)]
    pub(crate) customer: String,
    /// An express order has high priority.
    #[serde(default)]
    pub(crate) express: bool,
}

fn euro() -> String {
    "EUR".into()
}

impl Order {
    /// Returns the first problem of the order, if any.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let printable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.order_id.is_empty() || self.order_id.len() > 64 || !self.order_id.chars().all(printable) {
            return Some("`order_id` must be 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        if self.customer.len() > 64 || !self.customer.chars().all(printable) {
            return Some("`customer` must be at most 64 letters, digits, `-`, `_` or `.`");
        }
        if self.currency.len() != 3 || !self.currency.chars().all(|c| c.is_ascii_uppercase()) {
            return Some("`currency` must be three capital letters");
        }
        (self.cents == 0 || self.cents > 10_000_000).then_some("`cents` must be 1 to 10000000")
    }

    fn priority(&self) -> Priority {
        if self.express { Priority::High } else { Priority::Normal }
    }
}

/// Response to an order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    charge: Charge,
    /// Exchange rate of the currency of the order, in euros.
    rate: f64,
    /// Source of the response: `gateway`, or the lowest fallback level that was used.
    level: &'static str,
    /// Whether a fallback level was used.
    degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Degradation>,
    /// Whether the order was charged before, and this is the stored result.
    replayed: bool,
}

/// Result of an order, which is stored and returned for repeated requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Charge {
    order_id: String,
    /// `charged`, or `queued` for later.
    status: Cow<'static, str>,
    receipt: Option<String>,
}

/// State of the service.
#[derive(Debug)]
pub(crate) struct Service {
    gateway: SocketAddr,
    queued: Mutex<Vec<Order>>,
}

/// Maximum number of queued orders.
const MAX_QUEUED: usize = 10_000;

impl Service {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self { gateway, queued: Mutex::default() }
    }

    /// Accepts an order, with a rate limit per customer and load shedding by priority.
    #[resilient(
        name = "order",
        load_shed("orders", max_in_flight = 400, target_latency = "1s"),
        priority = order.priority(),
        rate_limit("customers", rate = "50/s", burst = 100, key = &order.customer)
    )]
    pub(crate) async fn order(&self, order: &Order) -> Result<Answer, ChargeError> {
        let ((rate, charge, replayed), degradation) = Degradation::scope(async {
            let rate = self.exchange(&order.currency).await;
            let charge = self.charge(order).await;
            // Read directly after the call, because other calls can end on this thread.
            (rate, charge, replayed())
        })
        .await;
        let level = degradation.as_ref().map_or("gateway", |degradation| degradation.level.as_str());
        let degraded = degradation.is_some();
        Ok(Answer { charge: charge?, rate: rate?, level, degraded, why: degradation, replayed })
    }

    /// Charges an order once, however often it is sent.
    ///
    /// The call is protected by idempotency, a circuit breaker, retries with a budget, a bulkhead and timeouts. If it
    /// fails, the order is queued. The gateway charges an order only once, so `reexecute` is safe if a response was
    /// lost.
    #[resilient(
        name = "charge",
        idempotent("orders", key = order.order_id, ttl = "1h", on_unknown = reexecute, fingerprint = (order.cents, &order.currency)),
        circuit_breaker("payment", window = "10s", min_calls = 5, failure_rate = "50%", open_for = "2s", open_max = "10s", half_open_calls = 2),
        retry("payment", max = 2, base = "20ms", max_delay = "200ms", budget(ratio = "20%", reserve = 5)),
        bulkhead("gateway", max_concurrent = 32, max_queue = 64, max_wait = "200ms", reserve(high = 4)),
        priority = order.priority(),
        timeout("payment", total = "1500ms", attempt = "400ms"),
        fallback(default = |failure| self.queue(order, failure))
    )]
    async fn charge(&self, order: &Order) -> Result<Charge, ChargeError> {
        let receipt = client::charge(self.gateway, &order.order_id, order.cents).await?;
        Ok(Charge { order_id: order.order_id.clone(), status: "charged".into(), receipt: Some(receipt) })
    }

    /// Returns the exchange rate of a currency.
    ///
    /// If the gateway fails, returns the last known rate, or 1.0 if there is none.
    #[resilient(
        name = "exchange",
        circuit_breaker = "payment",
        timeout("rates", total = "400ms"),
        fallback(local_cache(max_age = "10m", key = currency), default = Ok(1.0))
    )]
    async fn exchange(&self, currency: &str) -> Result<f64, ChargeError> {
        client::rate(self.gateway, currency).await
    }

    /// Pings the gateway, with the circuit breaker that charges use.
    #[resilient(name = "ping", circuit_breaker = "payment", timeout = "1s")]
    pub(crate) async fn ping(&self) -> Result<String, ChargeError> {
        client::ping(self.gateway).await
    }

    fn queue(&self, order: &Order, failure: &Failure<ChargeError>) -> Result<Charge, ChargeError> {
        if let Some(rejection) = callers_own(failure) {
            return Err(rejection.clone().into());
        }
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if queued.len() >= MAX_QUEUED {
            return Err(ChargeError::Protocol(format!(
                "the queue is full, and the gateway failed: {failure:?}"
            )));
        }
        queued.push(order.clone());
        Ok(Charge { order_id: order.order_id.clone(), status: "queued".into(), receipt: None })
    }
}

/// Rejections for which queueing is wrong: the key belongs to another order, or the order was or is being charged.
fn callers_own(failure: &Failure<ChargeError>) -> Option<&Rejection> {
    match failure {
        Failure::Rejected(rejection) => {
            let kind = rejection.kind();
            let is_own = matches!(
                kind,
                RejectionKind::KeyReused | RejectionKind::InProgress | RejectionKind::StoredValueMismatch
            );
            is_own.then_some(rejection)
        }
        _ => None,
    }
}
