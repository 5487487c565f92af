use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::civil::date;
use resilient_runtime::Component;
use resilient_runtime::clock::Clock;

use super::*;
use crate::faults::FaultId;

const TEXT: &str = r#"
[monkey]
version = 1
name = "test-monkey"
owner = "tests"
environment = ["test"]
seed = 7
budget_per_hour = 6
time_zone = "Europe/Berlin"

[[fault]]
id = "errors"
group = "gateway"
fault = { type = "error", on = "charge" }
rate = 0.1
for = "1m"

[[fault]]
id = "slow"
group = "gateway"
fault = { type = "latency", on = "charge", add = "100ms" }
rate = 0.1
for = "25m"

[[fault]]
id = "search"
group = "search"
fault = { type = "error", on = "search" }
rate = 0.1
for = "10m"
weight = 2
"#;

/// Remembers which faults are injected.
#[derive(Debug, Default)]
struct Double {
    armed: Mutex<BTreeMap<FaultId, String>>,
    log: Mutex<Vec<String>>,
}

impl Faults for Double {
    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String> {
        let id = self.log.lock().unwrap().len() as FaultId;
        self.log.lock().unwrap().push(arm.by.to_owned());
        self.armed.lock().unwrap().insert(id, arm.by.to_owned());
        Ok(id)
    }

    fn renew(&self, id: FaultId, _: Duration) -> bool {
        self.armed.lock().unwrap().contains_key(&id)
    }

    fn set_rate(&self, _: FaultId, _: f64) -> bool {
        true
    }

    fn remove(&self, id: FaultId) -> bool {
        self.armed.lock().unwrap().remove(&id).is_some()
    }

    fn injected(&self, _: FaultId) -> Option<u64> {
        Some(0)
    }
}

/// Monday, 30 November 2026, in Berlin.
fn monday(hour: i8) -> Timestamp {
    date(2026, 11, 30).at(hour, 0, 0, 0).in_tz("Europe/Berlin").unwrap().timestamp()
}

struct Set {
    registry: Registry,
    double: Arc<Double>,
    journal: Journal,
}

impl Set {
    fn new() -> Self {
        let registry = Registry::with_clock(Clock::tokio());
        Self { registry, double: Arc::default(), journal: Journal::new() }
    }

    fn monkey(&self, start: Timestamp) -> Monkey {
        let (clock, began) = (self.registry.clock().clone(), self.registry.clock().now());
        let config = Config::parse(TEXT).unwrap_or_else(|error| panic!("{error}"));
        Monkey::with_faults(&self.registry, config, Arc::clone(&self.double) as Arc<dyn Faults>)
            .environment("test")
            .journal(&self.journal)
            .lease(Duration::from_secs(20))
            .wall_clock(move || start + clock.now().since(began))
    }

    async fn run(&self, start: Timestamp, hours: u64) {
        self.monkey(start).run(tokio::time::sleep(Duration::from_hours(hours))).await.unwrap();
    }

    /// Returns the decisions: the time in seconds, the fault, and the reason.
    fn decisions(&self) -> Vec<(f64, Option<String>, String)> {
        let entries = self.journal.entries().into_iter();
        entries
            .filter_map(|entry| match entry.what {
                EntryKind::Decision { fault, reason, .. } => Some((entry.seconds, fault, reason)),
                _ => None,
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_decisions_within_the_budget() {
    // T141
    let (one, other) = (Set::new(), Set::new());
    one.run(monday(10), 6).await;
    other.run(monday(10), 6).await;
    let decisions = one.decisions();
    assert_eq!(decisions, other.decisions());
    assert!(
        (35..=37).contains(&decisions.len()),
        "one decision per slot of ten minutes: {}",
        decisions.len()
    );
    let injected: Vec<_> =
        decisions.iter().filter(|(_, fault, _)| fault.is_some()).map(|(at, ..)| *at).collect();
    assert!(injected.len() >= 12, "{decisions:#?}");
    for at in &injected {
        let hour = injected.iter().filter(|other| (*at..at + 3600.0).contains(other)).count();
        assert!(hour <= 6, "{hour} faults in the hour from {at}");
    }
    assert!(one.double.armed.lock().unwrap().is_empty(), "nothing stays injected");
}

#[tokio::test(start_paused = true)]
async fn two_faults_of_one_group_are_never_injected_together() {
    let set = Set::new();
    set.run(monday(9), 8).await;
    let mut active: Vec<String> = Vec::new();
    let mut most = 0;
    for entry in set.journal.entries() {
        match entry.what {
            EntryKind::Step { step, runs: true, .. } => active.push(step),
            EntryKind::Step { step, .. } => active.retain(|other| *other != step),
            _ => {}
        }
        let gateway = active.iter().filter(|id| *id == "errors" || *id == "slow").count();
        assert!(gateway <= 1, "{active:?}");
        most = most.max(active.len());
    }
    assert_eq!(most, 2, "faults of different groups can be injected together");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_injected_outside_of_the_business_hours_of_the_time_zone() {
    let set = Set::new();
    // In UTC, it is 7 o'clock until 8 o'clock.
    set.run(monday(8), 1).await;
    set.run(date(2026, 11, 28).at(12, 0, 0, 0).in_tz("Europe/Berlin").unwrap().timestamp(), 1).await;
    set.run(monday(17), 5).await;
    let decisions = set.decisions();
    assert!(decisions.len() > 30 && decisions.iter().all(|(_, fault, _)| fault.is_none()), "{decisions:#?}");
    assert!(decisions.iter().any(|(.., reason)| reason.contains("not one of `days`")));
    assert!(set.double.log.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopping_what_runs_in_the_registry_stops_a_monkey_with_a_fault() {
    let set = Set::new();
    let stop = async {
        while set.double.armed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        runner::running(&set.registry).unwrap().stop("ada pressed the button");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(set.double.armed.lock().unwrap().is_empty(), "at most half a lease later");
        assert!(running(&set.registry).is_none());
    };
    tokio::join!(set.run(monday(10), 3), stop);
}

#[tokio::test(start_paused = true)]
async fn an_alert_whose_event_was_lost_removes_the_faults() {
    let set = Set::new();
    let alert = set.registry.alert("searches");
    let config = resilient_runtime::alert::Config::default().operation("search").critical(0.5);
    alert.reconfigure(config.window(Duration::from_secs(10)).hold(Duration::ZERO).min_samples(1)).unwrap();
    let search = set.registry.pipeline("search").build();
    let outage = async {
        while set.double.armed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        set.registry.evaluate_alerts();
        tokio::time::sleep(Duration::from_secs(1)).await;
        search.call(|| None::<u32>);
        set.registry.evaluate_alerts();
        assert!(alert.stats().severity.is_some());
        // The subscription keeps only the latest events.
        for _ in 0..100_000 {
            set.registry.chaos().record_action("noise");
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(set.double.armed.lock().unwrap().is_empty(), "at most half a lease later");
    };
    tokio::join!(set.run(monday(10), 3), outage);
}

#[tokio::test(start_paused = true)]
async fn a_firing_alert_removes_the_faults_and_prevents_others() {
    let set = Set::new();
    let alert = set.registry.alert("searches");
    let config = resilient_runtime::alert::Config::default().operation("search").critical(0.5);
    alert.reconfigure(config.window(Duration::from_secs(10)).hold(Duration::ZERO).min_samples(1)).unwrap();
    let search = set.registry.pipeline("search").build();
    let outage = async {
        // Wait for a fault.
        while set.double.armed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for _ in 0..5 {
            search.call(|| None::<u32>);
            set.registry.evaluate_alerts();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(set.double.armed.lock().unwrap().is_empty(), "removed at once");
    };
    tokio::join!(set.run(monday(10), 3), outage);
    let decisions = set.decisions();
    let injected = decisions.iter().filter(|(_, fault, _)| fault.is_some()).count();
    assert_eq!(injected, 1, "the alert stays: {decisions:#?}");
    assert!(decisions.last().unwrap().2.contains("the alert `searches` fires"));
}

#[tokio::test(start_paused = true)]
async fn another_environment_is_refused() {
    // T145
    let set = Set::new();
    let refused = set.monkey(monday(10)).environment("production").run(std::future::pending()).await;
    assert!(refused.unwrap_err().contains("`production`"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_monkey_leaves_nothing_injected() {
    // T138
    let set = Set::new();
    let mut run = Box::pin(set.monkey(monday(10)).run(std::future::pending()));
    while set.double.armed.lock().unwrap().is_empty() {
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut run).await.is_err());
    }
    assert!(running(&set.registry).is_some(), "experiments are refused now");
    drop(run);
    assert!(set.double.armed.lock().unwrap().is_empty());
    assert!(running(&set.registry).is_none());
}

#[test]
fn mistakes_in_the_settings_are_refused_with_the_remedy() {
    for (from, to, expected) in [
        ("Europe/Berlin", "Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("seed = 7", "days = [\"mon\", \"tus\"]", "there is no day `tus`; did you mean `tue`?"),
        ("seed = 7", "from = \"18:00\"", "`to` must be later than `from`"),
        ("seed = 7", "from = \"9\"", "expected a time of day"),
        ("budget_per_hour = 6", "budget_per_hour = 600", "a whole number from 1 to 60"),
        ("id = \"slow\"", "id = \"errors\"", "two faults have the id `errors`"),
        ("for = \"25m\"", "for = \"25h\"", "`for` = \"25h\" is refused"),
        ("add = \"100ms\"", "add = \"100ms\", ttl = \"1m\"", "the fault must not have `ttl`"),
    ] {
        let error = Config::parse(&TEXT.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_has_at_most_one_monkey_and_it_can_be_stopped_from_elsewhere() {
    let registry = Registry::with_clock(Clock::tokio());
    let journal = Journal::new();
    let monkey = || Monkey::new(&registry, Config::parse(TEXT).unwrap()).environment("test");
    let first = tokio::spawn(monkey().journal(&journal).run(std::future::pending()));
    assert!(journal.next(0).await.is_some(), "it runs");
    let second = monkey().run(std::future::pending()).await.unwrap_err();
    assert!(second.contains("the monkey `test-monkey` runs in this registry"), "{second}");
    let running = running(&registry).unwrap();
    assert!(running.journal().is_same(&journal) && !journal.has_ended());
    running.stop("the operator pressed the button");
    assert_eq!(first.await.unwrap(), Ok(()));
    assert!(super::running(&registry).is_none() && journal.has_ended());
    let entries = journal.entries();
    let reason =
        |entry: &EntryKind| matches!(entry, EntryKind::Aborted { reason } if reason.contains("button"));
    assert!(entries.iter().any(|entry| reason(&entry.what)), "{entries:?}");
    assert_eq!(journal.next(entries.len()).await, None, "followers end");
}
