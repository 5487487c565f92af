//! Shared circuits on a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::circuit_breaker::shared::{CircuitStore, Report, Rule, SharedState};
use resilient_runtime::circuit_breaker::{self, Coordinate, State};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::idempotency::StoreError;
use resilient_runtime::{CircuitBreaker, Component, EventKind, Registry};

use crate::HOUR;
use crate::group::Nodes;
use crate::server::{PATIENCE, Server};

/// Only messages of the server arrive in time.
const DAY: Duration = Duration::from_hours(24);

fn settings() -> circuit_breaker::Config {
    let config = circuit_breaker::Config::default().failure_threshold(2).open_for(HOUR);
    config.store("shared").coordinate(Coordinate::Enforce).max_shared_open(HOUR).poll(DAY)
}

/// An instance of a service.
struct Instance {
    registry: Registry,
    payment: Arc<CircuitBreaker>,
}

impl Instance {
    fn new(registry: Registry, url: &str, settings: circuit_breaker::Config) -> Self {
        let store = RedisStore::new(Config::new(url).timeout(PATIENCE)).unwrap();
        let shared = registry.use_store("shared", store);
        let patient = resilient_runtime::store::Config::default().timeout(PATIENCE);
        shared.reconfigure(patient.open_for(Duration::from_millis(100))).unwrap();
        let payment = registry.circuit_breaker("payment");
        payment.reconfigure(settings).unwrap();
        Self { registry, payment }
    }

    fn fail(&self) {
        (0..2).for_each(|_| _ = self.payment.call(|| None::<u32>));
    }

    fn shared(&self) -> circuit_breaker::shared::SharedStats {
        self.payment.stats().shared.unwrap()
    }

    fn is(&self, state: State) -> bool {
        self.payment.state() == state
    }
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE * 2, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Instances that know the shared circuit, and get messages from the server.
async fn fleet(server: &Server, registries: Vec<Registry>) -> Vec<Instance> {
    let size = registries.len();
    let join = |registry| Instance::new(registry, &server.url(), settings());
    let fleet: Vec<_> = registries.into_iter().map(join).collect();
    connected(server, size).await;
    wait_until("each has reported itself", || fleet.iter().all(|one| one.shared().state.is_some())).await;
    fleet
}

async fn connected(server: &Server, size: usize) {
    wait_until("each has subscribed", || {
        server.cli("", &["PUBSUB", "NUMSUB", "resilient:circuits"]).contains(&format!("\n{size}"))
    })
    .await;
}

fn registries(size: usize) -> Vec<Registry> {
    (0..size).map(|_| Registry::new()).collect()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_store_of_circuits() {
    let server = Server::start(&[]).await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_circuit_store(&server.store(), pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_cluster_keeps_every_rule_of_a_store_of_circuits() {
    let nodes = Nodes::pair().await;
    let store = RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE)).unwrap();
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_circuit_store(&store, pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_circuit_that_two_of_three_instances_open_is_open_in_all() {
    // T184
    let server = Server::start(&[]).await;
    let fleet = fleet(&server, registries(3)).await;
    let mut events = fleet[2].registry.subscribe();
    fleet[0].fail();
    wait_until("the first vote", || fleet[0].shared().votes == 1).await;
    assert!(fleet[2].is(State::Closed), "one instance is no quorum");
    fleet[1].fail();
    wait_until("open everywhere", || fleet.iter().all(|one| one.is(State::Open))).await;
    assert_eq!(fleet[2].payment.call(|| Some(995)), None);
    let mut opened = None;
    wait_until("the event", || {
        let what = std::iter::from_fn(|| events.try_recv()).map(|event| event.what);
        opened = opened.take().or(what.filter(|what| matches!(what, EventKind::SharedOpened { .. })).last());
        opened.is_some()
    })
    .await;
    fleet[2].payment.reset_all().await.unwrap();
    wait_until("closed everywhere", || fleet.iter().all(|one| one.is(State::Closed))).await;
    let key = server.store().circuit_key("payment");
    assert_eq!(
        server.run(&format!("HGET {key} circuit")).await,
        redis::Value::BulkString(b"payment".to_vec())
    );
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn clocks_that_are_hours_apart_do_not_matter() {
    // T184
    let server = Server::start(&[]).await;
    let clocks: Vec<_> = (0..3).map(|_| ManualClock::new()).collect();
    for (hours, clock) in (1..).zip(&clocks) {
        clock.advance(hours * 7 * HOUR);
    }
    let registries = clocks.iter().map(|clock| Registry::with_clock(clock.clock())).collect();
    let fleet = fleet(&server, registries).await;
    fleet[0].fail();
    fleet[2].fail();
    wait_until("open everywhere", || fleet.iter().all(|one| one.is(State::Open))).await;
    assert_eq!((fleet[1].shared().votes, fleet[1].shared().instances), (2, 3));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn without_the_server_each_instance_uses_its_own_circuit() {
    // T182
    let mut server = Server::start(&[]).await;
    let settings = || settings().poll(Duration::from_millis(100)).open_for(Duration::from_millis(100));
    let join = |registry| Instance::new(registry, &server.url(), settings());
    let fleet: Vec<_> = registries(3).into_iter().map(join).collect();
    let all_have = |state| fleet.iter().all(|one| one.shared().state == state);
    wait_until("shared", || all_have(Some(SharedState::Closed)) && fleet[2].shared().instances == 3).await;
    server.kill();
    wait_until("the loss is known", || all_have(None)).await;
    let lost = fleet[2].shared().problem.unwrap();
    assert!(lost.contains("the connection was refused") || lost.contains("degraded"), "{lost}");
    let failed = fleet[2].payment.reset_all().await.unwrap_err();
    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed}");
    // Calls continue.
    assert_eq!(fleet[2].payment.call(|| Some(995)), Some(995));
    fleet[0].fail();
    assert!(!fleet[0].is(State::Closed));
    wait_until("it recovers by itself", || fleet[0].payment.call(|| Some(995)).is_some()).await;
    server.start_again().await;
    wait_until("shared again", || all_have(Some(SharedState::Closed)) && fleet[2].shared().instances == 3)
        .await;
    assert_eq!(fleet[2].shared().problem, None);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_server_that_does_not_respond_does_not_affect_calls() {
    // T182
    let server = Server::start(&[]).await;
    let instance = Instance::new(Registry::new(), &server.url(), settings().poll(Duration::from_millis(100)));
    let brief = resilient_runtime::store::Config::default().timeout(Duration::from_millis(100));
    instance.registry.store("shared").reconfigure(brief.open_for(Duration::from_millis(100))).unwrap();
    wait_until("shared", || instance.shared().state.is_some()).await;
    server.signal("STOP");
    wait_until("the loss is known", || instance.shared().state.is_none()).await;
    assert_eq!(instance.payment.call(|| Some(995)), Some(995));
    instance.payment.reset_all().await.unwrap_err();
    server.signal("CONT");
    wait_until("shared again", || instance.shared().state.is_some()).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn votes_are_repeated_after_the_server_has_lost_its_records() {
    // T182
    let server = Server::start(&[]).await;
    let poll = settings().poll(Duration::from_millis(100));
    let join = |registry| Instance::new(registry, &server.url(), poll.clone());
    let fleet: Vec<_> = registries(3).into_iter().map(join).collect();
    wait_until("shared", || fleet.iter().all(|one| one.shared().instances == 3)).await;
    fleet[..2].iter().for_each(Instance::fail);
    wait_until("open everywhere", || fleet.iter().all(|one| one.is(State::Open))).await;
    server.run("FLUSHALL").await;
    server.run("SCRIPT FLUSH").await;
    wait_until("the votes are back", || fleet.iter().all(|one| one.shared().votes == 2)).await;
    wait_until("open", || fleet[2].shared().state == Some(SharedState::Open)).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_foreign_value_at_the_key_of_a_circuit_is_an_error_and_stays() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let key = store.circuit_key("payment");
    for (set, get) in [
        (format!("SET {key} hello"), format!("GET {key}")),
        (format!("HSET {key} a b"), format!("HGETALL {key}")),
        (format!("HSET {key} format 1 state open"), format!("HGETALL {key}")),
        (format!("HSET {key} format 1 m:7 x"), format!("HGETALL {key}")),
        (format!("HSET {key} format 1 s:7 9999999999999999:1"), format!("HGETALL {key}")),
    ] {
        server.run("FLUSHALL").await;
        server.run(&set).await;
        let before = server.run(&get).await;
        let report = store.report("payment", Report::new(1, Rule::default())).await;
        // Not a failure of the store: it does not become degraded.
        assert!(refused(report).contains("another program has written to the key"), "{set}");
        assert!(refused(store.reset("payment").await).contains("another program"), "{set}");
        assert_eq!(server.run(&get).await, before);
    }
    server.run("FLUSHALL").await;
    server.run(&format!("HSET {key} format 2")).await;
    let report = store.report("payment", Report::new(1, Rule::default())).await;
    assert!(refused(report).contains("update all instances"));
    // Calls are not affected.
    let instance = Instance::new(Registry::new(), &server.url(), settings());
    wait_until("the problem is known", || instance.shared().problem.is_some()).await;
    assert_eq!(instance.payment.call(|| Some(995)), Some(995));
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// Moves all times of a record by an hour, as if the clock of this server were an hour behind the clock of the last one.
const AN_HOUR_AHEAD: &str = r"
local hour, all = 3600000000, redis.call('HGETALL', KEYS[1])
local function later(digits) return string.format('%.0f', tonumber(digits) + hour) end
for i = 1, #all, 2 do
  local name, value = all[i], all[i + 1]
  if string.find(' epoch closed since ends renewed ', ' ' .. name .. ' ', 1, true) then
    value = later(value)
  elseif string.match(name, '^m:') then
    value = string.gsub(value, '^(%d+):(%d+):(%d+)', function(at, lasts, joined)
      return later(at) .. ':' .. lasts .. ':' .. later(joined) end)
  elseif string.match(name, '^s:') then
    value = string.gsub(value, '^%d+', later)
  end
  redis.call('HSET', KEYS[1], name, value)
end";

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_server_whose_clock_is_behind_does_not_keep_a_circuit_open() {
    // T180
    let server = Server::start(&[]).await;
    let store = server.store();
    let rule = Rule::default();
    let mut epoch = 0;
    let report = async |instance, open, lasts, epoch: &mut u64| {
        let mut report = Report::new(instance, rule);
        (report.open, report.epoch, report.lasts) = (open, *epoch, lasts);
        let shared = store.report("payment", report).await.unwrap();
        *epoch = shared.epoch;
        shared
    };
    let short = Duration::from_millis(50);
    for (instance, open) in [(1, false), (2, false), (3, false), (1, true), (2, true)] {
        report(instance, open, short, &mut epoch).await;
    }
    let mut admin = server.admin().await;
    let key = store.circuit_key("payment");
    let _: () = redis::cmd("EVAL").arg(AN_HOUR_AHEAD).arg(1).arg(&key).query_async(&mut admin).await.unwrap();
    let shared = report(3, false, HOUR, &mut epoch).await;
    assert!(shared.left <= rule.open_max, "{shared:?}");
    let start = Instant::now();
    while report(3, false, HOUR, &mut epoch).await.instances > 1 {
        assert!(start.elapsed() < PATIENCE * 2, "they stay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let shared = report(3, false, HOUR, &mut epoch).await;
    assert_eq!((shared.votes, shared.instances), (0, 1));
    // A reset after another failover.
    let _: () = redis::cmd("EVAL").arg(AN_HOUR_AHEAD).arg(1).arg(&key).query_async(&mut admin).await.unwrap();
    store.reset("payment").await.unwrap();
    let shared = report(3, false, HOUR, &mut epoch).await;
    assert_eq!((shared.state, shared.unchanged_for < Duration::from_mins(1)), (SharedState::Closed, true));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn the_record_of_a_circuit_expires() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let mut report = Report::new(1, Rule::default());
    report.lasts = HOUR;
    store.report("payment", report.clone()).await.unwrap();
    let mut admin = server.admin().await;
    let key = store.circuit_key("payment");
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut admin).await.unwrap();
    assert!((3_500_000..=3_600_001).contains(&ttl), "{ttl}");
    report.lasts = Duration::from_millis(1);
    store.report("payment", report).await.unwrap();
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut admin).await.unwrap();
    assert!((1..=60_001).contains(&ttl), "{ttl}");
}

#[tokio::test]
#[ignore = "measures: run with --nocapture"]
async fn measure_how_fast_an_opening_is_known_elsewhere() {
    let server = Server::start(&[]).await;
    let fleet = fleet(&server, registries(3)).await;
    let mut times = Vec::new();
    for _ in 0..200 {
        fleet[0].fail();
        wait_until("the first vote", || fleet[0].shared().votes == 1).await;
        let start = Instant::now();
        fleet[1].fail();
        while !fleet[2].is(State::Open) {
            std::thread::sleep(Duration::from_micros(20));
        }
        times.push(start.elapsed());
        fleet[2].payment.reset_all().await.unwrap();
        wait_until("closed", || {
            fleet.iter().all(|one| one.is(State::Closed) && one.shared().state == Some(SharedState::Closed))
        })
        .await;
    }
    times.sort_unstable();
    println!("measured: opened elsewhere p50 {:?}, p99 {:?}", times[100], times[198]);
}
