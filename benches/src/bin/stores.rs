//! Times of shared limits, idempotency, circuits and the distributed cache with a real Redis, beside a bare round trip.
//!
//! `cargo run --release -p resilient-benches --features stores --bin stores` writes `benches/STORES.md`; `-- --print`
//! only prints it.

#[path = "../stores/failures.rs"]
mod failures;
#[path = "../stores/limits.rs"]
mod limits;
#[path = "../stores/records.rs"]
mod records;
#[path = "../stores/server.rs"]
mod server;
#[path = "../stores/times.rs"]
mod times;

use std::error::Error;
use std::fmt::Write;

use server::Server;
use times::{Row, Times};

/// Number of rounds in which single operations are measured.
const ROUNDS: usize = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut server = Server::start().await?;
    let Single { bare, bucket, exact, by_hand, claim } = Single::measured(&server).await?;
    let mut rows = vec![
        Row::times("bare round trip (`PING`)", &bare, None),
        Row::times("token bucket in Lua, written by hand", &bucket, Some(&bare)),
        Row::times("shared limit, `exact`", &exact, Some(&bare)),
    ];
    rows.push(Row::rate("token bucket in Lua by hand, 64 callers", limits::by_hand_many(&server).await?));
    rows.push(Row::rate("shared limit, `exact`, 64 callers", limits::exact_many(&server, false).await?));
    rows.push(Row::rate("the same, each with its own key", limits::exact_many(&server, true).await?));
    rows.extend(limits::lease(&server).await?);
    rows.push(Row::times("claim by hand (`SET NX GET PX`)", &by_hand, Some(&bare)));
    rows.push(Row::times("idempotency: claim", &claim, Some(&bare)));
    rows.push(Row::times("circuit opened elsewhere, by push", &records::circuit(&server).await?, None));
    rows.extend(failures::rows(&mut server).await?);
    let mut text = "# Benchmarks with Redis\n\n".to_owned();
    writeln!(
        text,
        "redis-server {} on the same machine ({} cores), loopback. Times are p50 / p99.\n",
        server.version(),
        cores()
    )?;
    writeln!(text, "| what | result | ratio to the bare round trip |\n|---|---|---|")?;
    for row in &rows {
        writeln!(text, "{row}")?;
    }
    writeln!(
        text,
        "\nWritten by `cargo run --release -p resilient-benches --features stores --bin stores`."
    )?;
    print!("{text}");
    if !std::env::args().any(|argument| argument == "--print") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/STORES.md"), text)?;
    }
    Ok(())
}

/// The times of single operations.
#[derive(Default)]
struct Single {
    bare: Times,
    bucket: Times,
    exact: Times,
    by_hand: Times,
    claim: Times,
}

impl Single {
    /// Measures them in turn. All threads can be on one core for some seconds, which makes each operation several times faster.
    async fn measured(server: &Server) -> Result<Self, Box<dyn Error>> {
        let mut all = Self::default();
        for _ in 0..ROUNDS {
            all.bare.extend(limits::round_trip(server).await?);
            all.bucket.extend(limits::by_hand(server).await?);
            all.exact.extend(limits::exact(server).await?);
            all.by_hand.extend(records::by_hand(server).await?);
            all.claim.extend(records::claim(server).await?);
        }
        Ok(all)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}

/// Repeats an operation and measures each of its runs.
pub(crate) async fn measure<E>(
    count: usize,
    mut operation: impl AsyncFnMut(usize) -> Result<(), E>,
) -> Result<Times, E> {
    // The first runs open the connection and load the script.
    for number in 0..100 {
        operation(number).await?;
    }
    let mut times = Times::default();
    for number in 0..count {
        let began = std::time::Instant::now();
        operation(number).await?;
        times.add(began.elapsed());
    }
    Ok(times)
}
