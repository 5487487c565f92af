//! The payment service: most of what this library does, on four functions.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use resilient_runtime::{Degradation, Failure, Priority, Rejection, RejectionKind, replayed, resilient};
use serde::{Deserialize, Serialize};

use crate::client::{self, ChargeError};

/// What a customer wants.
#[derive(Clone, Debug, Deserialize, Hash)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // as it is called in the JSON
pub(crate) struct Order {
    /// The same order is charged once, however often it is sent.
    pub(crate) order_id: String,
    pub(crate) cents: u64,
    #[serde(default = "euro")]
    pub(crate) currency: String,
    /// Each customer has a limit of its own.
    #[serde(default)]
    pub(crate) customer: String,
    /// One who pays for it is served before the others when there is a queue.
    #[serde(default)]
    pub(crate) express: bool,
}

fn euro() -> String {
    "EUR".into()
}

impl Order {
    /// What is wrong with the order, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let printable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.order_id.is_empty() || self.order_id.len() > 64 || !self.order_id.chars().all(printable) {
            return Some("`order_id` is 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        if self.customer.len() > 64 || !self.customer.chars().all(printable) {
            return Some("`customer` is up to 64 letters, digits, `-`, `_` or `.`");
        }
        if self.currency.len() != 3 || !self.currency.chars().all(|c| c.is_ascii_uppercase()) {
            return Some("`currency` is three capital letters");
        }
        (self.cents == 0 || self.cents > 10_000_000).then_some("`cents` is 1 to 10000000")
    }

    fn priority(&self) -> Priority {
        if self.express { Priority::High } else { Priority::Normal }
    }
}

/// What the customer is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    charge: Charge,
    /// Euros for one of the order's currency.
    rate: f64,
    /// Who answered: `gateway`, or the worst level of a fallback that did.
    level: &'static str,
    /// Whether it is less than the real answer, and why.
    degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Degradation>,
    /// Whether the order was charged before, and this is the answer of then.
    replayed: bool,
}

/// What became of an order; kept, and given again to who sends it again.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Charge {
    order_id: String,
    /// `charged`, or `queued` for later.
    status: Cow<'static, str>,
    receipt: Option<String>,
}

/// What the service knows.
#[derive(Debug)]
pub(crate) struct Service {
    gateway: SocketAddr,
    queued: Mutex<Vec<Order>>,
}

/// How many queued orders are kept at most.
const KEPT: usize = 10_000;

impl Service {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self { gateway, queued: Mutex::default() }
    }

    /// Takes an order: each customer so many in a second, and the least important not at all while there are too many.
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
            // Asked right behind the call: other calls may end on this thread.
            (rate, charge, replayed())
        })
        .await;
        let level = degradation.as_ref().map_or("gateway", |degradation| degradation.level.as_str());
        let degraded = degradation.is_some();
        Ok(Answer { charge: charge?, rate: rate?, level, degraded, why: degradation, replayed })
    }

    /// Charges an order once, however often it is sent: retried within a budget, cut off by a circuit breaker, isolated
    /// by a bulkhead, bounded in time; and if all that fails, put into a queue. The gateway charges an order once however
    /// often it is asked, so it may be asked again even when an answer was lost.
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

    /// What the currency is worth: the last good answer while the gateway has none, and a guess where there is not even that.
    #[resilient(
        name = "exchange",
        circuit_breaker = "payment",
        timeout("rates", total = "400ms"),
        fallback(local_cache(max_age = "10m", key = currency), default = Ok(1.0))
    )]
    async fn exchange(&self, currency: &str) -> Result<f64, ChargeError> {
        client::rate(self.gateway, currency).await
    }

    /// Asks whether the gateway is there; shares the circuit breaker of the charges.
    #[resilient(name = "ping", circuit_breaker = "payment", timeout = "1s")]
    pub(crate) async fn ping(&self) -> Result<String, ChargeError> {
        client::ping(self.gateway).await
    }

    fn queue(&self, order: &Order, failure: &Failure<ChargeError>) -> Result<Charge, ChargeError> {
        if let Some(rejection) = callers_own(failure) {
            return Err(rejection.clone().into());
        }
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if queued.len() >= KEPT {
            return Err(ChargeError::Protocol(format!("the queue is full, and the gateway: {failure:?}")));
        }
        queued.push(order.clone());
        Ok(Charge { order_id: order.order_id.clone(), status: "queued".into(), receipt: None })
    }
}

/// Failures that no queue helps against: the key is another order's, or the order was charged or is being charged.
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
