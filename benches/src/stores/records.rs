//! Idempotency records and shared circuits.

use std::error::Error;
use std::time::{Duration, Instant};

use resilient_runtime::circuit_breaker::{Config, Coordinate, State};
use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, Owner};
use resilient_runtime::{Class, Component, Verdict};

use crate::measure;
use crate::server::Server;
use crate::times::Times;

/// In each round.
const COUNT: usize = 1000;
const OPENINGS: usize = 50;

/// A claim as the idempotency libraries of other languages make it.
pub(crate) async fn by_hand(server: &Server) -> Result<Times, Box<dyn Error>> {
    let mut connection = server.connection().await?;
    let claim = async |number: usize| {
        let mut set = redis::cmd("SET");
        set.arg(format!("by_hand:{number}-{:?}", Instant::now()))
            .arg("owner")
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(3_600_000);
        set.query_async::<Option<String>>(&mut connection).await.map(drop)
    };
    Ok(measure(COUNT, claim).await?)
}

pub(crate) async fn claim(server: &Server) -> Result<Times, Box<dyn Error>> {
    let (store, lease) = (server.store(Duration::from_secs(1))?, Duration::from_mins(1));
    let claim = async |number: usize| {
        let (key, owner) = (format!("charge\0{number}-{:?}", Instant::now()), Owner(number as u128));
        let claim = Claim {
            key,
            fingerprint: Fingerprint::NONE,
            operation: "charge",
            owner,
            lease,
            lost_for: lease,
            takes_over: false,
            client: None,
        };
        store.claim(claim).await.map(|claimed| assert_eq!(claimed, Claimed::Acquired))
    };
    Ok(measure(COUNT, claim).await?)
}

/// The time from the failure that opens the circuit of one instance until the event that the circuit of another one is open.
/// A loop that looks at the circuit would take a core from the threads that it measures.
pub(crate) async fn circuit(server: &Server) -> Result<Times, Box<dyn Error>> {
    let registries = [server.instance()?, server.instance()?];
    let config = Config::default().failure_threshold(1).store("shared").coordinate(Coordinate::Enforce);
    // Only the push can open the circuit.
    let config = config.quorum(1).poll(Duration::from_hours(24)).open_for(Duration::from_hours(1));
    let mut times = Times::default();
    for number in 0..OPENINGS {
        let name = format!("payment-{number}");
        let [one, other] = registries.each_ref().map(|registry| registry.circuit_breaker(&name));
        one.reconfigure(config.clone())?;
        other.reconfigure(config.clone())?;
        // Both must have joined before the circuit opens.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut events = registries[1].subscribe();
        let began = Instant::now();
        one.try_acquire()?.settle(Verdict::Failure(Class::TRANSIENT));
        let opened = async { while other.state() == State::Closed && events.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), opened).await?;
        times.add(began.elapsed());
    }
    Ok(times)
}
