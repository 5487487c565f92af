//! The commands that read and control a service, against a real admin API.

mod common;

use common::{TOKEN, command, run, serve, serve_with, shop, wait_for};
use resilient_runtime::circuit_breaker::State;
use resilient_runtime::{Component, Registry, resilient};
use serde_json::{Value, json};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn stats_are_a_table_for_people_and_json_for_programs() {
    let served = serve(&shop());
    let ran = served.run(&["stats"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[0], "operations");
    assert!(lines[1].starts_with("name      calls   ok  degraded  failed  refused  running"), "{}", ran.out);
    assert!(lines[2].starts_with("checkout      4  75%        0%     25%       0%        0"), "{}", ran.out);
    assert!(ran.out.contains("payment  closed") && ran.out.contains("bulkhead 1"), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'), "no colours in a pipe: {:?}", ran.out);
    let all = json_of(&served.run(&["stats", "--json"]).out);
    assert_eq!(all["operations"]["checkout"]["calls"], 4);
    let one = json_of(&served.run(&["--json", "stats", "circuit_breaker/payment"]).out);
    assert_eq!(one["state"], "closed");
    let one = served.run(&["stats", "circuit_breaker/payment"]).out;
    assert!(one.contains("window.failed          1\n"), "{one}");
    assert!(served.run(&["stats", "operations/checkout"]).out.contains("failed"));
    assert!(
        served.run(&["stats", "bulkhead"]).out.contains("gateway  available 64"),
        "{}",
        served.run(&["stats", "bulkhead"]).out
    );
}

#[test]
fn an_unknown_name_is_answered_with_near_names() {
    let served = serve(&shop());
    for (args, text) in [
        (
            &["stats", "circuit_breaker/paymnt"][..],
            "there is no circuit_breaker `paymnt`; did you mean `payment`?",
        ),
        (&["stats", "circut_breaker"], "there is no kind `circut_breaker`; did you mean `circuit_breaker`?"),
        (&["stats", "operations/chekout"], "there is no operation `chekout`; did you mean `checkout`?"),
        (&["explain", "gatewy"], "there is no operation or component `gatewy`; did you mean `gateway`?"),
        (&["config", "bulkhead/gatewy"], "there is no bulkhead `gatewy`; did you mean `gateway`?"),
        (&["config", "bulkhed"], "no component of the kind `bulkhed`; did you mean `bulkhead`?"),
        (&["open", "paymnt"], "did you mean `payment`?"),
        (&["reset", "bulkhead", "gatewy"], "did you mean `gateway`?"),
        (&["reset", "bulkhed", "gateway"], "unknown component kind `bulkhed`; did you mean `bulkhead`?"),
        (&["set", "circuit_breaker", "payment", "open_fr=1s"], "open_for"),
    ] {
        let ran = served.run_as_admin(args);
        assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{args:?}: {ran:?}");
        assert!(ran.err.contains(text), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_circuit_is_controlled_and_reset() {
    let served = serve(&shop());
    let breaker = served.registry.circuit_breaker("payment");
    for (lever, state, text) in [
        (
            "open",
            State::ForcedOpen,
            "circuit `payment` is forced_open: it rejects all calls until `resilient resume`\n",
        ),
        (
            "close",
            State::ForcedClosed,
            "circuit `payment` is forced_closed: it admits all calls until `resilient resume`\n",
        ),
        (
            "disable",
            State::Disabled,
            "circuit `payment` is disabled: it admits all calls and measures nothing until `resilient resume`\n",
        ),
        ("resume", State::Closed, "circuit `payment` is closed: it works automatically\n"),
    ] {
        let ran = served.run_as_admin(&[lever, "payment"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, text, ""));
        assert_eq!(breaker.state(), state);
    }
    let ran = served.run_as_admin(&["open", "payment", "--json"]);
    assert_eq!(json_of(&ran.out), json!({ "circuit_breaker": "payment", "state": "forced_open" }));
    let ran = served.run_as_admin(&["reset", "circuit_breaker", "payment"]);
    assert_eq!(ran.out, "circuit_breaker `payment` is reset\n");
    let ran = served.run_as_admin(&["reset", "circuit_breaker", "payment", "--scope", "cluster"]);
    assert!(ran.code != 0 && ran.out.is_empty() && ran.err.contains("it has no `store`"), "{ran:?}");
    assert_eq!((breaker.state(), breaker.stats().failed), (State::Closed, 0));
}

#[test]
fn settings_are_overridden_and_restored() {
    let served = serve(&shop());
    let breaker = served.registry.circuit_breaker("payment");
    let before = breaker.config().open_for;
    let ran = served.run_as_admin(&["set", "circuit_breaker", "payment", "open_for=42s", "failure_rate=30%"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(breaker.config().open_for.as_secs(), 42);
    let changed = served.run(&["config", "circuit_breaker/payment", "--changed"]).out;
    assert!(
        changed.contains("open_for") && changed.contains("42s") && changed.contains("runtime"),
        "{changed}"
    );
    assert!(!changed.contains("default"), "{changed}");
    assert_eq!(served.run_as_admin(&["unset", "circuit_breaker", "payment", "failure_rate"]).code, 0);
    assert_eq!(breaker.config().open_for.as_secs(), 42, "only the named override is removed");
    assert_eq!(served.run_as_admin(&["unset", "circuit_breaker", "payment"]).code, 0);
    assert_eq!(breaker.config().open_for, before);
    for (setting, why) in [
        ("open_for=soon", "a duration with a unit"),
        ("failure_rate=99999999999999999999999", "failure_rate"),
        ("open_for=-1", "open_for"),
    ] {
        let ran = served.run_as_admin(&["set", "circuit_breaker", "payment", setting]);
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
    }
    assert_eq!(
        served.run_as_admin(&["set", "circuit_breaker", "payment", "open_for=1s", "open_for=2s"]).code,
        2
    );
}

#[test]
fn a_missing_or_wrong_token_is_explained_and_never_printed() {
    let served = serve(&shop());
    let ran = served.run(&["open", "payment"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(
        ran.err.contains("the admin token is required") && ran.err.contains("RESILIENT_TOKEN"),
        "{}",
        ran.err
    );
    let wrong = "a-wrong-token-0123456789";
    let ran = run(command(&served.url, &["open", "payment"]).env("RESILIENT_TOKEN", wrong));
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("wrong admin token")
            && ran.err.contains("the token is from the variable RESILIENT_TOKEN"),
        "{}",
        ran.err
    );
    let ran = served.run(&["open", "payment", "--token", wrong]);
    assert!(
        ran.err.contains("visible in the list of processes") && ran.err.contains("from the option --token"),
        "{}",
        ran.err
    );
    assert!(!format!("{ran:?}").contains(wrong), "{ran:?}");
    for args in [
        &["--token", wrong, "nonsense"][..],
        &["stats", "--token", wrong, "--bad"],
        &["--token", wrong, "--token-file", "x", "stats"],
        &["--tokn", wrong, "stats"],
    ] {
        let ran = served.run(args);
        assert_eq!(ran.code, 2);
        assert!(!ran.err.contains(wrong), "{args:?}: {}", ran.err);
    }
    assert_eq!(served.registry.circuit_breaker("payment").state(), State::Closed);
}

#[test]
fn a_token_comes_from_a_file() {
    let served = serve(&shop());
    let path = std::env::temp_dir().join(format!("resilient-cli-token-{}", std::process::id()));
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let ran = served.run(&["open", "payment", "--token-file", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.err.contains(TOKEN), "{ran:?}");
    let ran = served.run(&["open", "payment", "--token-file", path.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "the file is gone: {ran:?}");
}

#[test]
fn a_service_without_a_token_says_what_to_set() {
    let registry = shop();
    // `Admin::serve` would generate a token.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = resilient_http::Admin::new(&registry).router();
    runtime.spawn(resilient_http::HttpServer::new(router).run(listener, std::future::pending()));
    let ran = run(&mut command(&url, &["open", "payment"]));
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("the service has no admin token") && ran.err.contains("Admin::token"),
        "{}",
        ran.err
    );
}

#[test]
fn the_prefix_of_the_api_can_differ() {
    let served = serve_with(&shop(), |admin| admin.prefix("/internal").token(TOKEN).unwrap());
    assert_eq!(served.run(&["health", "--prefix", "/internal"]).code, 0);
    let ran = served.run(&["health"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("--prefix"), "{}", ran.err);
}

#[test]
fn health_decides_the_exit_code() {
    let registry = shop();
    registry
        .health("gateway")
        .probe(async || Err::<(), _>(std::io::Error::other("connection\u{1b}[31m refused")));
    let served = serve(&registry);
    let ran = served.run(&["health"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.starts_with("fail\n") && ran.out.contains("[31m refused") && !ran.out.contains('\u{1b}'),
        "{}",
        ran.out
    );
    assert_eq!(json_of(&served.run(&["health", "--json"]).out)["status"], "fail");
    let ran = serve(&shop()).run(&["health", "--checks", "live"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "pass\n"));
}

#[test]
fn alerts_are_listed_and_can_decide_the_exit_code() {
    use resilient_runtime::alert;
    let registry = shop();
    let served = serve(&registry);
    let ran = served.run(&["alerts", "--exit-code"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("the service has no alerts"), "{ran:?}");
    let config =
        alert::Config::default().operation("checkout").signal(alert::Signal::ErrorRate).critical(0.1);
    registry.alert("failing").reconfigure(config.min_samples(0).hold(std::time::Duration::ZERO)).unwrap();
    let ran = served.run(&["alerts"]);
    assert!(ran.code == 0 && ran.out.contains("failing") && ran.out.contains("error_rate"), "{ran:?}");
    assert!(json_of(&served.run(&["alerts", "--json"]).out)["failing"].is_object());
}

#[test]
fn events_are_filtered_and_counted() {
    let served = serve(&shop());
    let mut child = common::Running(
        command(&served.url, &["events", "--kind", "circuit_breaker", "--count", "2"]).spawn().unwrap(),
    );
    let _rest = wait_for(child.0.stderr.take().unwrap(), "listening to");
    served.registry.bulkhead("gateway").reset();
    served.registry.circuit_breaker("payment").force_open();
    served.registry.circuit_breaker("payment").reset();
    assert!(child.0.wait().unwrap().success());
    let mut out = String::new();
    std::io::Read::read_to_string(child.0.stdout.as_mut().unwrap(), &mut out).unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(
        lines[0].contains("circuit_breaker payment  transition  from=closed")
            && lines[0].contains("to=forced_open"),
        "{out}"
    );
    let ran = served.run(&["events", "--kind", "circut_breaker"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `circuit_breaker`?"), "{}", ran.err);
}

#[test]
fn metrics_are_printed_as_they_are() {
    let served = serve(&shop());
    let ran = served.run(&["metrics"]);
    assert!(
        ran.code == 0
            && ran.out.contains("resilient_calls_total{operation=\"checkout\",outcome=\"success\"} 3"),
        "{ran:?}"
    );
    assert_eq!(served.run(&["metrics", "--json"]).code, 2);
}

#[resilient(circuit_breaker = "explained", retry(max = 1))]
async fn explained_in_a_test() -> Option<u8> {
    Some(1)
}

#[test]
fn an_annotated_function_is_explained() {
    // A function that is never called is not in the program.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(explained_in_a_test()), Some(1));
    let served = serve(resilient_runtime::registry());
    let list = served.run(&["explain"]);
    assert!(
        list.out.contains("explained_in_a_test") && list.out.contains("retry > circuit_breaker"),
        "{list:?}"
    );
    let one = served.run(&["explain", "explained_in_a_test"]).out;
    assert!(one.contains("2. circuit_breaker explained\n") && one.contains("open_for"), "{one}");
    assert!(served.run(&["explain", "explained"]).out.starts_with("circuit_breaker explained\n"));
    assert_eq!(
        json_of(&served.run(&["explain", "explained_in_a_test", "--json"]).out)["site"]["operation"],
        "service::explained_in_a_test"
    );
}

#[test]
fn names_of_a_service_cannot_control_the_terminal() {
    let registry = Registry::new();
    for name in ["\u{202e}txt.exe", "דואר", "支付", &"n".repeat(10_000)] {
        registry.pipeline(name).circuit_breaker(name).build().call(|| Some(1));
    }
    let served = serve(&registry);
    for args in [
        &["stats"][..],
        &["stats", "circuit_breaker"],
        &["config"],
        &["health"],
        &["stats", "--json"],
        &["config", "--json"],
        &["metrics"],
    ] {
        let ran = served.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(!ran.out.contains(['\u{202e}', '\u{1b}']), "{args:?}: {}", ran.out);
    }
    let out = served.run(&["stats"]).out;
    assert!(out.contains("\u{fffd}txt.exe") && out.contains("דואר") && out.contains("支付"), "{out}");
    assert_eq!(
        json_of(&served.run(&["stats", "--json"]).out)["operations"]["\u{202e}txt.exe"]["calls"],
        1,
        "JSON keeps the name"
    );
    // The command line of a user is printed too.
    for name in ["\u{1b}[2J\u{202e}", &"x".repeat(10_000), "..", "a/b?c#d", "\n"] {
        for args in [["open", name], ["explain", name]] {
            let ran = served.run_as_admin(&args);
            assert_eq!(ran.code, 5, "{args:?}: {ran:?}");
            assert!(!ran.err.contains(['\u{202e}', '\u{1b}']) && ran.err.len() < 2000, "{ran:?}");
        }
    }
    assert_eq!(served.run_as_admin(&["open", "\u{202e}txt.exe"]).code, 0, "the name itself works");
}
