//! The commands of fault injection, experiments and the monkey, against a real admin API.

mod common;

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Ran, Running, Served, TOKEN, command, prepared, response, run, serve_with, wait_for};
use resilient_runtime::Registry;
use serde_json::{Value, json};

/// A service whose operations `browse` and `charge` are called all the time, with a folder for files.
struct Shop {
    served: Served,
    folder: PathBuf,
    is_over: Arc<AtomicBool>,
}

impl Shop {
    fn new(name: &str) -> Self {
        let registry = Registry::new();
        let served = serve_with(&registry, |admin| admin.token(TOKEN).unwrap().environment("test"));
        let is_over = Arc::new(AtomicBool::new(false));
        let (browse, charge) = (registry.pipeline("browse").build(), registry.pipeline("charge").build());
        let over = Arc::clone(&is_over);
        // Before the first command, so that both operations are known.
        let call = move || (browse.call(|| Some(7)), charge.call(|| Some(7)));
        call();
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                call();
                thread::park_timeout(Duration::from_millis(2));
            }
        });
        let folder = std::env::temp_dir().join(format!("resilient-cli-chaos-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { served, folder, is_over }
    }

    /// Runs a command with the token, as the user `ada`.
    fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&self.served.url, args);
        command.env("RESILIENT_TOKEN", TOKEN).env("USER", "ada").current_dir(&self.folder);
        command
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.folder.join(name), text).unwrap();
        self
    }

    fn faults(&self) -> usize {
        self.served.registry.chaos().faults().len()
    }

    /// Waits until the number of faults in force is this one.
    fn wait_for_faults(&self, count: usize) {
        let start = Instant::now();
        while self.faults() != count {
            assert!(start.elapsed() < Duration::from_secs(30), "{} faults instead of {count}", self.faults());
            thread::yield_now();
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A scenario in which charges fail for a time.
fn scenario(duration: &str, max_errors: &str) -> String {
    format!(
        r#"
[scenario]
version = 1
name = "charge-fails"
hypothesis = "While charges fail, customers can browse."
owner = "tests"
environment = ["test"]
interval = "500ms"
observe_before = "500ms"
max_duration = "1h"
on_deviation = "continue"

[[steady_state]]
probe = "success_rate"
operation = "browse"
min = "50%"
min_samples = 1

[[step]]
id = "outage"
fault = {{ type = "error", on = "charge" }}
rate = 1.0
for = "{duration}"

[[expect]]
expect = "no_errors"
of = "outage"
operation = "charge"
at_most = {max_errors}

[recovery]
steady_state_within = "10s"
hold = "100ms"
"#
    )
}

const MONKEY: &str = r#"
[monkey]
version = 1
name = "test-monkey"
owner = "tests"
environment = ["test"]
time_zone = "Europe/Berlin"

[[fault]]
id = "charge-fails"
fault = { type = "error", on = "charge" }
rate = "10%"
for = "1m"
"#;

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_fault_is_injected_listed_and_stopped() {
    let shop = Shop::new("fault");
    let ran = shop.run(&["chaos", "list"]);
    assert!(
        ran.code == 0 && ran.out.starts_with("no fault is in force\nenvironment test; at most 64 faults"),
        "{ran:?}"
    );
    let ran = shop.run(&[
        "chaos", "inject", "latency", "--add", "300ms", "--on", "chrage", "--rate", "20%", "--for", "2m",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .starts_with("fault 1: latency 300ms on chrage, 20 %, ends in 2m00s; resilient chaos stop 1\n"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("warning: no known operation matches `chrage`; did you mean `charge`?"),
        "{ran:?}"
    );
    let ran =
        shop.run(&["chaos", "inject", "hang", "--on", "charge", "--times", "1", "--by", "bob", "--json"]);
    let armed = json_of(&ran.out);
    assert_eq!((&armed["id"], &armed["by"]), (&json!(2), &json!("admin API (bob)")));
    let ran = shop.run(&["chaos", "list"]);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("id  fault"), "{ran:?}");
    assert!(lines[1].contains("latency 300ms") && lines[1].contains("admin API (ada)"), "{ran:?}");
    assert!(ran.out.contains("warning: fault 1: no known operation matches"), "{ran:?}");
    assert_eq!(json_of(&shop.run(&["chaos", "list", "--json"]).out)["faults"][1]["id"], 2);
    let ran = shop.run(&["chaos", "stop", "1"]);
    assert_eq!((ran.code, ran.out.as_str(), shop.faults()), (0, "fault 1 has ended\n", 1));
    let ran = shop.run(&["chaos", "stop", "1"]);
    assert!(ran.code == 5 && ran.err.contains("fault 1 is not in force"), "{ran:?}");
    let ran = shop.run(&["chaos", "stop"]);
    assert_eq!((ran.code, ran.out.as_str(), shop.faults()), (0, "stopped: 1 fault\n", 0));
    assert_eq!(shop.run(&["chaos", "stop"]).out, "nothing was injected\n");
}

#[test]
fn a_fault_comes_from_a_file_and_options_override_it() {
    let shop = Shop::new("file");
    shop.write(
        "fault.toml",
        "type = \"refuse\"\nas = \"rate_limited\"\non = [\"charge\", \"browse\"]\nttl = \"1m\"\n",
    );
    let ran = shop.run(&["chaos", "inject", "--file", "fault.toml", "--rate", "0.5", "every=2"]);
    assert!(
        ran.code == 0 && ran.out.contains("refuse, rate_limited on charge, browse, 50 %, 1 in 2"),
        "{ran:?}"
    );
    shop.write("fault.json", r#" { "type": "error", "class": "overload", "component": { "kind": "circuit_breaker", "name": "pay" } }"#);
    let ran = shop.run(&["chaos", "inject", "--file", "fault.json"]);
    assert!(ran.code == 0 && ran.out.contains("error, overload on circuit_breaker `pay`"), "{ran:?}");
    for (file, why) in [("{", "invalid JSON"), ("type =", "invalid TOML")] {
        let ran = shop.write("fault.toml", file).run(&["chaos", "inject", "--file", "fault.toml"]);
        assert!(ran.code == 2 && ran.err.contains(why), "{ran:?}");
    }
    assert_eq!(shop.run(&["chaos", "inject", "--file", "missing.toml"]).code, 2);
}

#[test]
fn an_invalid_fault_is_not_sent_and_all_problems_are_told() {
    // There is no service, so that a request would fail with another code.
    let ran = run(&mut command(
        "http://127.0.0.1:9",
        &["chaos", "inject", "latncy", "--rate", "7", "--for", "0s", "tims=3"],
    ));
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    for problem in [
        "the fault has 5 problems, and was not sent",
        "unknown type `latncy`; did you mean `latency`?",
        "unknown key `tims`; did you mean `times`?",
        "the fault has no target",
        "the rate 7",
        "the time to live 0s",
        "choose calls with `--on OPERATION`",
    ] {
        assert!(ran.err.contains(problem), "{problem}: {}", ran.err);
    }
    let ran = run(&mut command("http://127.0.0.1:9", &["chaos", "inject", "hang", "--component", "payment"]));
    assert!(ran.code == 2 && ran.err.contains("--component circuit_breaker/payment"), "{ran:?}");
}

#[test]
fn an_experiment_is_followed_to_its_end_and_reported() {
    let shop = Shop::new("held");
    shop.write("scenario.toml", &scenario("1s", "1.0"));
    let ran = shop.run(&["experiment", "plan", "scenario.toml", "--on-service"]);
    assert!(ran.code == 0 && ran.out.contains("Timeline:"), "{ran:?}");
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--reports", "reports"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "charge-fails: While charges fail, customers can browse.",
        "success rate of browse: 100 %, holds (at least 50 %)",
        "step `outage` starts: error on charge",
        "step `outage` ends after ",
        "passed  at most 100 % of the callers of `charge` see an error",
        "charge-fails: held, score",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let read = |name: &str| std::fs::read_to_string(shop.folder.join("reports").join(name)).unwrap();
    assert!(read("charge-fails.md").starts_with("# charge-fails: held"));
    assert!(read("charge-fails.html").starts_with("<!doctype html>"));
    assert_eq!(json_of(read("charge-fails.jsonl").lines().last().unwrap())["outcome"], "held");
    let list = shop.run(&["experiment", "list"]);
    assert!(list.out.contains("charge-fails  held") && list.out.contains("admin API (ada)"), "{list:?}");
    // The report is made again without the service.
    let again = run(command("http://127.0.0.1:9", &["experiment", "report", "reports/charge-fails.jsonl"])
        .current_dir(&shop.folder));
    assert_eq!((again.code, again.out), (0, read("charge-fails.md")));
    let again =
        shop.run(&["experiment", "report", "reports/charge-fails.jsonl", "--reports", "again", "--json"]);
    assert_eq!(json_of(&again.out)["state"], "held");
    assert!(shop.folder.join("again/charge-fails.html").exists());
}

#[test]
fn a_deviation_has_its_own_exit_code_and_json_is_one_entry_a_line() {
    let shop = Shop::new("deviated");
    shop.write("scenario.toml", &scenario("1s", "0.0"));
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let entries: Vec<_> = ran.out.lines().map(json_of).collect();
    assert_eq!(
        (&entries[0]["entry"], &entries.last().unwrap()["outcome"]),
        (&json!("began"), &json!("deviated"))
    );
    shop.write("journal.jsonl", &ran.out);
    let ran = shop.run(&["experiment", "report", "journal.jsonl", "--exit-code"]);
    assert!(ran.code == 1 && ran.out.contains("deviated"), "{ran:?}");
}

#[test]
fn probes_only_inject_nothing() {
    let shop = Shop::new("probes");
    shop.write("scenario.toml", &scenario("1h", "0.0"));
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--probes"]);
    assert!(
        ran.code == 0 && ran.out.contains("only the probes are read") && !ran.out.contains("step `"),
        "{ran:?}"
    );
}

#[cfg(unix)]
fn signal(child: &Running, name: &str) {
    let status = Command::new("kill").args([name, &child.0.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_aborts_the_experiment_and_waits_for_its_end() {
    for name in ["-INT", "-TERM"] {
        let shop = Shop::new(name);
        shop.write("scenario.toml", &scenario("30m", "1.0"));
        let mut child = Running(shop.command(&["experiment", "run", "scenario.toml"]).spawn().unwrap());
        let mut out = wait_for(child.0.stdout.take().unwrap(), "step `outage` starts");
        assert_eq!(shop.faults(), 1);
        let other = shop.run(&["experiment", "run", "overload"]);
        assert!(
            other.code == 3
                && other.err.contains("`charge-fails` runs")
                && other.err.contains("experiment stop"),
            "{other:?}"
        );
        signal(&child, name);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(2), "{rest}");
        assert!(
            rest.contains("aborted by admin API (ada)") && rest.contains("charge-fails: aborted"),
            "{rest}"
        );
        assert_eq!(shop.faults(), 0);
    }
}

#[test]
fn a_client_that_dies_leaves_nothing_injected() {
    let shop = Shop::new("dies");
    shop.write("scenario.toml", &scenario("30m", "1.0"));
    let mut child = Running(shop.command(&["experiment", "run", "scenario.toml"]).spawn().unwrap());
    let _out = wait_for(child.0.stdout.take().unwrap(), "step `outage` starts");
    drop(child);
    shop.wait_for_faults(0);
}

#[test]
fn a_detached_experiment_runs_until_it_is_stopped() {
    let shop = Shop::new("detached");
    shop.write("scenario.toml", &scenario("30m", "1.0"));
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--detach"]);
    assert!(ran.code == 0 && ran.out.starts_with("experiment 1 charge-fails runs\n"), "{ran:?}");
    shop.wait_for_faults(1);
    assert!(
        shop.run(&["chaos", "list"])
            .out
            .contains("experiment 1 charge-fails runs (steps, by admin API (ada))")
    );
    let ran = shop.run(&["experiment", "stop"]);
    assert_eq!((ran.code, ran.out.as_str(), shop.faults()), (0, "experiment 1 charge-fails: aborted\n", 0));
    let ran = shop.run(&["experiment", "stop"]);
    assert!(ran.code == 5 && ran.err.contains("no experiment runs"), "{ran:?}");
    let ran = shop.run(&["experiment", "stop", "77"]);
    assert!(ran.code == 5 && ran.err.contains("there is no experiment 77"), "{ran:?}");
}

#[test]
fn chaos_stop_aborts_an_experiment_that_somebody_follows() {
    let shop = Shop::new("stop");
    shop.write("scenario.toml", &scenario("30m", "1.0"));
    let mut child = Running(shop.command(&["experiment", "run", "scenario.toml"]).spawn().unwrap());
    let _out = wait_for(child.0.stdout.take().unwrap(), "step `outage` starts");
    let ran = shop.run(&["chaos", "stop"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "stopped: 1 fault, the experiment charge-fails\n"));
    assert_eq!(child.0.wait().unwrap().code(), Some(2));
}

#[test]
fn a_refused_or_invalid_experiment_is_told_with_all_reasons() {
    let shop = Shop::new("refused");
    shop.write(
        "scenario.toml",
        &scenario("1s", "1.0").replace("[\"test\"]", "[\"staging\"]").replace("\"charge\"", "\"chrage\""),
    );
    // The files can belong to an experiment that runs.
    std::fs::create_dir(shop.folder.join("reports")).unwrap();
    shop.write("reports/charge-fails.jsonl", "entries of another experiment\n");
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--reports", "reports"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.err.contains("the experiment is refused\n"), "{ran:?}");
    let kept = std::fs::read_to_string(shop.folder.join("reports/charge-fails.jsonl")).unwrap();
    assert_eq!(kept, "entries of another experiment\n");
    assert!(ran.err.contains("`staging`") && ran.err.contains("did you mean `charge`?"), "{ran:?}");
    shop.write("scenario.toml", &scenario("1s", "1.0").replace("hypothesis", "hypotesis"));
    let ran = shop.run(&["experiment", "run", "scenario.toml"]);
    assert!(ran.code == 3 && ran.out.contains("did you mean `hypothesis`?"), "{ran:?}");
    for (name, hint) in [("overlod", "did you mean `overload`?"), ("xyzzy", "resilient experiment scenarios")]
    {
        let ran = shop.run(&["experiment", "run", name]);
        assert!(ran.code == 3 && ran.err.contains(hint), "{ran:?}");
    }
    let ran = run(&mut command(&shop.served.url, &["experiment", "run", "overload"]));
    assert!(ran.code == 4 && ran.err.contains("the admin token is required"), "{ran:?}");
    let ran = run(&mut command("http://127.0.0.1:9", &["experiment", "run", "overload"]));
    assert!(ran.code == 3 && ran.err.contains("no service at"), "{ran:?}");
    // The folder of the reports is checked before anything is injected.
    shop.write("occupied", "").write("scenario.toml", &scenario("1s", "1.0"));
    let ran = shop.run(&["experiment", "run", "scenario.toml", "--reports", "occupied"]);
    assert!(
        ran.code == 3 && ran.err.contains("cannot write the journal") && ran.err.contains("--reports"),
        "{ran:?}"
    );
    assert_eq!(json_of(&shop.run(&["experiment", "list", "--json"]).out)["finished"], json!([]));
}

#[test]
fn the_scenarios_are_listed() {
    let ran = run(&mut command("http://127.0.0.1:9", &["experiment", "scenarios"]));
    assert!(ran.code == 0 && ran.out.contains("dependency-down"), "{ran:?}");
    let ran = run(&mut command("http://127.0.0.1:9", &["experiment", "scenarios", "--json"]));
    assert_eq!(json_of(&ran.out).as_array().unwrap().len(), 6);
}

#[test]
fn a_plan_of_the_monkey_shows_its_next_decisions() {
    let shop = Shop::new("plan");
    shop.write("monkey.toml", MONKEY);
    let args = ["monkey", "plan", "monkey.toml", "--start", "2026-11-30T22:00:00Z", "--count", "3"];
    let ran = shop.run(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.out.contains(
            "at most 2 faults in any hour, Mon, Tue, Wed, Thu, Fri from 09:00 to 17:00 Europe/Berlin"
        ),
        "{ran:?}"
    );
    assert!(ran.out.contains("charge-fails: error on charge, 10% of the calls, for 1m00s"), "{ran:?}");
    assert_eq!(
        ran.out
            .lines()
            .filter(|line| line.ends_with("  charge-fails") && line.contains("Tue 2026-12-01 "))
            .count(),
        3,
        "{}",
        ran.out
    );
    assert!(ran.out.contains("nothing: it is outside of the business hours (20 decisions)"), "{ran:?}");
    assert_eq!(shop.run(&args).out, ran.out, "the same seed makes the same decisions");
    let other = shop.run(&[&args[..], &["--seed", "7"]].concat());
    assert_ne!(other.out, ran.out);
    let json = json_of(&shop.run(&[&args[..], &["--json"]].concat()).out);
    assert_eq!(
        json["decisions"].as_array().unwrap().iter().filter(|it| it["fault"] == "charge-fails").count(),
        3
    );
    shop.write("monkey.toml", &MONKEY.replace("Berlin", "Berln").replace("owner", "ownr"));
    let ran = shop.run(&args);
    assert!(
        ran.code == 1
            && ran.out.contains("did you mean `Europe/Berlin`?")
            && ran.out.contains("did you mean `owner`?"),
        "{ran:?}"
    );
}

#[cfg(unix)]
#[test]
fn the_monkey_is_followed_and_stopped() {
    let shop = Shop::new("monkey");
    shop.write("monkey.toml", MONKEY);
    let follow = || Running(shop.command(&["monkey", "run", "monkey.toml"]).spawn().unwrap());
    let runs = || shop.run(&["chaos", "list"]).out.contains("monkey test-monkey runs");
    let mut child = follow();
    let _out = wait_for(child.0.stdout.take().unwrap(), "the monkey runs");
    assert!(runs());
    let ran = shop.run(&["monkey", "run", "monkey.toml"]);
    assert!(
        ran.code == 5 && ran.err.contains("`test-monkey` runs") && ran.err.contains("resilient monkey stop"),
        "{ran:?}"
    );
    signal(&child, "-INT");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    assert!(!runs());
    // Stopped by another person.
    let mut child = follow();
    let _out = wait_for(child.0.stdout.take().unwrap(), "the monkey runs");
    assert_eq!(shop.run(&["monkey", "stop"]).out, "the monkey has stopped, and its faults are removed\n");
    assert_eq!(child.0.wait().unwrap().code(), Some(1));
    let ran = shop.run(&["monkey", "stop"]);
    assert!(ran.code == 5 && ran.err.contains("no monkey runs"), "{ran:?}");
    assert_eq!(
        shop.run(&["monkey", "run", "monkey.toml", "--detach"]).out,
        "monkey test-monkey runs until `resilient monkey stop`\n"
    );
    assert_eq!(shop.run(&["chaos", "stop"]).out, "stopped: the monkey\n");
    // The client dies.
    let mut child = follow();
    let _out = wait_for(child.0.stdout.take().unwrap(), "the monkey runs");
    drop(child);
    let start = Instant::now();
    while runs() {
        assert!(start.elapsed() < Duration::from_secs(30), "the monkey is still there");
    }
}

#[test]
fn a_service_without_fault_injection_is_told_with_the_remedy() {
    let problem = |detail: &str| {
        response(
            "404 Not Found",
            "content-type: application/problem+json\r\n",
            &json!({ "detail": detail, "status": 404 }).to_string(),
        )
    };
    for detail in [
        "this program was built without the feature `chaos` of `resilient-http`, so it has no fault injection",
        "no such endpoint",
    ] {
        for args in [
            &["chaos", "list"][..],
            &["chaos", "stop"],
            &["chaos", "stop", "3"],
            &["chaos", "inject", "hang", "--on", "x"],
            &["experiment", "list"],
            &["monkey", "stop"],
        ] {
            let ran = run(&mut command(&prepared(vec![problem(detail)]), args));
            assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{args:?}: {ran:?}");
            assert!(
                ran.err.contains("built without fault injection")
                    && ran.err.contains("enable the feature `chaos`"),
                "{ran:?}"
            );
        }
        let ran = run(&mut command(&prepared(vec![problem(detail)]), &["experiment", "run", "overload"]));
        assert!(ran.code == 3 && ran.err.contains("enable the feature `chaos`"), "{ran:?}");
    }
}

/// A journal as server-sent events. If its last entry is not `ended`, the connection is lost after it.
#[allow(clippy::unnecessary_wraps)] // `prepared` takes options
fn journal(entries: &[&str]) -> Option<String> {
    let mut body = entries.iter().fold(String::new(), |body, entry| body + "data: " + entry + "\n\n");
    if entries.last().is_some_and(|last| last.contains("ended")) {
        body += "event: end\ndata: {}\n\n";
    }
    Some(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: listening\n\n{body}"
    ))
}

#[test]
fn a_lost_connection_is_told_and_entries_are_not_repeated() {
    let started = response(
        "202 Accepted",
        "content-type: application/json\r\n",
        r#"{"id":1,"scenario":"overload","state":"running"}"#,
    );
    let note = |text: &str| format!(r#"{{"seconds":1.0,"entry":"note","by":"ada","text":"{text}"}}"#);
    let (one, two) = (note("one"), note("two"));
    let ended = r#"{"seconds":2.0,"entry":"ended","outcome":"held"}"#;
    let url = prepared(vec![started.clone(), journal(&[&one]), journal(&[&one, &two, ended])]);
    let ran = run(&mut command(&url, &["experiment", "run", "overload"]));
    assert!(ran.err.contains("connection lost") && ran.err.contains("connected again"), "{ran:?}");
    assert_eq!(
        (ran.out.matches("note of ada: one").count(), ran.out.matches("note of ada: two").count()),
        (1, 1),
        "{ran:?}"
    );
    assert!(ran.out.contains("overload: held"), "{ran:?}");
    // The service answers no more.
    let gone = response(
        "404 Not Found",
        "content-type: application/problem+json\r\n",
        r#"{"detail":"there is no experiment 1","status":404}"#,
    );
    let ran = run(&mut command(
        &prepared(vec![started, journal(&[&one]), gone]),
        &["experiment", "run", "overload"],
    ));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("the end of the experiment is unknown")
            && ran.err.contains("removes the faults by itself"),
        "{ran:?}"
    );
}

#[test]
fn hostile_journals_do_not_reach_the_terminal_or_other_files() {
    let shop = Shop::new("hostile");
    let started = response(
        "202 Accepted",
        "content-type: application/json\r\n",
        &json!({ "id": "\u{1b}[2J/../x", "scenario": "\u{202e}x" }).to_string(),
    );
    let text = "\u{1b}]0;x\u{7}\u{202e}".repeat(100);
    let began = json!({ "seconds": 0.0, "entry": "began", "name": "../../escaped", "hypothesis": text, "owner": text, "seed": 1, "environment": text,
        "started": text, "probes_only": false, "probes": [], "steps": [], "recovery_within": 1.0 });
    let entries = [
        began,
        json!({ "seconds": 1e300, "entry": "aborted", "reason": text }),
        json!({ "seconds": -1e300, "entry": text, text.clone(): text }),
        json!([text]),
        json!({ "seconds": 1.0, "entry": "check", "name": text, "kind": "recovery", "passed": false, "detail": text, "weight": u64::MAX }),
        json!({ "seconds": 1.0, "entry": "ended", "outcome": "aborted" }),
    ];
    let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    for json in [&[][..], &["--json"]] {
        let url = prepared(vec![started.clone(), journal(&entries)]);
        let args = [&["experiment", "run", "overload", "--reports", "reports"][..], json].concat();
        let ran = run(command(&url, &args).current_dir(&shop.folder));
        assert_eq!(ran.code, 2, "{ran:?}");
        let all = ran.out + &ran.err;
        assert!(!all.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{all:?}");
    }
    let mut files: Vec<_> = std::fs::read_dir(shop.folder.join("reports"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["overload.html", "overload.jsonl", "overload.md"]);
    let ran = shop.run(&["experiment", "report", "reports/overload.jsonl"]);
    assert!(!ran.out.contains('\u{1b}'), "{ran:?}");
}
