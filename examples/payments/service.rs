//! The payment service: everything that this library does, on two functions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use resilient::{Failure, Priority, resilient};
use serde::{Deserialize, Serialize};

use crate::client::{self, ChargeError};

/// What a customer wants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // as it is called in the JSON
pub(crate) struct Order {
    pub(crate) order_id: String,
    pub(crate) cents: u64,
    /// One who pays for it is served before the others when there is a queue.
    #[serde(default)]
    pub(crate) express: bool,
}

impl Order {
    /// What is wrong with the order, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let printable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.order_id.is_empty() || self.order_id.len() > 64 || !self.order_id.chars().all(printable) {
            return Some("`order_id` is 1 to 64 letters, digits, `-`, `_` or `.`");
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
    pub(crate) order_id: String,
    /// `charged`, or `queued` for later.
    pub(crate) status: &'static str,
    pub(crate) receipt: Option<String>,
    /// Who answered: `gateway`, or a level of the fallback.
    pub(crate) level: &'static str,
    /// Whether it is less than the real answer.
    pub(crate) degraded: bool,
}

/// What the service knows.
#[derive(Debug)]
pub(crate) struct Service {
    gateway: SocketAddr,
    /// Receipts of orders that were charged, for customers who ask again in an outage.
    receipts: Mutex<HashMap<String, String>>,
    queued: Mutex<Vec<Order>>,
}

/// How many receipts and queued orders are kept at most.
const KEPT: usize = 10_000;

impl Service {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self { gateway, receipts: Mutex::default(), queued: Mutex::default() }
    }

    /// Charges an order: retried within a budget, cut off by a circuit breaker, isolated by a bulkhead, bounded
    /// in time; and if all that fails, answered from memory or put into a queue. The gateway charges an order
    /// once however often it is asked, so it may be asked again even when an answer was lost.
    #[resilient(
        name = "charge",
        circuit_breaker("payment", window = "10s", min_calls = 5, failure_rate = "50%", open_for = "2s", open_max = "10s", half_open_calls = 2),
        retry("payment", max = 2, base = "20ms", max_delay = "200ms", budget(ratio = "20%", reserve = 5)),
        bulkhead("gateway", max_concurrent = 32, max_queue = 64, max_wait = "200ms", reserve(high = 4)),
        priority = order.priority(),
        timeout("payment", total = "1500ms", attempt = "400ms"),
        idempotent,
        fallback(local_cache = self.known(order), default = |failure| self.queue(order, failure))
    )]
    pub(crate) async fn charge(&self, order: &Order) -> Result<Answer, ChargeError> {
        let receipt = client::charge(self.gateway, &order.order_id, order.cents).await?;
        self.remember(order, &receipt);
        Ok(Answer::charged(order, receipt, "gateway"))
    }

    /// Asks whether the gateway is there; shares the circuit breaker of the charges.
    #[resilient(name = "ping", circuit_breaker = "payment", timeout = "1s")]
    pub(crate) async fn ping(&self) -> Result<String, ChargeError> {
        client::ping(self.gateway).await
    }

    fn remember(&self, order: &Order, receipt: &str) {
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        if receipts.len() < KEPT {
            receipts.insert(order.order_id.clone(), receipt.to_owned());
        }
    }

    fn known(&self, order: &Order) -> Result<Answer, ChargeError> {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        match receipts.get(&order.order_id) {
            Some(receipt) => Ok(Answer::charged(order, receipt.clone(), "local_cache")),
            None => Err(ChargeError::Protocol("no receipt in memory".into())),
        }
    }

    fn queue(&self, order: &Order, failure: &Failure<ChargeError>) -> Result<Answer, ChargeError> {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if queued.len() >= KEPT {
            return Err(ChargeError::Protocol(format!("the queue is full, and the gateway: {failure:?}")));
        }
        queued.push(order.clone());
        let order_id = order.order_id.clone();
        Ok(Answer { order_id, status: "queued", receipt: None, level: "default", degraded: true })
    }
}

impl Answer {
    fn charged(order: &Order, receipt: String, level: &'static str) -> Self {
        let degraded = level != "gateway";
        Self { order_id: order.order_id.clone(), status: "charged", receipt: Some(receipt), level, degraded }
    }
}
