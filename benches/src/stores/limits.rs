//! Shared rate limits, and a token bucket in Lua as one writes it by hand.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Script;
use resilient_runtime::rate_limit::{Config, Mode, Rate};
use resilient_runtime::{Component, RateLimiter, Registry};

use crate::measure;
use crate::server::Server;
use crate::times::{Row, Times};

/// In each round.
const COUNT: usize = 1000;
const CALLERS: usize = 64;
const SPAN: Duration = Duration::from_secs(2);

/// GCRA in one script, with the time of the server.
const BY_HAND: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if tat + interval - now > interval * burst then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', tat + interval), 'PX', math.ceil((tat + interval - now) / 1000) + 1)
return 1";

pub(crate) async fn round_trip(server: &Server) -> Result<Times, Box<dyn Error>> {
    let mut connection = server.connection().await?;
    let ping = async |_| redis::cmd("PING").query_async::<String>(&mut connection).await.map(drop);
    Ok(measure(COUNT, ping).await?)
}

pub(crate) async fn by_hand(server: &Server) -> Result<Times, Box<dyn Error>> {
    let (mut connection, script) = (server.connection().await?, Script::new(BY_HAND));
    let take = async |_| {
        let invocation =
            script.key("by_hand").arg(1).arg(1_000_000).invoke_async::<u32>(&mut connection).await;
        invocation.map(drop)
    };
    Ok(measure(COUNT, take).await?)
}

fn limiter(
    registry: &Registry,
    name: &str,
    rate: &str,
    mode: Mode,
) -> Result<Arc<RateLimiter>, Box<dyn Error>> {
    let limiter = registry.rate_limiter(name);
    let config = Config::default().rate(rate.parse::<Rate>()?).store("shared").mode(mode);
    limiter.reconfigure(config)?;
    Ok(limiter)
}

pub(crate) async fn exact(server: &Server) -> Result<Times, Box<dyn Error>> {
    let registry = server.instance()?;
    let limiter = limiter(&registry, "exact", "1000000/s", Mode::Exact)?;
    Ok(measure(COUNT, async |_| limiter.acquire().await.map(drop)).await?)
}

/// Seconds that `CALLERS` tasks took. Each gets its number, and when it ends.
async fn seconds<F: Future<Output = ()> + Send + 'static>(work: impl Fn(usize, Instant) -> F) -> f64 {
    let began = Instant::now();
    let tasks: Vec<_> = (0..CALLERS).map(|number| tokio::spawn(work(number, began + SPAN))).collect();
    for task in tasks {
        let _ = task.await;
    }
    began.elapsed().as_secs_f64()
}

pub(crate) async fn by_hand_many(server: &Server) -> Result<f64, Box<dyn Error>> {
    let (connection, count) = (server.connection().await?, Arc::new(AtomicU64::new(0)));
    let script = Arc::new(Script::new(BY_HAND));
    let took = seconds(|_, until| {
        let (mut connection, script, count) = (connection.clone(), Arc::clone(&script), Arc::clone(&count));
        async move {
            while Instant::now() < until {
                let taken =
                    script.key("by_hand").arg(1).arg(1_000_000).invoke_async::<u32>(&mut connection).await;
                count.fetch_add(u64::from(taken.is_ok()), Ordering::Relaxed);
            }
        }
    });
    let took = took.await;
    Ok(count.load(Ordering::Relaxed) as f64 / took)
}

/// All callers with one limit, or each with its own key.
pub(crate) async fn exact_many(server: &Server, has_keys: bool) -> Result<f64, Box<dyn Error>> {
    let registry = server.instance()?;
    let limiter = limiter(&registry, "exact_many", "10000000/s", Mode::Exact)?;
    let count = Arc::new(AtomicU64::new(0));
    let took = seconds(|number, until| {
        let (limiter, count) = (Arc::clone(&limiter), Arc::clone(&count));
        async move {
            while Instant::now() < until {
                let taken =
                    if has_keys { limiter.acquire_key(&number).await } else { limiter.acquire().await };
                count.fetch_add(u64::from(taken.is_ok()), Ordering::Relaxed);
            }
        }
    });
    let took = took.await;
    Ok(count.load(Ordering::Relaxed) as f64 / took)
}

/// Four instances with one limit, each asked as often as one thread can.
pub(crate) async fn lease(server: &Server) -> Result<Vec<Row>, Box<dyn Error>> {
    const RATE: f64 = 50_000.0;
    let registries = (0..4).map(|_| server.instance()).collect::<Result<Vec<_>, _>>()?;
    let limiters: Result<Vec<_>, _> =
        registries.iter().map(|registry| limiter(registry, "lease", "50000/s", Mode::Lease)).collect();
    let before = server.scripts().await?;
    let began = Instant::now();
    let threads: Vec<_> = limiters?
        .into_iter()
        .map(|limiter| {
            std::thread::spawn(move || {
                let (mut decisions, mut admitted) = (0_u64, 0_u64);
                while began.elapsed() < SPAN {
                    for _ in 0..64 {
                        admitted += u64::from(limiter.try_acquire().is_ok());
                    }
                    decisions += 64;
                }
                (decisions, admitted)
            })
        })
        .collect();
    let counts: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    let took = began.elapsed().as_secs_f64();
    let requests = server.scripts().await? - before;
    let (decisions, admitted) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    // The burst of the default settings is the number of calls in the rate.
    let most = RATE * took + RATE;
    let share = admitted as f64 / most * 100.0;
    Ok(vec![
        Row::rate("shared limit, `lease`, 50 000/s, 4 instances: decisions", decisions as f64 / took),
        Row::rate("the same: requests to the server", requests as f64 / took),
        Row::text("the same: admitted", format!("{admitted} of at most {most:.0} ({share:.1} %)")),
    ])
}
