//! A server that hangs, is killed, and comes back.

use std::error::Error;
use std::time::{Duration, Instant};

use resilient_runtime::rate_limit::{Config, Mode, OnStoreFailure, Rate};
use resilient_runtime::{Component, RejectionKind, store};

use crate::server::Server;
use crate::times::{Row, Times, shown};

const TIMEOUT: Duration = Duration::from_millis(50);
const CALLS: usize = 400;

pub(crate) async fn rows(server: &mut Server) -> Result<Vec<Row>, Box<dyn Error>> {
    let registry = server.instance()?;
    registry.store("shared").reconfigure(store::Config::default().timeout(TIMEOUT))?;
    registry.use_store("shared", server.store(Duration::from_secs(1))?);
    let limiter = registry.rate_limiter("failing");
    let config = Config::default().rate("1000000/s".parse::<Rate>()?).store("shared").mode(Mode::Exact);
    limiter.reconfigure(config.on_store_failure(OnStoreFailure::Closed))?;
    let call = async || {
        let began = Instant::now();
        let is_refused =
            limiter.acquire().await.is_err_and(|error| error.kind() == RejectionKind::StoreUnavailable);
        (began.elapsed(), is_refused)
    };
    call().await;

    server.signal("-STOP")?;
    let (mut times, mut at_once) = (Times::default(), Times::default());
    for _ in 0..CALLS {
        let (took, _) = call().await;
        if took < TIMEOUT / 2 { at_once.add(took) } else { times.add(took) }
    }
    server.signal("-CONT")?;
    let hung = format!("{} (limit {})", shown(times.longest()), shown(TIMEOUT));
    let degraded = format!("{} / {}", shown(at_once.percentile(50)), shown(at_once.percentile(99)));
    until_admitted(&call).await;

    server.kill();
    let mut killed = Times::default();
    for _ in 0..CALLS {
        killed.add(call().await.0);
    }
    server.restart()?;
    server.responds().await?;
    let back = Instant::now();
    until_admitted(&call).await;
    Ok(vec![
        Row::text("Redis hangs: longest wait of a call", hung),
        Row::text("Redis hangs: the store is degraded", degraded),
        Row::times("Redis is killed: a call fails after", &killed, None),
        Row::text("Redis is killed: longest", shown(killed.longest())),
        Row::text("Redis is back: shared again after", shown(back.elapsed())),
    ])
}

async fn until_admitted(call: &impl AsyncFn() -> (Duration, bool)) {
    while call().await.1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
