//! The experiments and monkeys that the API knows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resilient_chaos::{monkey, runner};
use resilient_runtime::Registry;
use tokio::sync::watch;

use super::annotations::ByHand;
use super::monkey::MonkeyRecord;
use super::record::{Mode, Record};

/// The largest number of experiments that ended and are kept.
const KEPT: usize = 20;
/// The name of the caller for an experiment that this API did not start.
const PROGRAM: &str = "the program";

/// The state of the API. Dropping it aborts what it started.
#[derive(Debug)]
pub(in crate::admin) struct Control {
    /// The name of the environment, if it is known.
    pub(super) environment: Option<String>,
    known: Mutex<Known>,
    /// Closed with the router.
    alive: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    last_id: u64,
    /// The oldest first.
    experiments: VecDeque<Arc<Record>>,
    monkey: Option<Arc<MonkeyRecord>>,
    by_hand: ByHand,
}

impl Control {
    pub(in crate::admin) fn new(environment: Option<String>) -> Self {
        let variable = || std::env::var(runner::ENVIRONMENT).ok();
        let environment = environment.or_else(variable).filter(|name| !name.is_empty());
        Self { environment, known: Mutex::default(), alive: watch::channel(()).0 }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a future that completes when the router is dropped.
    pub(super) fn dropped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.subscribe();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Adds an experiment, and forgets the oldest ones that ended.
    pub(super) fn add(&self, make: impl FnOnce(u64) -> Record) -> Arc<Record> {
        let mut known = self.known();
        known.last_id += 1;
        let record = Arc::new(make(known.last_id));
        known.experiments.push_back(Arc::clone(&record));
        while known.experiments.iter().filter(|record| record.journal.has_ended()).count() > KEPT {
            let oldest = known.experiments.iter().position(|record| record.journal.has_ended());
            oldest.map(|oldest| known.experiments.remove(oldest));
        }
        record
    }

    /// Forgets an experiment that did not start.
    pub(super) fn forget(&self, id: u64) {
        self.known().experiments.retain(|record| record.id != id);
    }

    /// Returns the experiment that runs. One that the program itself runs becomes known by this.
    pub(super) fn running(&self, registry: &Registry) -> Option<(Arc<Record>, runner::Running)> {
        let running = runner::running(registry)?;
        let journal = running.journal();
        // A monkey occupies the registry in the same way while one of its faults is injected.
        if monkey::running(registry).is_some_and(|monkey| monkey.journal().is_same(&journal)) {
            return None;
        }
        let is_it = |record: &&Arc<Record>| record.journal.is_same(&journal);
        let found = self.known().experiments.iter().find(is_it).cloned();
        let adopt = |id| Record::new(id, running.name(), PROGRAM, Mode::Run, None, journal);
        Some((found.unwrap_or_else(|| self.add(adopt)), running))
    }

    /// Returns the known experiments, the newest first.
    pub(super) fn experiments(&self, registry: &Registry) -> Vec<Arc<Record>> {
        let _ = self.running(registry);
        self.known().experiments.iter().rev().cloned().collect()
    }

    /// Returns the experiment with this id.
    pub(super) fn experiment(&self, registry: &Registry, id: u64) -> Option<Arc<Record>> {
        self.experiments(registry).into_iter().find(|record| record.id == id)
    }

    /// Returns the monkey that runs. One that the program itself runs becomes known by this.
    pub(super) fn monkey(&self, registry: &Registry) -> Option<(Arc<MonkeyRecord>, monkey::Running)> {
        let running = monkey::running(registry)?;
        let found = self.last_monkey().filter(|record| record.journal.is_same(&running.journal()));
        let adopt = || self.set_monkey(MonkeyRecord::adopted(running.name(), PROGRAM, running.journal()));
        Some((found.unwrap_or_else(adopt), running))
    }

    pub(super) fn set_monkey(&self, record: MonkeyRecord) -> Arc<MonkeyRecord> {
        let record = Arc::new(record);
        self.known().monkey = Some(Arc::clone(&record));
        record
    }

    /// Returns the monkey that was started last, whether it still runs or not.
    pub(super) fn last_monkey(&self) -> Option<Arc<MonkeyRecord>> {
        self.known().monkey.clone()
    }

    /// Calls a function with the history of the faults armed by hand.
    pub(super) fn by_hand<T>(&self, with: impl FnOnce(&mut ByHand) -> T) -> T {
        with(&mut self.known().by_hand)
    }
}
