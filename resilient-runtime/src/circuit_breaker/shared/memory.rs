//! Shared circuits in the memory of one process: for tests, and as the model of other stores.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::store::circuits::{
    CircuitStore, Ended, Listener, ProbeRequest, Report, Rule, Shared, SharedState,
};
use crate::store::{Answer, Backend, ready};
use crate::sync::Mutex;

/// Coordinates the circuits of several registries in one process. For tests.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, shared::MemoryCircuits}, clock::Clock};
///
/// let circuits = Arc::new(MemoryCircuits::new(Clock::system()));
/// for registry in [Registry::new(), Registry::new()] {
///     registry.use_store("shared", circuits.clone());
///     let payment = registry.circuit_breaker("payment");
///     payment.reconfigure(Config::default().store("shared")).unwrap();
/// }
/// ```
#[derive(Debug)]
pub struct MemoryCircuits {
    clock: Clock,
    records: Mutex<HashMap<String, Record>>,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
}

impl MemoryCircuits {
    /// Creates a store without circuits.
    ///
    /// ```
    /// use resilient_runtime::{circuit_breaker::shared::MemoryCircuits, clock::Clock, store::Backend};
    ///
    /// assert!(MemoryCircuits::new(Clock::system()).circuits().is_some());
    /// ```
    pub fn new(clock: Clock) -> Self {
        Self { clock, records: Mutex::default(), listeners: Mutex::default() }
    }

    /// Changes a record in one step, and tells the listeners outside of the lock if its epoch has changed.
    fn change<T>(&self, circuit: &str, change: impl FnOnce(&mut Record, Instant) -> T) -> T {
        let now = self.clock.now();
        let (answer, has_changed) = {
            let mut records = self.records.lock();
            let record = records.entry(circuit.to_owned()).or_insert_with(|| Record::new(now));
            let before = record.epoch;
            let answer = change(record, now);
            (answer, record.epoch != before)
        };
        if has_changed {
            let listeners: Vec<Arc<dyn Listener>> = {
                let mut all = self.listeners.lock();
                all.retain(|listener| listener.strong_count() > 0);
                all.iter().filter_map(Weak::upgrade).collect()
            };
            listeners.iter().for_each(|listener| listener.changed(Some(circuit)));
        }
        answer
    }
}

impl Backend for MemoryCircuits {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn circuits(&self) -> Option<&dyn CircuitStore> {
        Some(self)
    }
}

impl CircuitStore for MemoryCircuits {
    fn report<'a>(&'a self, circuit: &'a str, report: Report) -> Answer<'a, Shared> {
        ready(Ok(self.change(circuit, |record, now| record.report(&report, now))))
    }

    fn reset<'a>(&'a self, circuit: &'a str) -> Answer<'a, ()> {
        self.change(circuit, |record, now| record.close(Ended::Reset, now));
        ready(Ok(()))
    }

    fn subscribe(&self, listener: Weak<dyn Listener>) {
        self.listeners.lock().push(listener);
    }
}

/// The record of one circuit.
#[derive(Debug)]
struct Record {
    state: SharedState,
    epoch: u64,
    /// The epoch of the last closing.
    closed: u64,
    ended: Ended,
    since: Instant,
    /// End of the open period.
    until: Instant,
    /// When the votes were enough last.
    renewed: Instant,
    /// Failed half-open periods since the last closing.
    reopened: u32,
    instances: BTreeMap<u128, Member>,
    slots: BTreeMap<u128, Slot>,
    successful: u32,
    failed: u32,
}

#[derive(Debug)]
struct Member {
    until: Instant,
    votes: bool,
    rule: Rule,
    /// Whether a probe of it has failed in this half-open period.
    has_failed: bool,
    /// When it reported first and last.
    joined: Instant,
    reported: Instant,
}

#[derive(Debug)]
struct Slot {
    until: Instant,
    is_idle: bool,
}

impl Record {
    fn new(now: Instant) -> Self {
        // Not 0, which is no epoch.
        let epoch = now.as_nanos().max(1);
        Self {
            state: SharedState::Closed,
            epoch,
            closed: epoch,
            ended: Ended::Lapsed,
            since: now,
            until: now,
            renewed: now,
            reopened: 0,
            instances: BTreeMap::new(),
            slots: BTreeMap::new(),
            successful: 0,
            failed: 0,
        }
    }

    fn report(&mut self, report: &Report, now: Instant) -> Shared {
        let rule = &report.rule;
        self.expire(rule, now);
        // Before the state can change: the instance knew this state.
        self.take_result(report, now);
        let votes = report.open && (self.closed..=self.epoch).contains(&report.epoch);
        let new = Member { until: now, votes, rule: *rule, has_failed: false, joined: now, reported: now };
        let member = self.instances.entry(report.instance).or_insert(new);
        (member.until, member.votes, member.reported) = (now.after(report.lasts), votes, now);
        member.rule = *rule;
        if self.votes() >= rule.votes_of(self.count()) && self.count() > 1 {
            self.renewed = now;
            if self.state == SharedState::Closed {
                self.open(rule, now);
            }
        }
        self.give_slot(report, now);
        self.answer(report.instance, now)
    }

    fn expire(&mut self, rule: &Rule, now: Instant) {
        self.instances.retain(|_, member| member.until > now);
        self.slots.retain(|_, slot| slot.until > now);
        let is_closed = self.state == SharedState::Closed;
        if !is_closed && now >= self.renewed.after(rule.max_shared_open) {
            self.close(Ended::Lapsed, now);
        } else if self.state == SharedState::Open && now >= self.until {
            self.enter(SharedState::HalfOpen, now);
        }
    }

    fn take_result(&mut self, report: &Report, now: Instant) {
        let Some(has_succeeded) = report.probe else { return };
        if self.state != SharedState::HalfOpen || report.epoch != self.epoch {
            return;
        }
        if self.slots.remove(&report.instance).is_none() {
            return;
        }
        let is_alone = self.count() == 1;
        if has_succeeded {
            self.successful += 1;
        } else {
            let member = self.instances.get_mut(&report.instance);
            let has_failed = member.is_some_and(|member| std::mem::replace(&mut member.has_failed, true));
            self.failed += u32::from(is_alone || !has_failed);
        }
        let rule = &report.rule;
        if u64::from(self.successful) * 2 > u64::from(rule.probes) {
            self.close(Ended::Recovered, now);
        } else if u64::from(self.failed) * 2 >= u64::from(rule.probes) && (is_alone || self.failed > 1) {
            self.reopened = self.reopened.saturating_add(1);
            self.open(rule, now);
        }
    }

    fn give_slot(&mut self, report: &Report, now: Instant) {
        if self.state != SharedState::HalfOpen || report.request == ProbeRequest::None {
            self.slots.remove(&report.instance);
            return;
        }
        let is_idle = report.request == ProbeRequest::Idle;
        let in_use = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        // If all results are known and do not decide, one more probe does.
        let is_free = self.slots.contains_key(&report.instance)
            || in_use == 0
            || in_use + self.successful + self.failed < report.rule.probes;
        let idle = self.slots.iter().find(|(_, slot)| slot.is_idle).map(|(instance, _)| *instance);
        if !is_free {
            match idle.filter(|_| !is_idle) {
                Some(idle) => _ = self.slots.remove(&idle),
                None => return,
            }
        }
        self.slots.insert(report.instance, Slot { until: now.after(report.lasts), is_idle });
    }

    fn open(&mut self, rule: &Rule, now: Instant) {
        self.enter(SharedState::Open, now);
        self.until = now.after(rule.open_period(self.reopened));
    }

    fn close(&mut self, ended: Ended, now: Instant) {
        self.enter(SharedState::Closed, now);
        self.closed = self.epoch;
        self.ended = ended;
        self.reopened = 0;
        self.instances.values_mut().for_each(|member| member.votes = false);
    }

    fn enter(&mut self, state: SharedState, now: Instant) {
        self.state = state;
        self.epoch = now.as_nanos().max(self.epoch + 1);
        self.since = now;
        self.slots.clear();
        self.instances.values_mut().for_each(|member| member.has_failed = false);
        (self.successful, self.failed) = (0, 0);
    }

    /// The instances that vote, and have reported since the last of them joined. An instance that was replaced by that one,
    /// such as after a restart, has not.
    fn votes(&self) -> u32 {
        let voters = || self.instances.values().filter(|member| member.votes);
        let joined = voters().map(|member| member.joined).max();
        count(voters().filter(|member| Some(member.reported) >= joined).count())
    }

    fn count(&self) -> u32 {
        count(self.instances.len())
    }

    /// Whether another instance has reported another rule.
    fn is_mixed(&self, instance: u128) -> bool {
        let own = self.instances.get(&instance).map(|member| member.rule);
        self.instances.values().any(|member| Some(member.rule) != own)
    }

    fn answer(&self, instance: u128, now: Instant) -> Shared {
        let is_open = self.state == SharedState::Open;
        Shared {
            state: self.state,
            epoch: self.epoch,
            ended: self.ended,
            votes: self.votes(),
            instances: self.count(),
            unchanged_for: now.since(self.since),
            left: if is_open { self.until.since(now) } else { Duration::ZERO },
            may_probe: self.slots.contains_key(&instance),
            probes: count(self.slots.len()),
            successful: self.successful,
            failed: self.failed,
            is_mixed: self.is_mixed(instance),
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
