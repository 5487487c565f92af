//! The gateway: a small TCP server for `CHARGE <order> <cents>`, `RATE <currency>` and `PING`, with fault injection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The injected faults. Rates are shares of the requests, from 0 to 1.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// Delay before each response, in milliseconds.
    pub(crate) latency_ms: u64,
    /// Share of requests that get an error.
    pub(crate) error_rate: f64,
    /// Status of these errors.
    pub(crate) error_code: u16,
    /// Retry delay that these errors request, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
    /// Share of requests that get no response.
    pub(crate) hang_rate: f64,
    /// Share of connections that are reset.
    pub(crate) reset_rate: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            error_rate: 0.0,
            error_code: 503,
            retry_after_ms: None,
            hang_rate: 0.0,
            reset_rate: 0.0,
        }
    }
}

impl Faults {
    /// Returns the first invalid value, if any.
    pub(crate) fn problem(&self) -> Option<String> {
        let rates =
            [("error_rate", self.error_rate), ("hang_rate", self.hang_rate), ("reset_rate", self.reset_rate)];
        for (name, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Some(format!("`{name}` = {rate} is out of range: expected a share from 0 to 1"));
            }
        }
        if self.latency_ms > 60_000 {
            return Some(format!(
                "`latency_ms` = {} is out of range: expected at most 60000",
                self.latency_ms
            ));
        }
        (!(400..600).contains(&self.error_code)).then(|| {
            format!("`error_code` = {} is out of range: expected a status from 400 to 599", self.error_code)
        })
    }
}

/// State of the gateway.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    faults: Mutex<Faults>,
    connections: AtomicU64,
    /// Receipts by order. An order is charged once, however often it is requested.
    ledger: Mutex<HashMap<String, String>>,
}

impl Gateway {
    /// Returns the current faults.
    pub(crate) fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the faults.
    pub(crate) fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Number of accepted connections.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn receipt(&self, order: &str) -> String {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounds the memory of a program that runs for a long time.
        if ledger.len() >= 10_000 && !ledger.contains_key(order) {
            ledger.clear();
        }
        let number = ledger.len() + 1;
        ledger.entry(order.to_owned()).or_insert_with(|| format!("receipt-{number}")).clone()
    }

    fn answer(&self, request: &str) -> String {
        match request.split_whitespace().collect::<Vec<_>>()[..] {
            ["PING"] => "OK pong".into(),
            ["RATE", currency] => rate(currency),
            ["CHARGE", order, cents] if cents.parse::<u64>().is_ok() => format!("OK {}", self.receipt(order)),
            _ => "ERR 400 bad-request".into(),
        }
    }
}

fn rate(currency: &str) -> String {
    match currency {
        "EUR" => "OK 1".into(),
        "USD" => "OK 0.86".into(),
        "EGP" => "OK 0.018".into(),
        _ => "ERR 404 unknown-currency".into(),
    }
}

/// Accepts connections for as long as the program runs.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                gateway.connections.fetch_add(1, Ordering::Relaxed);
                let gateway = Arc::clone(&gateway);
                tokio::spawn(async move {
                    // Connection errors of a client are ignored.
                    let _ = converse(stream, &gateway).await;
                });
            }
            Err(error) => {
                eprintln!("gateway: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut request = String::new();
    BufReader::new(&mut stream).read_line(&mut request).await?;
    let faults = gateway.faults();
    tokio::time::sleep(Duration::from_millis(faults.latency_ms)).await;
    let luck: f64 = rand::random();
    if luck < faults.reset_rate {
        // Makes the kernel send a reset when the socket is closed.
        stream.set_zero_linger()?;
        return Ok(());
    }
    if luck < faults.reset_rate + faults.hang_rate {
        // Waits until the client closes the connection.
        return stream.readable().await;
    }
    let answer = if luck < faults.reset_rate + faults.hang_rate + faults.error_rate {
        let wish = faults.retry_after_ms.map(|ms| format!(" {ms}")).unwrap_or_default();
        format!("ERR {} unavailable{wish}", faults.error_code)
    } else {
        gateway.answer(&request)
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}
