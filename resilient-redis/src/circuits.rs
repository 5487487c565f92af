//! Shared circuits: one hash for each circuit at the key `PREFIX:circuit:{hash of its name}`, and messages about changes
//! on the channel `PREFIX:circuits`.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use resilient_runtime::circuit_breaker::shared::{
    CircuitStore, Ended, Listener, ProbeRequest, Report, Shared, SharedState,
};
use resilient_runtime::store::{Answer, StoreError};

use crate::script::CIRCUIT;
use crate::session::{Operation, Reply, Session};
use crate::store::{RedisStore, hex, micros};
use crate::subscription::{Heard, Subscription};

/// Part of the keys in Redis.
const ROLE: &str = "circuit";

type Listeners = Arc<Mutex<Vec<Weak<dyn Listener>>>>;

/// Tells the circuits of this process about changes.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    listeners: Listeners,
    /// Started with the first listener.
    subscription: Mutex<Option<Subscription>>,
}

impl Pushes {
    fn add(&self, session: &Session, channel: &str, listener: Weak<dyn Listener>) {
        {
            let mut all = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|listener| listener.strong_count() > 0);
            all.push(listener);
        }
        let mut subscription = self.subscription.lock().unwrap_or_else(PoisonError::into_inner);
        if subscription.is_some() {
            return;
        }
        let listeners = Arc::clone(&self.listeners);
        let started = Subscription::start(session, channel, move |heard| match heard {
            // Messages may have been missed.
            Heard::Connected => tell(&listeners, None),
            Heard::Message(circuit) => tell(&listeners, Some(&String::from_utf8_lossy(&circuit))),
            Heard::Disconnected => {}
        });
        match started {
            Ok(started) => *subscription = Some(started),
            Err(error) => tracing::warn!(
                target: "resilient_redis", address = session.address(), %error,
                "changes of shared circuits are known only after `poll`"
            ),
        }
    }
}

fn tell(listeners: &Listeners, circuit: Option<&str>) {
    let all: Vec<_> = {
        let all = listeners.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    };
    all.iter().for_each(|listener| listener.changed(circuit));
}

impl RedisStore {
    /// Returns the key in Redis of a shared circuit, to look it up with `HGETALL`.
    ///
    /// `circuit` is the name of the component, and its scope after a zero byte if it has one.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let key = RedisStore::connect_lazily("redis://127.0.0.1")?.circuit_key("payment");
    /// assert!(key.starts_with("resilient:circuit:{") && key.len() == 84);
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn circuit_key(&self, circuit: &str) -> String {
        self.session().key(ROLE, circuit)
    }

    fn channel(&self) -> String {
        self.key("circuits")
    }

    fn on_circuit(&self, circuit: &str, action: &str, report: Vec<Vec<u8>>) -> Operation {
        let mut arguments = vec![self.channel().into_bytes(), circuit.into(), action.into()];
        arguments.extend(report);
        // A second copy of a report does not count its probe, and a second copy of a reset does no harm.
        Operation::new(&CIRCUIT, self.circuit_key(circuit), arguments).repeatable()
    }
}

impl CircuitStore for RedisStore {
    fn report<'a>(&'a self, circuit: &'a str, report: Report) -> Answer<'a, Shared> {
        let rule = &report.rule;
        let arguments = vec![
            hex(report.instance),
            report.epoch.to_string().into_bytes(),
            flag(report.open),
            // A report that lasts no time would leave no record.
            micros(report.lasts.max(Duration::from_millis(1))),
            match report.request {
                ProbeRequest::Waiting => b"waiting".to_vec(),
                ProbeRequest::Idle => b"idle".to_vec(),
                _ => b"none".to_vec(),
            },
            report.probe.map_or_else(Vec::new, flag),
            rule.least_votes.to_string().into_bytes(),
            rule.share_in_millionths().to_string().into_bytes(),
            micros(rule.open_for),
            micros(rule.open_max),
            micros(rule.max_shared_open),
            rule.probes.to_string().into_bytes(),
        ];
        let operation = self.on_circuit(circuit, "report", arguments);
        self.session().perform(operation, |session, reply| match &*reply.status {
            "shared" => shared(&reply).ok_or_else(|| unusable(session, &reply)),
            _ => Err(unusable(session, &reply)),
        })
    }

    fn reset<'a>(&'a self, circuit: &'a str) -> Answer<'a, ()> {
        let operation = self.on_circuit(circuit, "reset", Vec::new()).required();
        self.session().perform(operation, |session, reply| match &*reply.status {
            "shared" => Ok(()),
            _ => Err::<(), StoreError>(unusable(session, &reply)),
        })
    }

    fn subscribe(&self, listener: Weak<dyn Listener>) {
        self.pushes().add(self.session(), &self.channel(), listener);
    }
}

/// The error of a record that cannot be used. Only a wrong response is a failure of the store.
fn unusable(session: &Session, reply: &Reply) -> StoreError {
    let address = session.address();
    match &*reply.status {
        "foreign" => StoreError::Refused(format!(
            "redis store {address}: another program has written to the key of this circuit: use a prefix of its own for \
             each program, `{}` is not",
            session.prefix()
        )),
        "format" => StoreError::Refused(format!(
            "redis store {address}: a later version of resilient-redis wrote this circuit: update all instances"
        )),
        _ => session.unusable(reply),
    }
}

fn flag(is_set: bool) -> Vec<u8> {
    if is_set { b"1".to_vec() } else { b"0".to_vec() }
}

/// Reads the answer of the script.
fn shared(reply: &Reply) -> Option<Shared> {
    let text = std::str::from_utf8(&reply.detail).ok()?;
    let mut words = text.split(' ');
    let state = match words.next()? {
        "closed" => SharedState::Closed,
        "open" => SharedState::Open,
        "half_open" => SharedState::HalfOpen,
        _ => return None,
    };
    let mut shared = Shared::closed(words.next()?.parse().ok()?);
    shared.state = state;
    shared.ended = match words.next()? {
        "lapsed" => Ended::Lapsed,
        "recovered" => Ended::Recovered,
        "reset" => Ended::Reset,
        _ => return None,
    };
    shared.votes = words.next()?.parse().ok()?;
    shared.instances = words.next()?.parse().ok()?;
    shared.unchanged_for = Duration::from_micros(words.next()?.parse().ok()?);
    shared.left = Duration::from_micros(words.next()?.parse().ok()?);
    shared.may_probe = words.next()? == "1";
    shared.probes = words.next()?.parse().ok()?;
    shared.successful = words.next()?.parse().ok()?;
    shared.failed = words.next()?.parse().ok()?;
    shared.is_mixed = words.next()? == "1";
    Some(shared)
}
