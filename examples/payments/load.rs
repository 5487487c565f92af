//! A gentle load, so that there is something to see, and an outage that plays by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::gateway::{Faults, Gateway};

/// Sends so many orders a second, over HTTP like everybody else.
pub(crate) async fn run(service: SocketAddr, orders_a_second: u32) {
    if orders_a_second == 0 {
        return;
    }
    let mut clock = tokio::time::interval(Duration::from_secs(1) / orders_a_second);
    for number in 1_u64.. {
        clock.tick().await;
        // Some customers ask again for what they ordered before.
        let order = if number.is_multiple_of(7) { number / 7 } else { number };
        tokio::spawn(async move {
            // What became of it shows in the statistics.
            let _ = send(service, order).await;
        });
    }
}

async fn send(service: SocketAddr, order: u64) -> std::io::Result<()> {
    let body = format!(r#"{{"order_id": "load-{order}", "cents": {}}}"#, 100 + order % 900);
    let request = format!(
        "POST /api/resilience/protected-endpoint HTTP/1.1\r\nhost: {service}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(service).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map(drop)
}

/// The story: all is well, the gateway slows down, fails, and recovers.
pub(crate) async fn scenario(gateway: Arc<Gateway>) {
    let slow = Faults { latency_ms: 350, ..Faults::default() };
    let failing = Faults { error_rate: 0.9, hang_rate: 0.1, ..Faults::default() };
    let acts = [
        ("all is well", Faults::default(), 15),
        ("the gateway gets slow", slow, 20),
        ("the gateway fails: the circuit opens, and fallbacks answer", failing, 30),
        ("the gateway is well again: probes find out, and the circuit closes", Faults::default(), 30),
    ];
    loop {
        for (what, faults, seconds) in &acts {
            println!("scenario: {what}");
            gateway.set_faults(faults.clone());
            sleep(Duration::from_secs(*seconds)).await;
        }
    }
}
