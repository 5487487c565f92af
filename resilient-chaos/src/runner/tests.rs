use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_runtime::clock::{Clock, Instant};
use resilient_runtime::{Component, Registry, Rejection};
use serde_json::Value as Json;

use super::*;
use crate::faults::{Arm, FaultId};
use crate::report::{EntryKind, Report};

/// Faults of a test: hit every call of their operation.
#[derive(Debug, Default)]
struct Double(Mutex<Vec<Leased>>, Mutex<Vec<String>>, AtomicU64);

#[derive(Debug)]
struct Leased {
    id: FaultId,
    fault: Json,
    clock: Clock,
    until: Instant,
    injected: u64,
}

impl Double {
    fn is_hit(&self, operation: &str) -> bool {
        let mut all = self.0.lock().unwrap();
        let hit = all
            .iter_mut()
            .find(|leased| leased.fault["on"] == operation && leased.clock.now() < leased.until);
        hit.map(|leased| leased.injected += 1).is_some()
    }

    fn armed(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|leased| leased.clock.now() < leased.until).count()
    }
}

/// The double with the clock of a registry.
struct On(Arc<Double>, Clock);

impl Faults for On {
    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String> {
        let id = self.0.2.fetch_add(1, Ordering::Relaxed);
        let (clock, fault) = (self.1.clone(), arm.fault.clone());
        let until = clock.now().after(arm.ttl);
        self.0.0.lock().unwrap().push(Leased { id, fault, clock, until, injected: 0 });
        Ok(id)
    }

    fn renew(&self, id: FaultId, ttl: Duration) -> bool {
        let mut all = self.0.0.lock().unwrap();
        let found = all.iter_mut().find(|leased| leased.id == id && leased.clock.now() < leased.until);
        found.map(|leased| leased.until = leased.clock.now().after(ttl)).is_some()
    }

    fn set_rate(&self, _: FaultId, _: f64) -> bool {
        true
    }

    fn remove(&self, id: FaultId) -> bool {
        let mut all = self.0.0.lock().unwrap();
        let Some(index) = all.iter().position(|leased| leased.id == id) else { return false };
        let removed = all.remove(index);
        self.0.1.lock().unwrap().push(removed.fault["on"].as_str().unwrap_or_default().to_owned());
        true
    }

    fn injected(&self, id: FaultId) -> Option<u64> {
        self.0.0.lock().unwrap().iter().find(|leased| leased.id == id).map(|leased| leased.injected)
    }
}

/// A program with the operations `order` and `report`, under load.
struct Program {
    registry: Registry,
    double: Arc<Double>,
    load: tokio::task::JoinHandle<()>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.load.abort();
    }
}

impl Program {
    fn start() -> Self {
        let registry = Registry::with_clock(Clock::tokio());
        let double = Arc::new(Double::default());
        let alert = registry.alert("orders_failing");
        let config = resilient_runtime::alert::Config::default();
        alert
            .reconfigure(
                config
                    .operation("order")
                    .critical(0.5)
                    .window(Duration::from_secs(2))
                    .hold(Duration::ZERO)
                    .min_samples(1),
            )
            .unwrap();
        let pipelines = ["order", "report"].map(|name| {
            let pipeline = registry.pipeline(name).circuit_breaker(name).build();
            (name, pipeline)
        });
        let (faults, watched) = (Arc::clone(&double), registry.clone());
        let load = tokio::spawn(async move {
            loop {
                for (name, pipeline) in &pipelines {
                    let is_hit = faults.is_hit(name);
                    let _ = pipeline
                        .call_async(|| async move { if is_hit { Err(Failed) } else { Ok(()) } })
                        .await;
                }
                watched.evaluate_alerts();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { registry, double, load }
    }

    fn runner(&self, text: &str) -> Runner {
        let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let faults = On(Arc::clone(&self.double), self.registry.clock().clone());
        Runner::with_faults(&self.registry, scenario, Arc::new(faults)).environment("test").started("today")
    }

    fn armed(&self) -> usize {
        self.double.armed()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the test fails this call")]
struct Failed;

impl From<Rejection> for Failed {
    fn from(_: Rejection) -> Self {
        Self
    }
}

impl resilient_runtime::Classify for Failed {
    fn classify(&self) -> resilient_runtime::Class {
        resilient_runtime::Class::Permanent
    }
}

/// A scenario with one step on `on`, and more text.
fn scenario(on: &str, more: &str) -> String {
    format!(
        r#"
[scenario]
version = 1
name = "test"
hypothesis = "The test passes."
owner = "tests"
environment = ["test*"]
observe_before = "2s"

[[steady_state]]
probe = "success_rate"
operation = "order"
min = 0.9
window = "1s"

[[step]]
id = "outage"
fault = {{ type = "error", on = "{on}" }}
rate = 1.0
for = "5s"

[recovery]
steady_state_within = "20s"
{more}
"#
    )
}

async fn run(program: &Program, text: &str) -> Report {
    program.runner(text).run(std::future::pending()).await
}

fn has(report: &Report, is: impl Fn(&EntryKind) -> bool) -> bool {
    report.entries.iter().any(|entry| is(&entry.what))
}

#[tokio::test(start_paused = true)]
async fn a_hypothesis_that_holds_is_reported_with_all_points() {
    let program = Program::start();
    let expect = "[[expect]]\nexpect = \"breaker\"\nof = \"outage\"\nbreaker = \"report\"\nwithin = \"3s\"";
    let report = run(&program, &scenario("report", expect)).await;
    assert_eq!(
        (report.outcome, report.exit_code(), report.score()),
        (Outcome::Held, 0, (3, 3)),
        "{report:#?}"
    );
    assert_eq!(program.armed(), 0);
    assert!(has(&report, |what| matches!(what, EntryKind::Step { injected: Some(calls), .. } if *calls > 0)));
    assert!(has(
        &report,
        |what| matches!(what, EntryKind::Circuit { breaker, state } if breaker == "report" && state == "open")
    ));
    assert!(report.recovery.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_violated_steady_state_ends_the_faults_within_an_interval() {
    // T139
    let program = Program::start();
    let report =
        run(&program, &scenario("order", "[[abort_when]]\nprobe = \"success_rate\"\nmin = 0.01\n")).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Deviated, 1), "{report:#?}");
    let at = |is: &dyn Fn(&EntryKind) -> bool| {
        report.entries.iter().find(|entry| is(&entry.what)).unwrap().seconds
    };
    let failed = at(
        &|what| matches!(what, EntryKind::Probe { probe, holds: Some(false), .. } if probe == "success rate of order"),
    );
    let removed = at(&|what| matches!(what, EntryKind::RolledBack { .. }));
    assert!(removed - failed <= 0.1, "{failed} {removed}");
    assert!(report.checks.iter().any(|check| check.passed == Some(false)));
    assert_eq!(program.armed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_critical_alert_aborts_at_once_by_default() {
    let program = Program::start();
    let text = scenario("order", "").replace("[[steady_state]]", "[[steady_state]]\nfor = \"1m\"");
    let report = run(&program, &text).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Aborted, 2), "{report:#?}");
    assert!(report.reasons[0].contains("any critical alert: it fires"), "{:?}", report.reasons);
    let at = |is: &dyn Fn(&EntryKind) -> bool| {
        report.entries.iter().find(|entry| is(&entry.what)).unwrap().seconds
    };
    let fired = at(&|what| matches!(what, EntryKind::Alert { severity: Some(_), .. }));
    let removed = at(&|what| matches!(what, EntryKind::RolledBack { .. }));
    assert!((removed - fired).abs() < 0.001, "an alert wakes the runner: {fired} {removed}");
}

#[tokio::test(start_paused = true)]
async fn faults_are_removed_in_reverse_order() {
    let program = Program::start();
    let second = "[[step]]\nid = \"second\"\nat = \"1s\"\nfault = { type = \"error\", on = \"report\" }\nrate = 1\nfor = \"10s\"";
    let text = scenario("nothing", second).replace("on = \"nothing\"", "on = \"order\"");
    let text = text
        .replace("[[steady_state]]", "[[steady_state]]\nfor = \"1500ms\"")
        .replace("owner", "abort_on_critical_alert = false\nowner");
    let report = run(&program, &text).await;
    assert_eq!(report.outcome, Outcome::Deviated);
    assert_eq!(*program.double.1.lock().unwrap(), ["report", "order"]);
}

#[tokio::test(start_paused = true)]
async fn cancelling_removes_the_faults_and_makes_a_report() {
    // T139
    let program = Program::start();
    let runner = program.runner(&scenario("report", ""));
    let report = runner.run(tokio::time::sleep(Duration::from_millis(4050))).await;
    assert_eq!(
        (report.outcome, report.reasons[0].as_str()),
        (Outcome::Aborted, "the experiment was cancelled")
    );
    assert_eq!(program.armed(), 0);
    assert!(report.entries.last().unwrap().seconds < 4.2, "it does not wait for the recovery");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_runner_removes_the_faults_and_makes_a_report() {
    // T139
    let program = Program::start();
    let custom = "[[steady_state]]\nprobe = \"custom\"\nname = \"bomb\"\nmin = 0\nwhen = \"during\"";
    let armed = Arc::clone(&program.double);
    let runner = program.runner(&scenario("report", custom)).probe("bomb", move |_| {
        assert!(armed.armed() == 0, "the test panics once a fault is injected");
        Some(1.0)
    });
    let folder = Folder::new("panic");
    let report = runner.reports_in(&folder.0).run(std::future::pending()).await;
    assert_eq!(report.outcome, Outcome::Aborted);
    assert!(report.reasons[0].contains("the runner panicked"), "{:?}", report.reasons);
    assert_eq!(program.armed(), 0);
    assert!(std::fs::read_to_string(folder.0.join("test.html")).unwrap().contains("the runner panicked"));
    assert!(running(&program.registry).is_none(), "the registry is free again");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_removes_the_faults_and_makes_a_report() {
    // T139
    let program = Program::start();
    let folder = Folder::new("dropped");
    let run = program.runner(&scenario("report", "")).reports_in(&folder.0).run(std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(4), run).await.is_err());
    assert_eq!(program.armed(), 0);
    let report = Report::read(folder.0.join("test.jsonl")).unwrap();
    assert!(report.reasons[0].contains("the runner was dropped"), "{:?}", report.reasons);
    assert!(folder.0.join("test.md").exists());
}

#[tokio::test(start_paused = true)]
async fn faults_end_if_the_controller_is_lost() {
    // T138
    let program = Program::start();
    let mut run = Box::pin(program.runner(&scenario("report", "")).run(std::future::pending()));
    assert!(tokio::time::timeout(Duration::from_secs(3), &mut run).await.is_err());
    assert_eq!(program.armed(), 1);
    // The runner exists, but is not polled any more.
    tokio::time::sleep(Duration::from_millis(199)).await;
    assert_eq!(program.armed(), 1);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(program.armed(), 0);
    let report = run.await;
    assert_eq!(report.outcome, Outcome::Aborted, "it does not go on as if nothing had happened");
    assert!(report.reasons[0].contains("ended early"), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_the_scenario_does_not_list_is_refused() {
    // T145
    let program = Program::start();
    let runner = program.runner(&scenario("report", "")).environment("production");
    let report = runner.run(std::future::pending()).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Refused, 3));
    assert!(report.reasons[0].contains("`production`"), "{:?}", report.reasons);
    assert_eq!(program.double.2.load(Ordering::Relaxed), 0, "nothing was injected");
}

#[tokio::test(start_paused = true)]
async fn an_experiment_is_refused_while_another_one_runs() {
    let program = Program::start();
    let first = program.runner(&scenario("report", "")).run(std::future::pending());
    let second = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(running(&program.registry).unwrap().name(), "test");
        run(&program, &scenario("report", "")).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.outcome, second.outcome), (Outcome::Held, Outcome::Refused));
    assert!(second.reasons[0].contains("`test` runs in this registry"), "{:?}", second.reasons);
    assert!(running(&program.registry).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_controller_leaves_the_files_of_the_running_experiment() {
    let (program, folder) = (Program::start(), Folder::new("second-controller"));
    let runner = || program.runner(&scenario("report", "")).reports_in(&folder.0);
    let second = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        runner().run(std::future::pending()).await
    };
    let (first, second) = tokio::join!(runner().run(std::future::pending()), second);
    assert_eq!((first.outcome, second.outcome), (Outcome::Held, Outcome::Refused));
    let journal = std::fs::read_to_string(folder.0.join("test.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), first.entries.len(), "all of its entries, and no others");
}

#[tokio::test(start_paused = true)]
async fn a_running_experiment_can_be_stopped_by_others() {
    let program = Program::start();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        running(&program.registry).unwrap().stop("ada pressed the button");
    };
    let text = scenario("report", "");
    let (report, ()) = tokio::join!(run(&program, &text), stop);
    assert_eq!((report.outcome, report.reasons[0].as_str()), (Outcome::Aborted, "ada pressed the button"));
    assert_eq!(program.armed(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_experiment_is_refused_without_a_steady_state() {
    let program = Program::start();
    program.registry.circuit_breaker("order").force_open();
    let report = run(&program, &scenario("report", "owner_is = 1").replace("owner_is = 1", "")).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(
        report.reasons[0].contains("success rate of order is 0 %, expected at least 90 %"),
        "{:?}",
        report.reasons
    );

    let idle = Program::start();
    idle.load.abort();
    idle.registry.pipeline("order").build();
    idle.registry.pipeline("report").build();
    let report = run(&idle, &scenario("report", "")).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(report.reasons[0].contains("fewer than 10 calls ended"), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_exist_are_refused_with_near_names() {
    let program = Program::start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let more = "[[expect]]\nexpect = \"breaker\"\nof = \"outage\"\nbreaker = \"ordr\"\nwithin = \"3s\"\n\
        [[steady_state]]\nprobe = \"metric\"\nmetric = \"resilient_cals_total\"\nmin = 1\n\
        [[steady_state]]\nprobe = \"metric\"\nmetric = \"resilient_call_duration_seconds\"\nmin = 1\n\
        [[steady_state]]\nprobe = \"health\"\n[[steady_state]]\nprobe = \"custom\"\nname = \"queue\"\nmin = 1";
    let report = run(&program, &scenario("reprot", more)).await;
    assert_eq!(report.outcome, Outcome::Refused);
    for part in [
        "no operation has this name; did you mean `report`?",
        "there is no circuit breaker `ordr`; did you mean `order`?",
        "did you mean `resilient_calls_total`?",
        "is a histogram",
        "the program has no health check",
        "register it with `Runner::probe`",
    ] {
        assert!(report.reasons.iter().any(|reason| reason.contains(part)), "{part}: {:#?}", report.reasons);
    }
}

/// A disk that is full after some bytes.
struct Disk(usize);

impl std::io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_aborts_the_experiment_and_the_report_says_so() {
    let program = Program::start();
    let journal = Journal::to(Disk(9000));
    let report = program.runner(&scenario("report", "")).journal(&journal).run(std::future::pending()).await;
    assert_eq!(report.outcome, Outcome::Aborted, "{report:#?}");
    assert!(
        report.reasons[0].starts_with("the journal cannot be written: no storage space"),
        "{:?}",
        report.reasons
    );
    assert_eq!(program.armed(), 0);
}

/// Probes that fail while the fault on `report` is injected, and what the report says then.
const FAILING: [(&str, &str); 4] = [
    (
        "probe = \"success_rate\"\noperation = \"report\"\nmin = 0.5\nwindow = \"1s\"",
        "success rate of report is",
    ),
    (
        "probe = \"metric\"\nid = \"open circuits\"\nmetric = \"resilient_circuit_breaker_state\"\nlabels = { name = \"report\", state = \"open\" }\nmax = 0",
        "open circuits is 1, expected at most 0",
    ),
    ("probe = \"custom\"\nname = \"leases\"\nmax = 0", "leases is 1, expected at most 0"),
    ("probe = \"health\"\ncheck = \"leases\"", "health of leases fails, expected pass"),
];

/// Runs a scenario with a table of this kind. The health check and the custom probe fail while a fault is injected.
async fn run_with(table: &str, probe: &str) -> Report {
    let program = Program::start();
    let (double, other) = (Arc::clone(&program.double), Arc::clone(&program.double));
    let check = program.registry.health("leases");
    check.reconfigure(resilient_runtime::health::Config::default().failures(1)).unwrap();
    check.probe(move || {
        let armed = other.armed();
        async move { if armed > 0 { Err("a fault is injected") } else { Ok(()) } }
    });
    let checks = async {
        loop {
            check.check().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let runner = program
        .runner(&scenario("report", &format!("[[{table}]]\n{probe}\n")))
        .probe("leases", move |_| Some(double.armed() as f64));
    let report = tokio::select! {
        report = runner.run(std::future::pending()) => report,
        () = checks => unreachable!("the checks do not end"),
    };
    assert_eq!(program.armed(), 0);
    report
}

#[tokio::test(start_paused = true)]
async fn each_probe_aborts_as_a_rule() {
    for (probe, reason) in FAILING {
        let report = run_with("abort_when", probe).await;
        assert_eq!(report.outcome, Outcome::Aborted, "{probe}: {:?}", report.reasons);
        let expected = format!("an abort rule applies: {reason}");
        assert!(report.reasons.iter().any(|text| text.contains(&expected)), "{:?}", report.reasons);
    }
}

#[tokio::test(start_paused = true)]
async fn each_probe_deviates_as_a_steady_state() {
    for (probe, reason) in FAILING {
        let report = run_with("steady_state", probe).await;
        assert_eq!(report.outcome, Outcome::Deviated, "{probe}: {:?}", report.reasons);
        assert!(report.reasons.iter().any(|text| text.contains(reason)), "{:?}", report.reasons);
    }
}

/// The device behaves as a disk without space.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_experiment_does_not_start_on_a_disk_that_is_full() {
    let program = Program::start();
    let folder = Folder::new("full");
    std::fs::create_dir_all(&folder.0).unwrap();
    for file in ["test.jsonl", "test.md", "test.html"] {
        std::os::unix::fs::symlink("/dev/full", folder.0.join(file)).unwrap();
    }
    let report =
        program.runner(&scenario("report", "")).reports_in(&folder.0).run(std::future::pending()).await;
    assert_eq!(report.outcome, Outcome::Refused, "{report:#?}");
    let reason = "the journal cannot be written: No space left on device";
    assert!(report.reasons.iter().any(|text| text.contains(reason)), "{:?}", report.reasons);
    assert_eq!(program.double.2.load(Ordering::Relaxed), 0, "nothing was injected");
    assert!(running(&program.registry).is_none(), "another experiment can run");
}

#[tokio::test(start_paused = true)]
async fn an_unmet_expectation_is_a_deviation() {
    let program = Program::start();
    program.registry.circuit_breaker("report").disable();
    let expect = "[[expect]]\nexpect = \"breaker\"\nof = \"outage\"\nbreaker = \"report\"\nwithin = \"3s\"";
    let report = run(&program, &scenario("report", expect)).await;
    assert_eq!(report.outcome, Outcome::Deviated);
    assert!(report.reasons[0].contains("still disabled after 3 s"), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn only_probes_inject_nothing() {
    let program = Program::start();
    let report = program.runner(&scenario("report", "")).probes_only().await;
    assert_eq!((report.outcome, report.score()), (Outcome::Held, (1, 1)));
    assert_eq!(program.double.2.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_clock_that_jumps_leaves_nothing_injected() {
    let time = resilient_runtime::clock::ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let double = Arc::new(Double::default());
    let pipelines = ["order", "report"].map(|name| registry.pipeline(name).build());
    let scenario = Scenario::parse(&scenario("report", "")).unwrap();
    let faults = On(Arc::clone(&double), time.clock());
    let run = Runner::with_faults(&registry, scenario, Arc::new(faults))
        .environment("test")
        .run(std::future::pending());
    let drive = async {
        for tick in 0..1000 {
            pipelines.iter().for_each(|pipeline| _ = pipeline.call(|| Some(())));
            match tick {
                300 => time.rewind(Duration::from_mins(10)),
                310 => assert!(double.armed() > 0),
                320 => time.advance(Duration::from_hours(1)),
                _ => {}
            }
            time.advance(Duration::from_millis(10));
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    };
    let report =
        tokio::select! { report = run => report, () = drive => panic!("the experiment does not end") };
    assert_eq!(report.outcome, Outcome::Aborted, "{report:#?}");
    assert_eq!(double.armed(), 0);
}

/// A folder of a test, which is removed with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("resilient-chaos-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_ten_thousand_held_calls_at_once() {
    // T139: at most 100 ms from the trigger to the last injection.
    const CALLS: u32 = 10_000;
    let registry = Registry::with_clock(Clock::tokio());
    let [order, report] = ["order", "report"].map(|name| Arc::new(registry.pipeline(name).build()));
    let load = async {
        loop {
            order.call(|| Some(()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = scenario("report", "")
        .replace("type = \"error\"", "type = \"hang\"")
        .replace("for = \"5s\"", "for = \"1m\"");
    let run = Runner::new(&registry, Scenario::parse(&text).unwrap())
        .environment("test")
        .lease(Duration::from_mins(1));
    let held = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let pipeline = Arc::clone(&report);
                tokio::spawn(async move { pipeline.call_async(async || Some(())).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(registry.chaos().faults()[0].active, CALLS);
        let (trigger, real) = (tokio::time::Instant::now(), std::time::Instant::now());
        running(&registry).unwrap().stop("the test stops it");
        for call in calls {
            call.await.unwrap();
        }
        println!("{CALLS} calls were released after {:?}", real.elapsed());
        assert!(trigger.elapsed() <= Duration::from_millis(100), "{:?}", trigger.elapsed());
        assert!(!registry.chaos().is_armed());
        assert_eq!(report.call(|| Some(1)), Some(1), "no call is hit any more");
    };
    let run = run.run(std::future::pending());
    let outcome = tokio::select! {
        () = load => unreachable!("the load does not end"),
        (report, ()) = async { tokio::join!(run, held) } => report.outcome,
    };
    assert_eq!(outcome, Outcome::Aborted);
}
