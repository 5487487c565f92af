//! End-to-end tests of the chaos endpoints, over TCP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use resilient_http::Admin;
use resilient_runtime::clock::Clock;
use resilient_runtime::{EventKind, Kind, Registry};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-for-tests-0123456789";
/// No wait in these tests takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// An admin server with its own registry, and calls to the operations `browse` and `charge`.
struct Served {
    registry: Registry,
    address: SocketAddr,
    client: reqwest::Client,
    server: JoinHandle<()>,
    load: JoinHandle<()>,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
    json: Value,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
        self.load.abort();
    }
}

async fn serve() -> Served {
    let registry = Registry::with_clock(Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let admin = Admin::new(&registry).token(TOKEN).unwrap().environment("test");
    let server = tokio::spawn(async move { admin.serve(listener).await.unwrap() });
    let (browse, charge) = (registry.pipeline("browse").build(), registry.pipeline("charge").build());
    let load = tokio::spawn(async move {
        loop {
            let _ = browse.call(|| Some(7));
            let _ = charge.call(|| Some(7));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    Served { registry, address, client: reqwest::Client::new(), server, load }
}

impl Served {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client
            .request(method, format!("http://{}/api/resilience{path}", self.address))
            .bearer_auth(TOKEN)
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        answer(self.request(method, path)).await
    }

    async fn send(&self, path: &str, body: Value) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/json");
        answer(request.body(body.to_string())).await
    }

    /// Starts the experiment of [`scenario`], and waits until its fault is in force. Returns its path.
    async fn start(&self, more: Value) -> String {
        self.wait_until(|served| served.registry.stats().operations.len() == 2).await;
        let mut body = json!({ "toml": scenario("30s") });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let started = self.send("/chaos/experiments", body).await;
        assert_eq!(started.status, 202, "{}", started.text);
        let location = started.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(location, format!("/api/resilience/chaos/experiments/{}", started.json["id"]));
        self.wait_until(|served| served.registry.chaos().is_armed()).await;
        location.trim_start_matches("/api/resilience").to_owned()
    }

    async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "it did not happen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for the end of an experiment. Returns its state.
    async fn end_of(&self, path: &str) -> Value {
        let start = Instant::now();
        loop {
            let state = self.ask("GET", path).await.json;
            if state["state"] != "running" {
                return state;
            }
            assert!(start.elapsed() < PATIENCE, "{state}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status, headers, text, json }
}

/// A scenario that fails every `charge` for this time, and that does not deviate.
fn scenario(duration: &str) -> String {
    format!(
        r#"
[scenario]
version = 1
name = "charge-fails"
hypothesis = "While charges fail, customers can browse."
owner = "tests"
environment = ["test"]
interval = "50ms"
observe_before = "200ms"
max_duration = "1h"

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
time_zone = "UTC"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

[[fault]]
id = "errors"
fault = { type = "error", on = "charge" }
rate = 0.1
for = "1m"
"#;

#[tokio::test]
async fn the_overview_shows_what_is_armed() {
    let served = serve().await;
    let idle = served.ask("GET", "/chaos").await;
    assert_eq!(idle.status, 200);
    let expected = json!({
        "armed": false, "faults": [], "injected": 0, "limits": { "max_faults": 64, "max_rate": 1.0 },
        "environment": "test", "experiment": null, "monkey": null,
    });
    assert_eq!(idle.json, expected);
    served.send("/chaos/faults", json!({ "type": "hang", "on": "nothing*", "by": "alice" })).await;
    let armed = served.ask("GET", "/chaos").await.json;
    assert_eq!((&armed["armed"], &armed["faults"][0]["by"]), (&json!(true), &json!("admin API (alice)")));
}

#[tokio::test]
async fn writes_need_the_token_and_are_audited() {
    let served = serve().await;
    let mut events = served.registry.subscribe();
    let base = format!("http://{}/api/resilience", served.address);
    for (method, path) in [
        ("POST", "/chaos/stop"),
        ("POST", "/chaos/faults"),
        ("DELETE", "/chaos/faults"),
        ("DELETE", "/chaos/faults/1"),
        ("POST", "/chaos/experiments"),
        ("DELETE", "/chaos/experiments/1"),
        ("POST", "/chaos/monkey"),
        ("DELETE", "/chaos/monkey"),
    ] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let refused = answer(served.client.request(method.clone(), format!("{base}{path}")).body("{}")).await;
        assert_eq!(refused.status, 401, "{method} {path}");
    }
    let wrong = served.client.post(format!("{base}/chaos/stop")).bearer_auth("wrong-token-wrong-token");
    let wrong = answer(wrong).await;
    assert_eq!((wrong.status, &wrong.json["detail"]), (401, &json!("wrong admin token")));
    for path in ["/chaos", "/chaos/faults", "/chaos/scenarios", "/chaos/experiments", "/chaos/annotations"] {
        assert_eq!(answer(served.client.get(format!("{base}{path}"))).await.status, 200, "a local read");
    }
    let armed = served.send("/chaos/faults", json!({ "type": "hang", "on": "x", "by": "alice" })).await;
    let id = armed.json["id"].as_u64().unwrap();
    served.ask("DELETE", &format!("/chaos/faults/{id}?by=bob")).await;
    served.ask("POST", "/chaos/stop?by=carol").await;
    let mut actions = Vec::new();
    while let Some(event) = events.try_recv() {
        if let EventKind::OperatorAction { action } = event.what {
            assert_eq!(event.kind, Kind::Chaos);
            actions.push(action);
        }
    }
    let expected = [
        "arm fault 1 (hang on x), by admin API (alice)",
        "end fault 1, by admin API (bob)",
        "stop everything, by admin API (carol)",
    ];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_fault_is_armed_hits_calls_and_is_ended() {
    let served = serve().await;
    let spec = json!({ "type": "error", "on": "charge", "class": "transient", "ttl": "1m", "rate": "50 %" });
    let armed = served.send("/chaos/faults", spec).await;
    assert_eq!(armed.status, 201, "{}", armed.text);
    assert_eq!((&armed.json["target"], &armed.json["warnings"]), (&json!("charge, 50 %"), &json!([])));
    served.wait_until(|served| served.registry.chaos().injected() > 0).await;
    let path = format!("/chaos/faults/{}", armed.json["id"]);
    assert_eq!(served.ask("DELETE", &path).await.status, 204);
    let gone = served.ask("DELETE", &path).await;
    assert_eq!(gone.status, 404);
    assert!(gone.text.contains("no fault 1 is in force"), "{}", gone.text);
    assert!(!served.registry.chaos().is_armed());
}

#[tokio::test]
async fn a_target_that_matches_nothing_is_warned_about_with_near_names() {
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.contains_key("charge")).await;
    let armed = served.send("/chaos/faults", json!({ "type": "hang", "on": "chrage" })).await;
    assert_eq!(armed.status, 201);
    assert_eq!(
        armed.json["warnings"],
        json!(["no known operation matches `chrage`; did you mean `charge`?"])
    );
}

#[tokio::test]
async fn bad_faults_are_refused_with_all_problems() {
    let served = serve().await;
    for (body, problems) in [
        (
            json!({ "type": "latncy", "on": "charge", "ttl": "0s", "rat": 1, "by": "x".repeat(65) }),
            &[
                "unknown type `latncy`; did you mean `latency`?",
                "unknown key `rat`; did you mean `rate`?",
                "0s",
                "`by`",
            ][..],
        ),
        (json!({ "type": "hang", "on": "charge", "ttl": "0s" }), &["time to live"]),
        (json!({ "type": "hang", "on": "charge", "ttl": "8760h" }), &["time to live"]),
        (json!({ "type": "hang" }), &["the fault has no target"]),
        (json!({ "type": "error", "on": "charge", "rate": 0 }), &["rate"]),
        (json!({}), &["`type` is missing"]),
    ] {
        let refused = served.send("/chaos/faults", body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        let told = refused.json["problems"].to_string();
        problems.iter().for_each(|problem| assert!(told.contains(problem), "{problem} is missing in {told}"));
    }
    for (text, status) in [("[]", 422), ("{", 400), ("", 400)] {
        let request = served.request("POST", "/chaos/faults").header("content-type", "application/json");
        assert_eq!(answer(request.body(text)).await.status, status, "{text}");
    }
    let huge = json!({ "type": "hang", "on": "x".repeat(100_000) });
    assert_eq!(served.send("/chaos/faults", huge).await.status, 413);
    assert_eq!(served.ask("DELETE", "/chaos/faults/many").await.status, 404);
    assert_eq!(served.ask("DELETE", "/chaos/faults?bye=x").await.status, 422);
    assert!(!served.registry.chaos().is_armed());
}

#[tokio::test]
async fn the_number_of_faults_is_bounded_and_all_end_at_once() {
    let served = serve().await;
    for _ in 0..64 {
        assert_eq!(served.send("/chaos/faults", json!({ "type": "hang", "on": "x" })).await.status, 201);
    }
    let refused = served.send("/chaos/faults", json!({ "type": "hang", "on": "x" })).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("`max_faults` is 64"), "{}", refused.text);
    assert_eq!(served.ask("GET", "/chaos/faults").await.json["faults"].as_array().unwrap().len(), 64);
    assert_eq!(served.ask("DELETE", "/chaos/faults").await.json, json!({ "faults": 64 }));
    assert_eq!(served.ask("DELETE", "/chaos/faults").await.json, json!({ "faults": 0 }));
}

#[tokio::test]
async fn stop_ends_everything_and_again_without_effect() {
    let served = serve().await;
    let path = served.start(json!({ "by": "alice" })).await;
    assert_eq!(served.send("/chaos/monkey", json!({ "toml": MONKEY })).await.status, 202);
    served.send("/chaos/faults", json!({ "type": "hang", "on": "other" })).await;
    let stopped = served.ask("POST", "/chaos/stop?by=bob").await;
    assert_eq!(stopped.status, 200, "{}", stopped.text);
    assert_eq!(stopped.json, json!({ "faults": 2, "experiment": "charge-fails", "monkey": true }));
    assert!(!served.registry.chaos().is_armed());
    let experiment = served.end_of(&path).await;
    assert_eq!((&experiment["state"], &experiment["exit_code"]), (&json!("aborted"), &json!(2)));
    assert_eq!(experiment["reasons"], json!(["stopped by admin API (bob)"]));
    let again = served.ask("POST", &format!("/chaos/stop?by={}&what=ever", "x".repeat(500))).await;
    assert_eq!(
        (again.status, again.json),
        (200, json!({ "faults": 0, "experiment": null, "monkey": false }))
    );
    assert_eq!(served.ask("GET", "/chaos/monkey").await.status, 404);
}

// The bound includes the request. The best of several attempts counts, because the machine can be busy.
#[tokio::test]
async fn stop_ends_faults_within_100_ms() {
    let served = serve().await;
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let path = served.start(json!({})).await;
        let (sent, registry) = (Instant::now(), served.registry.clone());
        let ended = tokio::spawn(async move {
            while registry.chaos().is_armed() {
                tokio::task::yield_now().await;
            }
            sent.elapsed()
        });
        assert_eq!(served.ask("POST", "/chaos/stop").await.json["faults"], 1);
        fastest = fastest.min(ended.await.unwrap());
        served.end_of(&path).await;
        if fastest < Duration::from_millis(100) {
            return;
        }
    }
    panic!("{fastest:?}");
}

#[tokio::test]
async fn an_experiment_runs_to_its_end_and_has_a_report() {
    let served = serve().await;
    let shipped = served.ask("GET", "/chaos/scenarios").await.json;
    assert_eq!(shipped["scenarios"].as_array().unwrap().len(), 6);
    assert!(shipped["scenarios"][0]["duration_seconds"].as_f64().unwrap() > 10.0, "{shipped}");
    let started =
        served.send("/chaos/experiments", json!({ "toml": scenario("300ms"), "by": "alice" })).await;
    assert_eq!((started.status, &started.json["state"]), (202, &json!("running")), "{}", started.text);
    let path = format!("/chaos/experiments/{}", started.json["id"]);
    let early = served.ask("GET", &format!("{path}/report")).await;
    assert_eq!(early.status, 409, "it runs");
    // The body ends with the experiment.
    let journal = served.ask("GET", &format!("{path}/journal")).await;
    assert_eq!(journal.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = journal.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["entry"], &lines.last().unwrap()["entry"]), (&json!("began"), &json!("ended")));
    assert!(lines.iter().any(|line| line["entry"] == "step" && line["injected"].as_u64() > Some(0)));
    let ended = served.ask("GET", &path).await.json;
    assert_eq!(
        (&ended["state"], &ended["exit_code"], &ended["by"]),
        (&json!("held"), &json!(0), &json!("admin API (alice)"))
    );
    assert!(
        ended["recovery_seconds"].is_number() && ended["score"]["passed"] == ended["score"]["total"],
        "{ended}"
    );
    let listed = served.ask("GET", "/chaos/experiments").await.json;
    assert_eq!(
        (&listed["running"], &listed["finished"][0]["scenario"]),
        (&Value::Null, &json!("charge-fails"))
    );
    for (format, media, expected) in [
        ("", "text/html", "<!doctype html>"),
        ("?format=html", "text/html", "<!doctype html>"),
        ("?format=markdown", "text/markdown", "# charge-fails"),
        ("?format=json", "application/json", "{"),
    ] {
        let report = served.ask("GET", &format!("{path}/report{format}")).await;
        assert!(report.headers["content-type"].to_str().unwrap().starts_with(media));
        assert!(report.text.starts_with(expected), "{}", report.text);
    }
    let unknown = served.ask("GET", &format!("{path}/report?format=htlm")).await;
    assert!(unknown.status == 422 && unknown.text.contains("did you mean `html`?"), "{}", unknown.text);
    assert_eq!(served.ask("DELETE", &path).await.status, 409, "it ended");
    assert_eq!(served.ask("GET", "/chaos/experiments/99").await.status, 404);
    assert_eq!(served.ask("GET", "/chaos/experiments/x/journal").await.status, 404);
    assert_eq!(served.ask("DELETE", "/chaos/experiments/99").await.status, 404);
}

#[tokio::test]
async fn an_experiment_is_planned_probed_and_aborted() {
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.len() == 2).await;
    let plan = served.send("/chaos/experiments", json!({ "toml": scenario("1s"), "mode": "plan" })).await;
    assert_eq!((plan.status, &plan.json["valid"], &plan.json["problems"]), (200, &json!(true), &json!([])));
    assert!(plan.json["plan"].as_str().unwrap().contains("Timeline:"));
    let refused = served.send("/chaos/experiments", json!({ "scenario": "overload", "mode": "plan" })).await;
    assert_eq!((refused.status, &refused.json["valid"]), (200, &json!(false)));
    let probes = served.send("/chaos/experiments", json!({ "toml": scenario("1s"), "mode": "probes" })).await;
    let state = served.end_of(&format!("/chaos/experiments/{}", probes.json["id"])).await;
    assert_eq!((&state["state"], &state["mode"]), (&json!("held"), &json!("probes")));
    assert_eq!(served.registry.chaos().injected(), 0);
    let path = served.start(json!({})).await;
    let running = served.ask("GET", &path).await.json;
    assert_eq!(running["steps"], json!(["outage"]));
    let ends_in = running["step_ends_in"]["outage"].as_f64().unwrap();
    assert!(ends_in > 5.0 && ends_in <= 30.0, "{running}");
    assert_eq!(served.ask("GET", "/chaos").await.json["experiment"]["phase"], "steps");
    assert_eq!(served.ask("DELETE", &format!("{path}?by=alice")).await.status, 202);
    let state = served.end_of(&path).await;
    assert_eq!(state["reasons"], json!(["aborted by admin API (alice)"]));
    assert!(!served.registry.chaos().is_armed());
}

#[tokio::test]
async fn bad_experiments_are_refused_with_all_problems() {
    let served = serve().await;
    let other_environment =
        scenario("1s").replace("\"test\"", "\"staging\"").replace("\"charge\"", "\"chrage\"");
    for (body, problems) in [
        (json!({ "scenario": "dependency-dwn" }), &["did you mean `dependency-down`?"][..]),
        (json!({}), &["no scenario"]),
        (json!({ "scenario": "overload", "toml": "" }), &["exclude each other"]),
        (
            json!({ "toml": scenario("1s"), "mod": "plan", "mode": "paln" }),
            &["did you mean `mode`?", "did you mean `plan`?"],
        ),
        (
            json!({ "toml": "[scenario]\nnmae = \"x\"\n" }),
            &["scenario:2:1: unknown field `nmae`; did you mean `name`?", "`step`"],
        ),
        (json!({ "toml": other_environment }), &["this is the environment `test`", "targets `chrage`"]),
        (json!({ "scenario": "overload" }), &["there is no operation `order`"]),
    ] {
        let refused = served.send("/chaos/experiments", body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text);
        let told = refused.json["problems"].to_string().replace("\\\"", "\"");
        problems.iter().for_each(|problem| assert!(told.contains(problem), "{problem} is missing in {told}"));
    }
    let huge = served.send("/chaos/experiments", json!({ "toml": "x".repeat(100_000) })).await;
    assert_eq!(huge.status, 413);
    let listed = served.ask("GET", "/chaos/experiments").await.json;
    assert_eq!(listed, json!({ "running": null, "finished": [] }), "none of them was an experiment");
}

#[tokio::test]
async fn two_controllers_cannot_start_at_once() {
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.len() == 2).await;
    let start = || served.send("/chaos/experiments", json!({ "toml": scenario("30s") }));
    let (first, second, third) = tokio::join!(start(), start(), start());
    let mut statuses = [first.status, second.status, third.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409]);
    let loser = [first, second, third].into_iter().find(|answer| answer.status == 409).unwrap();
    assert!(loser.text.contains("the experiment `charge-fails` runs"), "{}", loser.text);
    let listed = served.ask("GET", "/chaos/experiments").await.json;
    assert!(listed["running"].is_object() && listed["finished"] == json!([]), "{listed}");
}

#[tokio::test]
async fn an_attended_experiment_is_aborted_when_its_follower_is_gone() {
    let served = serve().await;
    let path = served.start(json!({ "attended": true })).await;
    let followed = Instant::now();
    let request = served.request("GET", &format!("{path}/journal")).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    assert_eq!(&stream.next().await.unwrap().unwrap()[..], b": listening\n\n");
    assert!(served.registry.chaos().is_armed());
    drop(stream);
    let lost = Instant::now();
    served.wait_until(|served| !served.registry.chaos().is_armed()).await;
    assert!(
        followed.elapsed() >= Duration::from_secs(2) && lost.elapsed() < Duration::from_secs(20),
        "{lost:?}"
    );
    let state = served.end_of(&path).await;
    assert_eq!(state["reasons"], json!(["attended, and no client has followed its journal for 2 s"]));
}

#[tokio::test]
async fn a_follower_over_server_sent_events_is_told_the_end() {
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.len() == 2).await;
    let body = json!({ "toml": scenario("200ms"), "attended": true });
    let started = served.send("/chaos/experiments", body).await;
    let path = format!("/chaos/experiments/{}/journal", started.json["id"]);
    let journal = answer(served.request("GET", &path).header("accept", "text/event-stream")).await;
    let last = journal.text.rsplit("event: end\ndata: ").next().unwrap();
    let last: Value = serde_json::from_str(last.trim()).unwrap();
    assert_eq!(last["state"], "held", "{last}");
}

#[tokio::test]
async fn an_experiment_of_the_program_is_shown_and_can_be_stopped() {
    use resilient_chaos::{Runner, Scenario};
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.len() == 2).await;
    let runner =
        Runner::new(&served.registry, Scenario::parse(&scenario("30s")).unwrap()).environment("test");
    let run = tokio::spawn(runner.run(std::future::pending()));
    served.wait_until(|served| served.registry.chaos().is_armed()).await;
    let shown = served.ask("GET", "/chaos").await.json;
    assert_eq!(shown["experiment"]["by"], "the program");
    let stopped = served.ask("POST", "/chaos/stop").await.json;
    assert_eq!(stopped, json!({ "faults": 1, "experiment": "charge-fails", "monkey": false }));
    assert_eq!(run.await.unwrap().exit_code(), 2);
}

#[tokio::test]
async fn a_router_that_is_dropped_aborts_its_experiment() {
    use tower::ServiceExt;
    let served = serve().await;
    served.wait_until(|served| served.registry.stats().operations.len() == 2).await;
    let router = Admin::new(&served.registry).token(TOKEN).unwrap().environment("test").router();
    let request = http::Request::post("/api/resilience/chaos/experiments")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(axum::body::Body::from(json!({ "toml": scenario("30s") }).to_string()));
    let started = router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(started.status(), 202);
    served.wait_until(|served| served.registry.chaos().is_armed()).await;
    drop(router);
    served.wait_until(|served| !served.registry.chaos().is_armed()).await;
}

#[tokio::test]
async fn a_monkey_is_started_shown_and_stopped() {
    let served = serve().await;
    for (body, problem) in [
        (json!({}), "`toml` is missing"),
        (json!({ "toml": MONKEY.replace("owner", "onwer") }), "did you mean `owner`?"),
        (json!({ "toml": MONKEY.replace("\"test\"", "\"staging\"") }), "this is the environment `test`"),
        (json!({ "toml": MONKEY, "byy": "" }), "did you mean `by`?"),
    ] {
        let refused = served.send("/chaos/monkey", body).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.json["problems"].to_string().contains(problem), "{}", refused.text);
    }
    assert_eq!(served.ask("GET", "/chaos/monkey").await.status, 404);
    assert_eq!(served.ask("GET", "/chaos/monkey/journal").await.status, 404);
    assert_eq!(served.ask("DELETE", "/chaos/monkey").await.status, 404);
    let started = served.send("/chaos/monkey", json!({ "toml": MONKEY, "by": "alice" })).await;
    assert_eq!((started.status, &started.json["faults"]), (202, &json!(["errors"])), "{}", started.text);
    assert_eq!(served.ask("GET", "/chaos/monkey").await.json["by"], "admin API (alice)");
    assert_eq!(served.ask("GET", "/chaos").await.json["monkey"]["name"], "test-monkey");
    assert_eq!(served.send("/chaos/monkey", json!({ "toml": MONKEY })).await.status, 409);
    assert_eq!(served.ask("DELETE", "/chaos/monkey?by=bob").await.status, 200);
    let journal = served.ask("GET", "/chaos/monkey/journal").await;
    assert!(journal.text.contains("stopped by admin API (bob)"), "{}", journal.text);
    assert_eq!(served.ask("DELETE", "/chaos/monkey").await.status, 404);
}

#[tokio::test]
async fn annotations_cover_experiments_their_faults_and_faults_armed_by_hand() {
    let served = serve().await;
    let armed = served.send("/chaos/faults", json!({ "type": "hang", "on": "other", "by": "alice" })).await;
    served.ask("DELETE", &format!("/chaos/faults/{}", armed.json["id"])).await;
    let started = served.send("/chaos/experiments", json!({ "toml": scenario("200ms") })).await;
    served.end_of(&format!("/chaos/experiments/{}", started.json["id"])).await;
    let all = served.ask("GET", "/chaos/annotations").await.json;
    let titles: Vec<_> = all.as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["charge-fails: outage", "experiment charge-fails", "fault 1: hang on other"]);
    for one in all.as_array().unwrap() {
        let (start, end) = (one["time"].as_i64().unwrap(), one["timeEnd"].as_i64().unwrap());
        assert!(start > 1_600_000_000_000 && start <= end, "{one}");
        assert_eq!(one["tags"].as_array().unwrap()[..2], [json!("resilient"), json!("chaos")]);
    }
    assert!(all[1]["text"].as_str().unwrap().starts_with("held, started by admin API"), "{all}");
    assert_eq!(served.ask("GET", "/chaos/annotations?from=0&to=1000").await.json, json!([]));
    for query in ["from=now", "to=-1", "to=9007199254740992", "form=1"] {
        assert_eq!(served.ask("GET", &format!("/chaos/annotations?{query}")).await.status, 422, "{query}");
    }
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() {
    let served = serve().await;
    let document = served.ask("GET", "/openapi.json").await.json;
    let paths: Vec<_> =
        document["paths"].as_object().unwrap().keys().filter(|path| path.contains("/chaos")).collect();
    assert_eq!(paths.len(), 12, "{paths:?}");
}
