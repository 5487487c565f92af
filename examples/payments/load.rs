//! Generates a small load, and optionally simulates an outage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::gateway::{Faults, Gateway};

/// Sends orders to the service over HTTP.
pub(crate) async fn run(service: SocketAddr, orders_per_second: u32) {
    if orders_per_second == 0 {
        return;
    }
    let mut clock = tokio::time::interval(Duration::from_secs(1) / orders_per_second);
    for number in 1_u64.. {
        clock.tick().await;
        // Some customers repeat an earlier order.
        let order = if number.is_multiple_of(7) { number / 7 } else { number };
        tokio::spawn(async move {
            // The statistics show the outcome.
            let _ = send(service, order).await;
        });
    }
}

async fn send(service: SocketAddr, order: u64) -> std::io::Result<()> {
    // Ten customers, because the rate limit is per customer.
    let (cents, customer) = (100 + order % 900, order % 10);
    let body = format!(r#"{{"order_id": "load-{order}", "cents": {cents}, "customer": "load-{customer}"}}"#);
    let request = format!(
        "POST /api/resilience/protected-endpoint HTTP/1.1\r\nhost: {service}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(service).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map(drop)
}

/// Repeats a scenario: the gateway is healthy, becomes slow, fails and recovers.
pub(crate) async fn scenario(gateway: Arc<Gateway>) {
    let slow = Faults { latency_ms: 350, ..Faults::default() };
    let failing = Faults { error_rate: 0.9, hang_rate: 0.1, ..Faults::default() };
    let acts = [
        ("the gateway is healthy", Faults::default(), 15),
        ("the gateway becomes slow", slow, 20),
        ("the gateway fails: the circuit opens, and fallbacks are used", failing, 30),
        ("the gateway recovers: probes succeed, and the circuit closes", Faults::default(), 30),
    ];
    loop {
        for (what, faults, seconds) in &acts {
            println!("scenario: {what}");
            gateway.set_faults(faults.clone());
            sleep(Duration::from_secs(*seconds)).await;
        }
    }
}
