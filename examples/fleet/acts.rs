//! The steps that the fleet shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::http::{self, Response};
use crate::options::Options;
use crate::processes::Process;
use crate::redis::Redis;

/// The limit in `instance.rs`.
const QUOTES: (f64, f64) = (100.0, 20.0);
/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(3);
/// Upper limit for a state that is expected to come soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// One line of the report.
struct Step {
    what: &'static str,
    expected: String,
    seen: String,
    is_expected: bool,
}

pub(crate) struct Fleet {
    options: Options,
    gateway: Arc<Gateway>,
    gateway_address: SocketAddr,
    redis: Redis,
    instances: Vec<Process>,
    steps: Vec<Step>,
}

impl Fleet {
    pub(crate) async fn start(options: &Options) -> Result<Self, String> {
        let redis = Redis::start().await?;
        let gateway = Arc::new(Gateway::default());
        let gateway_address = gateway.serve(options.port).await?;
        let url = redis.url();
        println!("Redis      {url}");
        let mut instances = Vec::new();
        for number in 1..=3 {
            instances.push(Process::start(options, number, gateway_address, &url)?);
        }
        for (number, instance) in (1..).zip(&mut instances) {
            instance.responds().await?;
            println!("instance {number} http://{}/dashboard", instance.address);
        }
        println!("token      {}\n", options.token);
        Ok(Self { options: options.clone(), gateway, gateway_address, redis, instances, steps: Vec::new() })
    }

    /// Plays all steps and prints the report. Returns whether everything was as expected.
    pub(crate) async fn play(&mut self) -> Result<bool, String> {
        self.one_limit().await;
        self.one_order().await;
        self.one_circuit().await;
        self.a_killed_instance().await?;
        self.redis_stopped().await?;
        println!("\n{:<44} {:<42} seen", "step", "expected");
        for Step { what, expected, seen, is_expected } in &self.steps {
            let mark = if *is_expected { "  " } else { "! " };
            println!("{mark}{what:<42} {expected:<42} {seen}");
        }
        let wrong = self.steps.iter().filter(|step| !step.is_expected).count();
        println!("\n{} of {} steps as expected", self.steps.len() - wrong, self.steps.len());
        Ok(wrong == 0)
    }

    fn note(
        &mut self,
        what: &'static str,
        expected: impl Into<String>,
        seen: impl Into<String>,
        is_expected: bool,
    ) {
        self.steps.push(Step { what, expected: expected.into(), seen: seen.into(), is_expected });
    }

    fn address(&self, number: usize) -> SocketAddr {
        self.instances[number - 1].address
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.instances.iter().map(|instance| instance.address).collect()
    }

    async fn one_limit(&mut self) {
        println!("1. All instances are asked for quotes, together more than 100 per second ..");
        let (admitted, took) = load(&self.addresses()).await;
        let most = QUOTES.0 * took.as_secs_f64() + QUOTES.1;
        let sum: u32 = admitted.iter().sum();
        let is_expected = f64::from(sum) <= most && f64::from(sum) > most / 3.0;
        let expected = format!("at most {most:.0} quotes in {:.1} s", took.as_secs_f64());
        self.note(
            "one limit over all instances",
            expected,
            format!("{sum} = {}", joined(&admitted)),
            is_expected,
        );
    }

    async fn one_order(&mut self) {
        println!("2. The same order is sent to all instances at the same time ..");
        let mut sent = JoinSet::new();
        for address in self.addresses() {
            sent.spawn(http::send("POST", address, "/orders/order-7"));
        }
        let responses = all(sent).await;
        let receipts =
            responses.iter().filter(|response| response.body.starts_with("receipt 1 of order-7")).count();
        let charged = self.gateway.charges("order-7");
        let seen = format!("charged {charged} time(s), {receipts} receipts");
        self.note(
            "an order sent to three instances",
            "charged once, 3 receipts",
            seen,
            (charged, receipts) == (1, 3),
        );
    }

    async fn one_circuit(&mut self) {
        println!("3. Instances 1 and 2 cannot reach the stock ..");
        self.gateway.cut_off([1, 2]);
        for number in [1, 2] {
            for _ in 0..4 {
                let _ = http::send("GET", self.address(number), "/stock").await;
            }
        }
        let began = Instant::now();
        let opened = until(self.address(3), "/stock", |response| response.status == 503).await;
        let seen = if opened {
            format!("rejected after {} ms", began.elapsed().as_millis())
        } else {
            "not rejected".to_owned()
        };
        self.note("the circuit of two instances opens", "instance 3 rejects calls too", seen, opened);
        self.gateway.cut_off([]);
        let mut closed = true;
        for number in 1..=3 {
            closed &= until(self.address(number), "/stock", |response| response.status == 200).await;
        }
        let seen = if closed { "closed everywhere" } else { "still open" };
        self.note("the stock can be reached again", "the circuit closes everywhere", seen, closed);
    }

    async fn a_killed_instance(&mut self) -> Result<(), String> {
        println!("4. Instance 1 is killed while it charges an order ..");
        let (first, second) = (self.address(1), self.address(2));
        let running = tokio::spawn(async move { http::send("POST", first, "/orders/slow-8").await });
        let began = Instant::now();
        while self.gateway.charges("slow-8") == 0 && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
        self.instances[0].kill();
        let _ = running.await;
        let response = http::send("POST", second, "/orders/slow-8").await;
        let response = response.map_err(|error| format!("instance 2 does not respond: {error}"))?;
        let charged = self.gateway.charges("slow-8");
        let is_expected = charged == 1 && response.status == 409;
        let seen = format!("charged {charged} time(s), {}", response.status);
        self.note(
            "the order is sent to instance 2",
            "not charged again, 409 outcome unknown",
            seen,
            is_expected,
        );
        let url = self.redis.url();
        self.instances[0] = Process::start(&self.options, 1, self.gateway_address, &url)?;
        self.instances[0].responds().await
    }

    async fn redis_stopped(&mut self) -> Result<(), String> {
        println!("5. Redis is killed, and started again ..");
        let address = self.address(1);
        // The instance that was started last must know the others. Until then it uses the whole limit.
        let knows = until(address, "/api/resilience/stats/store/shared", |response| {
            ["\"instances\":3", "\"instances\":4"].iter().any(|count| response.body.contains(count))
        });
        if !knows.await {
            return Err("instance 1 does not count the instances".to_owned());
        }
        self.redis.kill();
        let degraded = until(address, "/api/resilience/metrics", |response| {
            response.body.contains("resilient_store_degraded{name=\"shared\"} 1")
        });
        let order = until(address, "/quotes", |_| true);
        let (_, refused) = tokio::join!(order, http::send("POST", address, "/orders/order-9"));
        let refused = refused.map_err(|error| format!("instance 1 does not respond: {error}"))?;
        let is_expected = refused.status == 503 && self.gateway.charges("order-9") == 0;
        self.note("a new order without Redis", "503, not charged", refused.status.to_string(), is_expected);
        let (admitted, took) = load(&self.addresses()).await;
        let most = QUOTES.0 * took.as_secs_f64() + 3.0 * QUOTES.1;
        let sum: u32 = admitted.iter().sum();
        let is_expected = sum > 0 && f64::from(sum) <= most;
        let expected = format!("each instance limits itself, at most {most:.0}");
        self.note("quotes without Redis", expected, format!("{sum} = {}", joined(&admitted)), is_expected);
        let is_degraded = degraded.await;
        self.note(
            "the metric of the store",
            "resilient_store_degraded = 1",
            is_degraded.to_string(),
            is_degraded,
        );
        self.redis.restart().await?;
        let works = until_posted(self.address(2), "/orders/order-9", |response| response.status == 200).await;
        let charged = self.gateway.charges("order-9");
        let seen = format!("charged {charged} time(s)");
        self.note("the order when Redis is back", "charged once", seen, works && charged == 1);
        // Each instance finds by itself that the store is back.
        let mut seen = String::new();
        let is_stored = until_posted(self.address(3), "/orders/order-7", |response| {
            seen.clone_from(&response.body);
            response.body.contains("stored result")
        });
        let is_expected = is_stored.await && self.gateway.charges("order-7") == 1;
        let expected = "its stored result";
        self.note("the order of step 2 again", expected, seen, is_expected);
        Ok(())
    }

    /// Continues with a load until Ctrl-C.
    pub(crate) async fn stay(&mut self) -> Result<(), String> {
        println!("\nThe fleet continues with a load. Press Ctrl-C to stop.");
        let addresses = self.addresses();
        let load = async move {
            for number in 1_u64.. {
                let address = addresses[usize::try_from(number % 3).unwrap_or(0)];
                let order = format!("/orders/load-{}", number / 2);
                let _ = tokio::join!(
                    http::send("POST", address, &order),
                    http::send("GET", address, "/quotes"),
                    http::send("GET", address, "/stock"),
                );
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = load => Ok(()),
            stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| error.to_string()),
        }
    }
}

/// Asks all instances for quotes for some seconds. Returns how many each of them gave, and how long it took.
async fn load(addresses: &[SocketAddr]) -> (Vec<u32>, Duration) {
    let began = Instant::now();
    let mut counts = Vec::new();
    for address in addresses.iter().copied() {
        counts.push(tokio::spawn(async move {
            let mut admitted = 0;
            while began.elapsed() < LOAD {
                let quotes = (0..4).map(|_| tokio::spawn(http::send("GET", address, "/quotes")));
                for quote in quotes.collect::<Vec<_>>() {
                    let is_admitted = matches!(quote.await, Ok(Ok(Response { status: 200, .. })));
                    admitted += u32::from(is_admitted);
                }
                sleep(Duration::from_millis(20)).await;
            }
            admitted
        }));
    }
    let mut admitted = Vec::new();
    for count in counts {
        admitted.push(count.await.unwrap_or(0));
    }
    (admitted, began.elapsed())
}

/// Repeats a request until its response is as expected. Returns false if it never is.
async fn until(address: SocketAddr, path: &str, is_expected: impl Fn(&Response) -> bool) -> bool {
    repeat("GET", address, path, is_expected).await
}

async fn until_posted(address: SocketAddr, path: &str, is_expected: impl FnMut(&Response) -> bool) -> bool {
    repeat("POST", address, path, is_expected).await
}

async fn repeat(
    method: &str,
    address: SocketAddr,
    path: &str,
    mut is_expected: impl FnMut(&Response) -> bool,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if http::send(method, address, path).await.is_ok_and(|response| is_expected(&response)) {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

async fn all(mut sent: JoinSet<std::io::Result<Response>>) -> Vec<Response> {
    let mut responses = Vec::new();
    while let Some(response) = sent.join_next().await {
        responses.extend(response.ok().and_then(Result::ok));
    }
    responses
}

fn joined(counts: &[u32]) -> String {
    counts.iter().map(u32::to_string).collect::<Vec<_>>().join(" + ")
}
