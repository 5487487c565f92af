//! Rate limits, circuits and failed logins of an instance whose connection to the server fails.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use resilient_chaos::proxy::{Proxy, Toxic, TransferRate};
use resilient_http::LoginGuard;
use resilient_runtime::circuit_breaker::shared::{SharedState, SharedStats};
use resilient_runtime::circuit_breaker::{self, Coordinate};
use resilient_runtime::rate_limit::Mode;
use resilient_runtime::{CircuitBreaker, Component, EventKind, RateLimiter, Registry, store};

use crate::HOUR;
use crate::process::random;
use crate::rate::{Instance, rate};
use crate::server::{PATIENCE, Server};
use crate::wait::{in_time, until};

const LIMIT: Duration = Duration::from_millis(100);
const HAS_TOKENS: &str = "the limit has a token, in the store or in the process";

/// An instance with each component that shares its state.
struct Service {
    instance: Instance,
    leased: Arc<RateLimiter>,
    payment: Arc<CircuitBreaker>,
    logins: LoginGuard,
}

/// A user and an address without earlier attempts.
fn stranger() -> (String, IpAddr) {
    let number = u32::try_from(random(1 << 32)).unwrap();
    (number.to_string(), Ipv4Addr::from(number).into())
}

impl Service {
    fn new(address: &str, timeout: Duration) -> Self {
        let url = format!("redis://{address}");
        let instance = Instance::with(Registry::new(), &url, timeout, rate("5000/h").mode(Mode::Exact));
        let registry = &instance.registry;
        let settings = store::Config::default().url(&*url).timeout(timeout).open_after(2);
        registry.store("shared").reconfigure(settings).unwrap();
        let leased = instance.add("leased", rate("5000/h").mode(Mode::Lease));
        let payment = registry.circuit_breaker("payment");
        let settings = circuit_breaker::Config::default().failure_threshold(2).open_for(HOUR);
        let settings = settings.store("shared").coordinate(Coordinate::Enforce).max_shared_open(HOUR);
        payment.reconfigure(settings.poll(Duration::from_millis(100))).unwrap();
        let logins = LoginGuard::new(registry.clock()).store(registry.store("shared"));
        Self { instance, leased, payment, logins }
    }

    fn store(&self) -> store::Stats {
        self.instance.registry.store("shared").stats()
    }

    fn circuit(&self) -> SharedStats {
        self.payment.stats().shared.unwrap()
    }

    /// Uses the store for each component. No call waits longer than the store. Returns whether the limits are shared.
    async fn call(&self) -> bool {
        let login = async {
            let (user, address) = stranger();
            let attempt = in_time(LIMIT, self.logins.attempt(&user, address)).await;
            in_time(LIMIT, attempt.unwrap().succeeded()).await;
        };
        let leased = async {
            // The last call finds no token that was leased before.
            for _ in 0..=self.leased.stats().shared.unwrap().leased {
                drop(in_time(LIMIT, self.leased.acquire()).await.expect(HAS_TOKENS));
            }
        };
        let (exact, (), ()) = tokio::join!(in_time(LIMIT, self.instance.limiter.acquire()), leased, login);
        drop(exact.expect(HAS_TOKENS));
        assert_eq!(self.payment.call(|| Some(995)), Some(995), "the circuit is closed");
        let is_degraded = |limiter: &RateLimiter| limiter.stats().shared.unwrap().degraded;
        !is_degraded(&self.instance.limiter) && !is_degraded(&self.leased)
    }

    /// Waits until each component shares its state with another instance, which has a working connection.
    async fn shares_with(&self, other: &Self) {
        until("the store works", async || self.call().await && !self.store().degraded).await;
        for (one, other) in [(&self.instance.limiter, &other.instance.limiter), (&self.leased, &other.leased)]
        {
            let before = other.check_weighted(0).remaining;
            until("a token", async || {
                drop(in_time(LIMIT, one.acquire()).await);
                other.check_weighted(0).remaining < before
            })
            .await;
        }
        until("a lock", async || {
            let (user, address) = stranger();
            for _ in 0..5 {
                drop(other.logins.attempt(&user, address).await.unwrap());
            }
            in_time(LIMIT, self.logins.attempt(&user, address)).await.is_err()
        })
        .await;
        let both_are = |state| [self, other].iter().all(|one| one.circuit().state == state);
        until("a circuit", async || both_are(Some(SharedState::Closed)) && other.circuit().instances == 2)
            .await;
        for _ in 0..2 {
            self.payment.call(|| None::<u32>);
        }
        until("a vote", async || other.circuit().votes == 1).await;
        other.payment.reset_all().await.unwrap();
        until("no vote", async || self.payment.call(|| Some(995)).is_some() && other.circuit().votes == 0)
            .await;
        until("no problem", async || self.circuit().problem.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_connection_that_fails_delays_no_call_beyond_the_limit_and_works_again() {
    // T91, T182
    let server = Server::start(&[]).await;
    let proxy = Proxy::start("127.0.0.1:0", &server.address()).await.unwrap();
    let service = Service::new(&proxy.address().to_string(), LIMIT);
    let other = Service::new(&server.address(), PATIENCE);
    // Messages in pieces of one byte are no failure.
    let pieces = proxy.add(Toxic::slicer(1, 0, Duration::ZERO)).unwrap();
    service.shares_with(&other).await;
    drop(pieces);
    // Each request responds in time. All requests of a login together do not, and have the same time limit.
    let delay = proxy.add(Toxic::latency(LIMIT * 2 / 5)).unwrap();
    for _ in 0..3 {
        service.call().await;
    }
    drop(delay);
    service.shares_with(&other).await;
    let mut events = service.instance.registry.subscribe();
    let (silent, lost): (&[_], &[_]) =
        (&["within 100ms", "did not respond in time"], &["the connection was lost"]);
    for (fault, toxic, reasons) in [
        ("slow", Some(Toxic::latency(LIMIT * 3)), silent),
        ("narrow", Some(Toxic::bandwidth(TransferRate::bytes(20))), silent),
        ("accepts, and is silent", Some(Toxic::black_hole()), silent),
        ("receives nothing", Some(Toxic::black_hole().upstream()), silent),
        ("reset", Some(Toxic::reset_peer(Duration::ZERO)), lost),
        ("cut in a response", Some(Toxic::limit_data(10)), lost),
        ("refused", None, &["the connection was refused"]),
    ] {
        let toxic = toxic.map(|toxic| proxy.add(toxic).unwrap());
        if toxic.is_none() {
            proxy.disable().await;
        }
        until(fault, async || !service.call().await && service.store().degraded).await;
        let named = |problem: &str| reasons.iter().any(|reason| problem.contains(reason));
        until(fault, async || service.store().last_error.is_some_and(|problem| named(&problem))).await;
        let degraded = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event.what {
            EventKind::StoreDegraded { problem } => Some(problem),
            _ => None,
        });
        assert!(degraded.is_some_and(|problem| !problem.is_empty()), "{fault}: an event tells the reason");
        until(fault, async || service.circuit().state.is_none()).await;
        assert!(service.circuit().problem.is_some(), "{fault}");
        in_time(LIMIT, service.payment.reset_all()).await.unwrap_err();
        drop(toxic);
        proxy.enable().await.unwrap();
        service.shares_with(&other).await;
    }
}
