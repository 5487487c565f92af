//! Runs the `payments` example as a process, and takes it through an outage and the recovery over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TOKEN: &str = "a-token-for-the-tests";

/// The running example. Dropping it kills the process.
struct Payments {
    child: Child,
    service: String,
    agent: ureq::Agent,
}

impl Drop for Payments {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Path of the example. Builds it unless `cargo xtask test` has built it before.
fn program() -> PathBuf {
    let mut folder = std::env::current_exe().expect("this test has a path");
    // target/PROFILE/deps/payments-HASH
    folder.pop();
    folder.pop();
    let program = folder.join("examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "-p", "resilient-examples", "--example", "payments"])
            .status();
        assert!(build.expect("cargo can be run").success());
    }
    program
}

struct Answer {
    status: u16,
    retry_after: Option<u64>,
    headers: ureq::http::HeaderMap,
    body: Value,
}

impl Payments {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Self {
        let mut command = Command::new(program());
        command
            .args(["--port", "0", "--gateway-port", "0", "--load", "0", "--token", TOKEN])
            // On a busy machine, 1 s can be too short to ping a healthy gateway.
            .env("RESILIENT__TIMEOUT__PING__TOTAL", "60s")
            .args(more)
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let output = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let service = lines.find_map(|line| line.strip_prefix("service ").map(str::to_owned));
        // Reads the rest of the output, because the program would block when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build();
        Self { child, service: service.expect("the example prints its address"), agent: config.into() }
    }

    fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(self.url(path)).call())
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        answer(request.header("authorization", format!("Bearer {TOKEN}")).send(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service)
    }

    fn charge(&self, order: &str) -> Value {
        let body = json!({ "order_id": order, "cents": 995 }).to_string();
        let answer = self.post("/api/resilience/protected-endpoint", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    fn faults(&self, faults: &Value) {
        let request = self.agent.put(self.url("/gateway/faults")).header("content-type", "application/json");
        assert_eq!(answer(request.send(faults.to_string())).status, 200);
    }

    fn breaker(&self) -> Value {
        self.get("/api/resilience/stats/circuit_breaker/payment").body
    }

    fn connections(&self) -> u64 {
        self.get("/gateway/faults").body["connections"].as_u64().expect("a number")
    }

    /// Charges orders until the response is as wanted.
    fn charge_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let patience = Instant::now() + Duration::from_secs(20);
        for number in 0.. {
            let body = self.charge(&format!("{what}-{number}"));
            if wanted(&body) {
                return body;
            }
            assert!(Instant::now() < patience, "{what}: the last response was {body}");
            std::thread::yield_now();
        }
        unreachable!("the loop does not end")
    }
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.expect("the service responds");
    let retry_after = response.headers().get("retry-after").and_then(|wish| wish.to_str().ok()?.parse().ok());
    let text = response.body_mut().read_to_string().expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status: response.status().as_u16(), retry_after, headers: response.headers().clone(), body }
}

#[test]
fn it_survives_an_outage_and_recovers() {
    let payments = Payments::start();

    // The gateway is healthy.
    let first = payments.charge("first");
    assert_eq!((&first["status"], &first["level"]), (&json!("charged"), &json!("gateway")));
    let again = payments.charge("first");
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!(again["receipt"], first["receipt"]);
    let other = json!({ "order_id": "first", "cents": 1 }).to_string();
    let other_cents = payments.post("/api/resilience/protected-endpoint", &other);
    assert_eq!(
        (other_cents.status, &other_cents.body["type"]),
        (422, &json!("urn:resilient:key_reused")),
        "{}",
        other_cents.body
    );
    assert_eq!(payments.get("/api/resilience/simple-protected").body, json!({ "gateway": "pong" }));
    assert_eq!(payments.get("/api/resilience/health").body["status"], "pass");

    let deep = || payments.get("/api/resilience/health/deep");
    let healthy = deep();
    assert_eq!(
        (healthy.status, &healthy.body["checks"]["gateway:responseTime"][0]["status"]),
        (200, &json!("pass"))
    );

    // The gateway fails: responses are degraded, and the circuit opens.
    payments.faults(&json!({ "error_rate": 1 }));
    let patience = Instant::now() + Duration::from_secs(20);
    while deep().status == 200 {
        assert!(Instant::now() < patience, "the deep check does not fail: {}", deep().body);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(payments.get("/api/resilience/health/live").status, 200);
    let known = payments.charge("first");
    // The charge is replayed, and the exchange rate is the last known one.
    assert_eq!((&known["replayed"], &known["receipt"]), (&json!(true), &first["receipt"]));
    assert_eq!((&known["level"], &known["degraded"]), (&json!("local_cache"), &json!(true)));
    let queued = payments.charge_until("outage", |_| payments.breaker()["state"] == "open");
    assert_eq!((&queued["status"], &queued["level"]), (&json!("queued"), &json!("default")));
    assert!(payments.breaker()["reason"]["rule"].is_string(), "{}", payments.breaker());

    // While the circuit is open, the gateway gets no calls, and responses have `Retry-After`.
    let before = payments.connections();
    let refused = payments.get("/api/resilience/simple-protected");
    assert_eq!(refused.status, 503);
    assert!(refused.retry_after.is_some_and(|seconds| (1..=10).contains(&seconds)));
    assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("is open")), "{}", refused.body);
    assert_eq!(payments.connections(), before);
    let health = payments.get("/api/resilience/health");
    assert_eq!((health.status, &health.body["status"]), (200, &json!("warn")));
    assert_eq!(health.body["checks"]["payment"][0]["output"], "the circuit is open");

    // Calls that hang time out, and connection resets are handled.
    payments.post("/api/resilience/reset/circuit_breaker/payment", "");
    payments.faults(&json!({ "hang_rate": 1 }));
    let start = Instant::now();
    assert_eq!(payments.charge("hanging")["degraded"], true);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    payments.post("/api/resilience/reset/circuit_breaker/payment", "");
    payments.faults(&json!({ "reset_rate": 1 }));
    assert_eq!(payments.charge("reset")["degraded"], true);

    // The service recovers automatically.
    payments.faults(&json!({}));
    payments.charge_until("recovery", |body| body["level"] == "gateway");
    payments.charge_until("recovered", |_| payments.breaker()["state"] == "closed");
    payments.charge_until("last", |body| body["level"] == "gateway");
    assert_eq!(payments.get("/api/resilience/health").body["status"], "pass");

    // Every call has exactly one outcome (T130).
    let stats = payments.get("/api/resilience/stats").body;
    for (name, operation) in stats["operations"].as_object().expect("operations") {
        let number = |ending: &str| operation[ending].as_u64().expect("a number");
        let endings =
            ["succeeded", "failed", "ignored", "rejected", "timed_out", "fell_back", "cancelled", "panicked"];
        let sum: u64 = endings.into_iter().map(number).sum();
        assert_eq!(number("calls"), sum, "{name}: {operation}");
    }
    assert!(stats["fallback"]["charge"]["levels"]["default"]["served"].as_u64() > Some(0));
    assert!(stats["retry"]["payment"]["retries"].as_u64() > Some(0));
}

#[test]
fn responses_have_the_headers_of_the_layers() {
    let payments = Payments::start();
    let send = |headers: &[(&str, &str)], order: &str| {
        let body = json!({ "order_id": order, "cents": 995 }).to_string();
        let request = payments.agent.post(payments.url("/api/resilience/protected-endpoint"));
        let request = request.header("content-type", "application/json");
        answer(
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body),
        )
    };
    let header = |answer: &Answer, name: &str| {
        answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let first = send(&[("x-request-id", "r-7"), ("idempotency-key", "k-1")], "a");
    assert_eq!((first.status, header(&first, "x-correlation-id")), (200, "r-7".into()));
    assert!(header(&first, "ratelimit").starts_with("\"addresses\";r="), "{:?}", first.headers);
    assert_eq!(header(&first, "x-resilience-degraded"), "");
    let again = send(&[("idempotency-key", "k-1")], "a");
    assert_eq!((header(&again, "idempotency-replayed"), &again.body), ("true".into(), &first.body));
    assert_eq!(send(&[("idempotency-key", "k-1")], "b").status, 422);
    assert_eq!(send(&[("grpc-timeout", "0S")], "c").status, 504);
    assert_eq!(send(&[("grpc-timeout", "99999999H")], "c").status, 200);
    assert_eq!(send(&[("grpc-timeout", "soon")], "d").status, 400);
    payments.faults(&json!({ "error_rate": 1 }));
    let degraded = send(&[], "e");
    assert_eq!(header(&degraded, "x-resilience-degraded"), "true");
    assert_eq!(
        (header(&degraded, "x-resilience-level"), &degraded.body["level"]),
        ("default".into(), &json!("default"))
    );
}

#[test]
fn the_short_deadline_of_one_caller_does_not_open_the_circuit_for_others() {
    let payments = Payments::start();
    payments.faults(&json!({ "latency_ms": 50 }));
    for order in 0..40 {
        let body = json!({ "order_id": format!("hasty-{order}"), "cents": 995 }).to_string();
        let request = payments.agent.post(payments.url("/api/resilience/protected-endpoint"));
        let request = request.header("content-type", "application/json").header("grpc-timeout", "20m");
        assert_ne!(
            answer(request.send(body)).body["level"],
            "gateway",
            "the gateway takes longer than 20 ms"
        );
    }
    assert_eq!(payments.breaker()["state"], "closed");
    payments.charge_until("patient", |body| body["level"] == "gateway");
}

#[test]
fn settings_can_be_edited_at_run_time_and_records_survive_a_restart() {
    let folder = std::env::temp_dir().join(format!("resilient-payments-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str| folder.join(name).to_str().expect("a path in UTF-8").to_owned();
    let (config, records) = (file("payments.toml"), file("records"));
    std::fs::write(&config, "# nothing yet").expect("the file can be written");
    let payments = Payments::start_with(&["--config", &config, "--records", &records]);
    let first = payments.charge("kept");
    let rate = || payments.get("/api/resilience/stats/rate_limit/customers").body["limit"].clone();
    assert_eq!(rate(), 100);
    std::fs::write(&config, "[rate_limit.customers]\nrate = \"2/h\"\nburst = 2")
        .expect("the file can be written");
    let patience = Instant::now() + Duration::from_secs(20);
    while rate() != 2 {
        assert!(Instant::now() < patience, "the change of the file has no effect");
        std::thread::sleep(Duration::from_millis(20));
    }
    // An invalid file changes nothing.
    std::fs::write(&config, "[rate_limit.customers]\nrate = \"soon\"").expect("the file can be written");
    let order = |number: u32| {
        let body = json!({ "order_id": format!("{number}"), "cents": 1, "customer": "ada" }).to_string();
        payments.post("/api/resilience/protected-endpoint", &body)
    };
    assert_eq!((order(1).status, order(2).status), (200, 200));
    let refused = order(3);
    assert_eq!((refused.status, &refused.body["type"]), (429, &json!("urn:resilient:rate_limited")));
    assert!(refused.retry_after.is_some_and(|seconds| seconds > 1000), "{:?}", refused.retry_after);
    drop(payments);
    let payments = Payments::start_with(&["--records", &records]);
    let again = payments.charge("kept");
    assert_eq!((&again["replayed"], &again["receipt"]), (&json!(true), &first["receipt"]));
    drop(payments);
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

#[test]
fn invalid_requests_get_an_error_response() {
    let payments = Payments::start();
    let endpoint = "/api/resilience/protected-endpoint";
    assert_eq!(payments.post(endpoint, "{").status, 400);
    assert_eq!(payments.post(endpoint, r#"{"order_id": 7, "cents": 1}"#).status, 422);
    assert_eq!(payments.post(endpoint, r#"{"order_id": "a b\n", "cents": 1}"#).status, 422);
    assert_eq!(payments.post(endpoint, r#"{"order_id": "a", "cents": 0}"#).status, 422);
    let unknown_currency = r#"{"order_id": "a", "cents": 1, "currency": "XXX"}"#;
    assert_eq!(payments.post(endpoint, unknown_currency).status, 422);
    assert_eq!(payments.post(endpoint, &"x".repeat(2 * 1024 * 1024 + 1)).status, 413);
    assert_eq!(payments.get(endpoint).status, 405);
    assert_eq!(payments.get("/nowhere").status, 404);
    let unknown = payments.post("/api/resilience/reset/circuit_breaker/paymnet", "");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body["detail"].as_str().is_some_and(|text| text.contains("did you mean `payment`?")));
    let kind = payments.get("/api/resilience/stats/circut_breaker/payment");
    assert!(
        kind.body["detail"].as_str().is_some_and(|text| text.contains("did you mean `circuit_breaker`?"))
    );
    let long = payments.get(&format!("/api/resilience/stats/bulkhead/{}", "n".repeat(10_000)));
    assert_eq!(long.status, 404);
    assert!(long.body["detail"].as_str().is_some_and(|text| text.len() < 300));

    // Requests that no HTTP client would send.
    let address = payments.service.strip_prefix("http://").expect("an address");
    for raw in [
        &b"GET /api/resilience/stats/bulkhead/%ff%fe HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"[..],
        b"\xff\xff\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).expect("the service listens");
        stream.write_all(raw).expect("the service reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the service responds");
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    payments.charge_until("after", |body| body["level"] == "gateway");
}
