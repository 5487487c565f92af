//! Compares the throughput and the latency of the fault proxy with plain copy loops of tokio, in the same run.
//!
//! ```sh
//! cargo run --release -p resilient-chaos --example proxy_throughput
//! ```
//!
//! The loops take turns, and each result is the median of all rounds, because other programs use the machine too.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use resilient_chaos::proxy::{Effect, Proxy, Toxic, ToxicGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUNDS: usize = 21;
/// Bytes of a bulk transfer from the server to the client.
const BULK: u64 = 256 << 20;
/// Messages of 64 bytes that go to the server and back, one after the other.
const MESSAGES: u32 = 5000;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let (source, echo) = (source().await?, echo().await?);
    let proxy = async |upstream: SocketAddr, toxics: Vec<Toxic>| -> Result<Proxy> {
        let proxy = Proxy::start("127.0.0.1:0", &upstream.to_string()).await?;
        toxics.into_iter().try_for_each(|toxic| proxy.add(toxic).map(ToxicGuard::keep))?;
        Ok(proxy)
    };
    let untouched = || vec![Toxic::black_hole().toxicity(0.0), Toxic::new(Effect::Noop)];
    let affected = || vec![Toxic::limit_data(u64::MAX)];
    let mut kept = Vec::new();
    let mut paths = vec![
        ("plain loop, 64 KiB buffers", plain(source, 64 << 10).await?, plain(echo, 64 << 10).await?),
        ("plain loop, 8 KiB buffers (default)", plain(source, 8 << 10).await?, plain(echo, 8 << 10).await?),
    ];
    for (name, toxics) in [
        ("proxy without toxics", &Vec::new as &dyn Fn() -> Vec<Toxic>),
        ("proxy, toxicity 0", &untouched),
        ("proxy, one toxic", &affected),
    ] {
        let (bulk, small) = (proxy(source, toxics()).await?, proxy(echo, toxics()).await?);
        paths.push((name, bulk.address(), small.address()));
        kept.push((bulk, small));
    }
    let mut results = vec![(Vec::new(), Vec::new()); paths.len()];
    for _ in 0..ROUNDS {
        for ((_, bulk, small), (rates, times)) in paths.iter().zip(&mut results) {
            rates.push(transfer(*bulk).await?);
            times.push(exchange(*small).await?);
        }
    }
    println!("{:<38}{:>10}{:>9}{:>16}{:>9}", "", "MiB/s", "ratio", "round trip, µs", "ratio");
    let results: Vec<(f64, f64)> =
        results.into_iter().map(|(rates, times)| (median(rates), median(times))).collect();
    let (base_rate, base_time) = results[0];
    for ((name, ..), (rate, time)) in paths.iter().zip(&results) {
        let (rate_ratio, time_ratio) = (rate / base_rate, time / base_time);
        println!("{name:<38}{rate:>10.0}{rate_ratio:>9.2}{time:>16.1}{time_ratio:>9.2}");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// MiB per second of a bulk transfer.
async fn transfer(address: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    let (start, mut buffer, mut received) = (Instant::now(), vec![0; 256 << 10], 0);
    while received < BULK {
        match stream.read(&mut buffer).await? {
            0 => return Err("the transfer ended early".into()),
            read => received += read as u64,
        }
    }
    Ok((BULK >> 20) as f64 / start.elapsed().as_secs_f64())
}

/// Microseconds of a small message to the server and back.
async fn exchange(address: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (start, mut buffer) = (Instant::now(), [0; 64]);
    for _ in 0..MESSAGES {
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
    }
    Ok((start.elapsed() / MESSAGES).as_nanos() as f64 / 1000.0)
}

/// Serves each connection of a new listener.
async fn serve<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(address)
}

/// A server that sends as fast as it can.
async fn source() -> Result<SocketAddr> {
    serve(async |mut stream| {
        let data = vec![7; 256 << 10];
        loop {
            stream.write_all(&data).await?;
        }
    })
    .await
}

async fn echo() -> Result<SocketAddr> {
    serve(async |mut stream| {
        stream.set_nodelay(true)?;
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read]).await?,
            }
        }
    })
    .await
}

/// A proxy that is the copy loop of tokio.
async fn plain(upstream: SocketAddr, buffer: usize) -> Result<SocketAddr> {
    serve(move |mut client| async move {
        let mut server = TcpStream::connect(upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, buffer, buffer).await.map(drop)
    })
    .await
}
