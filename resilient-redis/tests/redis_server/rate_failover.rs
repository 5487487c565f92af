//! Rate limits while their primary fails and a replica is promoted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_runtime::rate_limit::{self, Algorithm, Mode, RateRequest, RateRule, RateStore, Taken};
use resilient_runtime::store::InstanceStore as _;
use resilient_runtime::{Component as _, RateLimiter, Registry, RejectionKind, store};

use crate::group::{MASTER, Watched};
use crate::history::{Bound, Call, Outcome, check_limit, now};
use crate::rate::{Instance, rate};
use crate::replication::replicated;
use crate::server::{PATIENCE, Server};
use crate::wait::{in_time, until};

/// A time limit that a working server keeps, also on a busy machine.
const LIMIT: Duration = Duration::from_millis(400);
const INSTANCES: usize = 3;
/// Tasks that ask, for each limiter of each instance.
const TASKS: usize = 2;

/// Where a call was decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Store,
    /// The limiter in the process.
    Local,
    /// The store failed or worked again during the call.
    Either,
}

/// A limiter of one instance, and the calls that it has admitted, in the order of their ends.
struct Asked {
    limiter: Arc<RateLimiter>,
    calls: Mutex<Vec<(By, Call)>>,
}

impl Asked {
    fn is_degraded(&self) -> bool {
        self.limiter.stats().shared.unwrap().degraded
    }

    fn count(&self, by: By) -> usize {
        self.calls.lock().unwrap().iter().filter(|(other, _)| *other == by).count()
    }

    async fn ask(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            let (was_degraded, began) = (self.is_degraded(), now());
            let taken = in_time(LIMIT, self.limiter.acquire()).await;
            match taken.map(drop).map_err(|rejection| rejection.kind()) {
                Ok(()) => {
                    let call = Call::ended("api", began, Outcome::Admitted);
                    let by = match (was_degraded, self.is_degraded()) {
                        (false, false) => By::Store,
                        (true, true) => By::Local,
                        _ => By::Either,
                    };
                    self.calls.lock().unwrap().push((by, call));
                }
                Err(kind) => {
                    assert_eq!(kind, RejectionKind::RateLimited, "the limiter in the process decides");
                }
            }
            // Leaves the processor to the servers.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Starts instances. Each one knows the number of all instances from its first call on.
async fn instances(url: &str, server: &Server) -> Vec<Instance> {
    let store = server.store();
    for other in 1..INSTANCES {
        store.announce(other as u128, Duration::from_hours(1)).await.unwrap();
    }
    let mut instances = Vec::new();
    for other in 1..=INSTANCES {
        let instance = Instance::with(Registry::new(), url, LIMIT, rate("10/h"));
        until("all are known", async || instance.shared().instances as usize == INSTANCES).await;
        instances.push(instance);
        store.leave(other as u128).await.unwrap();
    }
    instances
}

/// Checks the calls of a limit before, during and after the failover.
fn check(name: &str, asked: &[Arc<Asked>], bound: Bound) {
    let (mut before, mut local, mut after, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for asked in asked {
        let mut calls = asked.calls.lock().unwrap().clone();
        calls.sort_by_key(|(_, call)| call.began);
        let mut has_failed = false;
        for (by, call) in calls {
            has_failed |= by != By::Store;
            all.push(call.clone());
            match by {
                By::Store if has_failed => after.push(call),
                By::Store => before.push(call),
                By::Local => local.push(call),
                By::Either => {}
            }
        }
    }
    // Instances do not find the new primary at the same time. Until all have, the shares of the others are added.
    let back = after.iter().map(|call| call.began).min().unwrap();
    let overlap = local.iter().map(|call| call.ended).max().unwrap().saturating_sub(back);
    let counts = [&before, &local, &after].map(Vec::len);
    let in_pieces = Bound { burst: bound.burst + bound.leased, leased: 0, ..bound };
    // The failover adds at most the burst of the limiters in the processes, and the burst of the new primary: its limit is
    // refilled during the failover, and it lacks the tokens that it has not received.
    let added = 2 * bound.burst + bound.refilled(overlap) + 1;
    let whole = Bound { burst: in_pieces.burst + added, ..in_pieces };
    let bursts = [(&before, bound), (&local, in_pieces), (&after, in_pieces), (&all, whole)]
        .map(|(calls, bound)| (check_limit(calls, bound).unwrap(), bound.burst));
    eprintln!(
        "measured: {name}: {counts:?} calls before, during and after, and in {overlap} us with both decisions; largest bursts \
         of each and of all calls, with their bounds: {bursts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-sentinel: cargo xtask redis"]
async fn during_a_failover_each_instance_has_its_share_and_no_call_waits_longer_than_the_store() {
    // T91, T162, T173
    let mut watched = Watched::start(&["--appendonly", "no"], "", "").await;
    let url = format!("redis+sentinel://{}/{MASTER}", watched.addresses().join(","));
    let instances = instances(&url, &watched.servers[0]).await;
    let ms = Duration::from_millis;
    let limits: [(_, rate_limit::Config, _); 2] = [
        ("exact", rate("200/s").burst(30).mode(Mode::Exact), Bound::bucket(30, ms(5))),
        (
            "lease",
            rate("500/s").burst(60).mode(Mode::Lease),
            Bound { leased: 38, ..Bound::bucket(60, ms(2)) },
        ),
    ];
    let asked = limits.clone().map(|(name, config, _)| {
        let limiters = instances.iter().map(|instance| instance.add(name, config.clone()));
        limiters.map(|limiter| Arc::new(Asked { limiter, calls: Mutex::default() })).collect::<Vec<_>>()
    });
    let every = || asked.iter().flatten();
    // All replicas receive that 4 tokens of the limit of an hour are used.
    assert_eq!(take(&watched.servers[0], "api\0", rate("10/h"), 4).await.granted, 4);
    let [primary, replicas @ ..] = &watched.servers[..] else { unreachable!() };
    until("all replicas know", async || {
        replicas.iter().all(|replica| state(replica, "api\0") == state(primary, "api\0"))
    })
    .await;

    let is_over = Arc::new(AtomicBool::new(false));
    let tasks = every().flat_map(|asked| std::iter::repeat_n(asked, TASKS)).map(|asked| {
        let (asked, is_over) = (Arc::clone(asked), Arc::clone(&is_over));
        tokio::spawn(async move { asked.ask(&is_over).await })
    });
    let tasks: Vec<_> = tasks.collect();
    until("the store decides", async || every().all(|asked| asked.count(By::Store) > 20)).await;
    watched.expect_failover();
    watched.servers[0].kill();
    until("the limiter in the process decides", async || every().all(|asked| asked.count(By::Local) > 20))
        .await;
    let counts: Vec<_> = every().map(|asked| asked.count(By::Store)).collect();
    let goes_on = || every().zip(&counts).all(|(asked, before)| asked.count(By::Store) > before + 40);
    until("the store decides again", async || goes_on() && every().all(|asked| !asked.is_degraded())).await;
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    for ((name, _, bound), asked) in limits.into_iter().zip(&asked) {
        check(name, asked, bound);
    }
    // The limit of an hour is still shared, by the new primary. A slow machine must not fail this part.
    for instance in &instances {
        let patient = store::Config::default().url(&*url).timeout(PATIENCE);
        instance.registry.store("shared").reconfigure(patient).unwrap();
    }
    for left in (0..6).rev() {
        let [one, other] =
            [left % INSTANCES, (left + 1) % INSTANCES].map(|number| &instances[number].limiter);
        drop(one.acquire().await.unwrap());
        assert_eq!(other.check_weighted(0).remaining as usize, left);
    }
    for instance in &instances {
        assert!(instance.limiter.acquire().await.is_err() && !instance.shared().degraded);
    }
}

/// Takes up to so many tokens of a limit.
async fn take(server: &Server, limit: &str, config: rate_limit::Config, tokens: u32) -> Taken {
    let (limit, rule) = (limit.to_owned(), RateRule::of(&config).unwrap());
    let request = RateRequest { limit, rule, tokens, at_least: 1, max_wait: Duration::ZERO };
    server.store().take(request).await.unwrap()
}

/// The state of a limit, as a server has stored it.
fn state(server: &Server, limit: &str) -> String {
    server.cli("", &["GET", &server.store().limit_key(limit)])
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_failover_admits_as_many_more_calls_as_the_replica_had_not_received() {
    let (mut server, replica) = replicated().await;
    let limits = [("bucket\0", rate("10/h")), ("window\0", rate("10/h").algorithm(Algorithm::SlidingWindow))];
    for (name, config) in &limits {
        assert_eq!(take(&server, name, config.clone(), 3).await.remaining, 7);
    }
    let is_known = async || limits.iter().all(|(name, _)| state(&replica, name) == state(&server, name));
    until("the replica knows", is_known).await;
    // The connection of the replica is lost.
    replica.run("REPLICAOF 127.0.0.1 1").await;
    for (name, config) in &limits {
        assert_eq!(take(&server, name, config.clone(), 4).await.remaining, 3);
    }
    server.kill();
    replica.run("REPLICAOF NO ONE").await;
    for (name, config) in &limits {
        let taken = take(&replica, name, config.clone(), 100).await;
        assert_eq!((taken.granted, taken.remaining), (7, 0), "10 + 4 calls: the 4 that it had not received");
        assert_eq!(take(&replica, name, config.clone(), 1).await.granted, 0);
    }
}
