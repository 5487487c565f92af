//! End-to-end tests of the admin API, over TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use resilient_http::Admin;
use resilient_runtime::circuit_breaker::shared::MemoryCircuits;
use resilient_runtime::clock::Clock;
use resilient_runtime::{Component, Registry, circuit_breaker};
use serde_json::Value;
use tokio::net::TcpListener;

const TOKEN: &str = "a-token-for-tests-0123456789";

/// An admin server with its own registry; it stops at the end of the test.
struct Served {
    registry: Registry,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

struct Answer {
    status: u16,
    head: String,
    json: Value,
}

fn serve(set_up: impl FnOnce(&Registry)) -> Served {
    let registry = Registry::with_clock(Clock::system());
    set_up(&registry);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let admin = Admin::new(&registry).token(TOKEN).unwrap();
    runtime.spawn(admin.serve(listener));
    Served { registry, address, _runtime: runtime }
}

impl Served {
    fn ask(&self, line: &str, headers: &[&str]) -> Answer {
        self.ask_with(line, headers, "")
    }

    fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn ask_with(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let headers = headers.iter().fold(String::new(), |all, header| all + header + "\r\n");
        let host = if headers.starts_with("host:") || headers.contains("\r\nhost:") {
            String::new()
        } else {
            format!("host: {}\r\n", self.address)
        };
        let request = format!("{line} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n{body}");
        let text = self.raw(&request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        Answer { status, head: head.to_lowercase(), json }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET /api/resilience{path}"), &[])
    }

    fn post(&self, path: &str) -> Answer {
        self.ask(&format!("POST /api/resilience{path}"), &[&format!("authorization: Bearer {TOKEN}")])
    }
}

fn with_a_breaker(registry: &Registry) {
    let breaker = registry.circuit_breaker("payment");
    breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(1)).unwrap();
    assert!(breaker.call(|| None::<u32>).is_none());
}

#[test]
fn local_clients_can_read() {
    let served = serve(with_a_breaker);
    let stats = served.get("/stats");
    assert_eq!((stats.status, &stats.json["circuit_breaker"]["payment"]["state"]), (200, &"open".into()));
    assert_eq!(served.get("/stats/circuit_breaker/payment").json["state"], "open");
    assert_eq!(served.get("/sites").status, 200);
    assert_eq!(served.get("/alerts").json, serde_json::json!({}));
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(stats.head.contains(header), "{}", stats.head);
    }
}

#[test]
fn requests_that_do_not_look_local_need_the_token_to_read() {
    let served = serve(with_a_breaker);
    let token = format!("authorization: bearer {TOKEN}");
    for headers in [
        &["x-forwarded-for: 203.0.113.7"][..],
        &["forwarded: for=203.0.113.7"],
        &["x-forwarded-host: shop.example"],
        &["host: evil.example"],
        &["host: localhost.evil.example"],
        &["host: 127.0.0.1.evil.example"],
        &["host: [::1].evil.com"],
        &["host: [::1]evil.com"],
        &["host: [::1"],
        &["host: ::1"],
        &["host: [127.0.0.1]"],
        &["host: localhost:80@evil.com"],
        &["host: localhost@evil.com"],
        &["host: user@localhost"],
        &["host: localhost:80:80"],
        &["host: localhost:http"],
        &["host: localhost:+80"],
        &["host: localhost:65536"],
        &["host: localhost/"],
        &["host: localhost#.evil.com"],
        &["host: localhost, evil.com"],
        &["host: localhost.."],
        &["host: .localhost"],
        &["host: 127.1"],
        &["host: 0x7f.0.0.1"],
        &["host: 0177.0.0.1"],
        &["host: 127.0.0.1."],
        &["host: 0.0.0.0"],
        &["host: 128.0.0.1"],
        &["host: [::ffff:128.0.0.1]"],
        &["host: "],
        &["host: :80"],
        &["cf-connecting-ip: 203.0.113.7"],
        &["true-client-ip: 203.0.113.7"],
        &["x-envoy-external-address: 203.0.113.7"],
        &["sec-fetch-site: cross-site"],
        &["sec-fetch-site: same-site"],
        &["sec-fetch-site: "],
        &["sec-fetch-site: same-origin", "sec-fetch-site: same-origin"],
        &["sec-fetch-site: none, cross-site"],
        &["origin: https://evil.example"],
        &["origin: null"],
        &["origin: http://localhost.evil.example"],
        &["host: localhost:3000", "origin: http://localhost:3001"],
    ] {
        let refused = served.ask("GET /api/resilience/stats", headers);
        assert_eq!(refused.status, 401, "{headers:?}");
        assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
        let admitted = served.ask("GET /api/resilience/stats", &[headers, &[token.as_str()]].concat());
        assert_eq!(admitted.status, 200, "{headers:?}");
    }
    // A request from a proxy with default settings (HTTP/1.0), and a request to a proxy.
    for line in
        ["GET /api/resilience/stats HTTP/1.0", "GET http://evil.example/api/resilience/stats HTTP/1.1"]
    {
        let answer = served.raw(&format!("{line}\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.0 401"), "{line}: {answer}");
    }
    for host in [
        "localhost",
        "LOCALHOST:80",
        "[::1]:80",
        "127.0.0.9",
        "localhost.",
        "LocalHost.:3000",
        "localhost:",
        "[::1]",
        "[0:0:0:0:0:0:0:1]:1",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(
            served.ask("GET /api/resilience/stats", &[&format!("host: {host}")]).status,
            200,
            "{host}"
        );
    }
    for headers in [
        &["host: localhost", "sec-fetch-site: same-origin"][..],
        &["host: localhost", "sec-fetch-site: none"],
        &["host: localhost:3000", "origin: http://localhost:3000"],
        &["host: localhost", "origin: http://LOCALHOST:80"],
        // `Sec-Fetch-Site` from the browser takes precedence over a `Host` that a proxy has changed.
        &["host: localhost", "origin: https://ops.example", "sec-fetch-site: same-origin"],
    ] {
        assert_eq!(served.ask("GET /api/resilience/stats", headers).status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a_request_with_conflicting_targets_is_not_local_and_other_sites_cannot_write() {
    use axum::http::{Request, Version};
    use tower::ServiceExt;
    let app = Admin::new(&Registry::new()).token(TOKEN).unwrap().router();
    let status = async |uri: &str, hosts: &[&str], more: &[(&str, &str)], method: &str| {
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_11);
        for host in hosts {
            request = request.header("host", *host);
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let peer = axum::extract::ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        let request = request.extension(peer).body(axum::body::Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let path = "/api/resilience/stats";
    let at = |authority: &str| format!("http://{authority}{path}");
    for (uri, hosts, expected) in [
        (path, &["localhost"][..], 200),
        (path, &["localhost", "localhost"], 401),
        (path, &["localhost", "evil.example"], 401),
        (path, &[], 401),
        (&at("localhost"), &["localhost"], 200),
        (&at("LOCALHOST:80"), &["localhost"], 200),
        (&at("localhost:3000"), &["localhost:3000"], 200),
        (&at("localhost"), &[], 200),
        (&at("localhost"), &["evil.example"], 401),
        (&at("evil.example"), &["localhost"], 401),
        (&at("localhost"), &["127.0.0.1"], 401),
        (&at("localhost:3000"), &["localhost:3001"], 401),
        (&at("user@localhost"), &["localhost"], 401),
        (&at("localhost"), &[""], 401),
    ] {
        assert_eq!(status(uri, hosts, &[], "GET").await, expected, "{uri} {hosts:?}");
    }
    let token = ("authorization", &*format!("Bearer {TOKEN}"));
    let reset = "/api/resilience/reset";
    for (more, expected) in [
        (&[][..], 404),
        (&[("sec-fetch-site", "same-origin"), ("origin", "http://behind.a.proxy")], 404),
        (&[("sec-fetch-site", "none")], 404),
        (&[("origin", "http://ops.example:8080")], 404),
        (&[("origin", "https://shop.example"), ("x-forwarded-host", "shop.example")], 404),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "SAME-ORIGIN")], 403),
        (&[("origin", "http://ops.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "ops.example:8080")], 403),
        (&[("origin", "http://ops.example:8080@evil")], 403),
    ] {
        let more = [&[token], more].concat();
        let found = status(&format!("{reset}/bulkhead/unknown"), &["ops.example:8080"], &more, "POST").await;
        assert_eq!(found, expected, "{more:?}");
    }
    // Two tokens are ambiguous.
    let twice = [token, ("authorization", "Bearer another-token")];
    assert_eq!(status(path, &["ops.example"], &twice, "GET").await, 401);
}

#[test]
fn writes_need_the_token() {
    let served = serve(with_a_breaker);
    let reset = "POST /api/resilience/reset/circuit_breaker/payment";
    assert_eq!(served.ask(reset, &[]).status, 401);
    assert_eq!(served.ask(reset, &["authorization: Bearer wrong"]).status, 401);
    assert_eq!(served.ask(reset, &["authorization: Basic YTpi"]).status, 401);
    let state = || served.registry.circuit_breaker("payment").state();
    assert_eq!(state(), circuit_breaker::State::Open);
    assert_eq!(served.post("/reset/circuit_breaker/payment").status, 200);
    assert_eq!(state(), circuit_breaker::State::Closed);
    for (action, then) in
        [("open", "forced_open"), ("close", "forced_closed"), ("disable", "disabled"), ("resume", "closed")]
    {
        let changed = served.post(&format!("/circuit_breaker/payment/{action}"));
        assert_eq!((changed.status, &changed.json["state"]), (200, &then.into()), "{action}");
    }
}

#[test]
fn each_write_emits_an_event_with_its_correlation_id() {
    let served = serve(with_a_breaker);
    let mut events = served.registry.subscribe();
    let token = format!("authorization: Bearer {TOKEN}");
    let id = "x-correlation-id: ticket-7";
    served.ask("POST /api/resilience/circuit_breaker/payment/open", &[&token, id]);
    served.ask("POST /api/resilience/reset/circuit_breaker/payment", &[&token]);
    let patch = "PATCH /api/resilience/config/circuit_breaker/payment";
    let headers = [&token, "content-type: application/json", "content-length: 18"];
    served.ask_with(patch, &headers, r#"{"open_for": "7s"}"#);
    served.ask("DELETE /api/resilience/config/circuit_breaker/payment", &[&token]);
    // A rejected request and an action on an unknown component emit no event.
    served.ask("POST /api/resilience/reset/circuit_breaker/payment", &[]);
    served.ask("POST /api/resilience/reset/circuit_breaker/unknown", &[&token]);
    let mut actions = Vec::new();
    while let Some(event) = events.try_recv() {
        if let resilient_runtime::EventKind::OperatorAction { action } = event.what {
            let id = event.correlation_id.map(|id| id.as_str().to_owned());
            actions.push((event.component, action, id.filter(|id| id == "ticket-7")));
        }
    }
    let without = |action: &str| ("payment", action.to_owned(), None);
    let opened = ("payment", "open".to_owned(), Some("ticket-7".to_owned()));
    assert_eq!(actions, [opened, without("reset"), without("set open_for"), without("clear_overrides")]);
}

#[test]
fn a_reset_says_which_instances_it_affects() {
    // T183
    let served = serve(|registry: &Registry| {
        registry.bulkhead("gateway");
        registry.circuit_breaker("alone");
        registry.use_store("shared", MemoryCircuits::new(registry.clock().clone()));
        for (name, store) in [("payment", "shared"), ("lost", "absent")] {
            registry
                .circuit_breaker(name)
                .reconfigure(circuit_breaker::Config::default().store(store))
                .unwrap();
        }
    });
    let reset = |path: &str| served.post(&format!("/reset/{path}"));
    let done = reset("circuit_breaker/payment?scope=cluster");
    assert_eq!((done.status, &done.json["scope"]), (200, &"cluster".into()));
    assert_eq!(reset("circuit_breaker/payment").json["scope"], "local");
    for (path, status, text) in [
        ("circuit_breaker/payment?scope=all", 400, "expected `local` (this instance) or `cluster`"),
        ("circuit_breaker/payment?scop=cluster", 400, "unknown field `scop`"),
        ("bulkhead/gateway?scope=cluster", 409, "only a circuit_breaker can be reset for all instances"),
        ("circuit_breaker/alone?scope=cluster", 409, "it has no `store`"),
        ("circuit_breaker/lost?scope=cluster", 409, "no store is named `absent`"),
        ("circuit_breaker/missing?scope=cluster", 404, "there is no circuit_breaker `missing`"),
    ] {
        let refused = reset(path);
        assert_eq!(refused.status, status, "{path}");
        assert!(refused.json["detail"].as_str().unwrap().contains(text), "{path}: {}", refused.json);
    }
}

#[test]
fn settings_can_be_changed_and_reset() {
    let served = serve(with_a_breaker);
    let path = "/api/resilience/config/circuit_breaker/payment";
    let send = |method: &str, body: &str| {
        let length = format!("content-length: {}", body.len());
        let token = format!("authorization: Bearer {TOKEN}");
        let headers = ["content-type: application/json", &length, &token];
        served.ask_with(&format!("{method} {path}"), &headers, body)
    };
    assert_eq!(send("PATCH", r#"{"open_for": "7s", "failure_rate": 0.25, "slow_call": "1s"}"#).status, 200);
    let set = |field: &str| {
        let config = served.get("/config").json;
        let fields = config["circuit_breaker"]["payment"].as_array().unwrap().clone();
        let found = fields.into_iter().find(|set| set["field"] == field).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(set("open_for"), ("7s".into(), "runtime".into()));
    assert_eq!(set("failure_rate").0, 0.25);
    let wrong = send("PATCH", r#"{"open_fro": "7s"}"#);
    assert_eq!(wrong.status, 422);
    assert!(wrong.json["detail"].as_str().unwrap().contains("did you mean `open_for`"), "{}", wrong.json);
    assert_eq!(send("PATCH", r#"{"open_for": "0s"}"#).status, 422);
    assert_eq!(send("PATCH", r#"{"open_for": {}}"#).status, 422);
    assert_eq!(send("PATCH", "{").status, 400);
    assert_eq!(set("open_for").0, "7s");
    assert_eq!(send("DELETE", "").status, 200);
    assert_eq!(set("open_for"), ("5s".into(), "default".into()));
}

#[test]
fn every_path_in_the_openapi_document_exists() {
    let served = serve(with_a_breaker);
    let document = served.get("/openapi.json").json;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{kind}", "circuit_breaker")
            .replace("{name}", "payment")
            .replace("{action}", "open")
            .replace("{id}", "1");
        if path.ends_with("/events") || path.ends_with("/stream") {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let token = format!("authorization: Bearer {TOKEN}");
            let headers = ["content-type: application/json", "content-length: 2", &token];
            let answer = served.ask_with(&format!("{} {path}", method.to_uppercase()), &headers, "{}");
            if path.contains("/chaos") {
                // Nothing is armed, and an empty object is no fault.
                let is_missing = answer.status == 405 || answer.json["detail"] == "no such endpoint";
                assert!(!is_missing && answer.status < 500, "{method} {path}: {}", answer.json);
            } else {
                assert_eq!(answer.status, 200, "{method} {path}");
            }
        }
    }
}

#[test]
fn local_token_guesses_are_delayed_but_never_locked_out() {
    // All local programs, and all clients of a local proxy, share the loopback address.
    let served = serve(|_| ());
    let show = |token: &str| {
        let began = std::time::Instant::now();
        let answer = served.ask("GET /api/resilience/stats", &[&format!("authorization: Bearer {token}")]);
        (answer.status, began.elapsed() >= Duration::from_secs(1))
    };
    let guesses: Vec<_> = (0..7).map(|_| show("wrong")).collect();
    assert!(guesses.iter().all(|(status, _)| *status == 401), "{guesses:?}");
    assert!(guesses[5..].iter().all(|(_, is_slow)| *is_slow), "{guesses:?}");
    assert_eq!(show(TOKEN).0, 200);
    assert_eq!(served.get("/stats").status, 200, "a request without a token is not a guess");
}

#[test]
fn a_ttl_of_zero_is_rejected() {
    let served = serve(|registry| drop(registry.idempotency("orders")));
    let body = r#"{"ttl": "0s"}"#;
    let headers = [
        "content-type: application/json",
        &format!("content-length: {}", body.len()),
        &format!("authorization: Bearer {TOKEN}"),
    ];
    let refused = served.ask_with("PATCH /api/resilience/config/idempotency/orders", &headers, body);
    assert_eq!(refused.status, 422);
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(detail.contains("ttl") && detail.contains("1 s to 31 days"), "{detail}");
    assert_eq!(served.registry.idempotency("orders").config().ttl, Duration::from_hours(1));
}

#[test]
fn an_unknown_name_is_not_created_and_the_nearest_name_is_suggested() {
    let served = serve(with_a_breaker);
    let unknown = served.post("/circuit_breaker/paymnet/open");
    assert_eq!((unknown.status, &unknown.json["did_you_mean"][0]), (404, &"payment".into()));
    assert_eq!(served.registry.stats().circuit_breaker.len(), 1);
    assert_eq!(served.post("/circuit_breaker/payment/explode").status, 404);
    let kind = served.get("/stats/circut_breaker/payment");
    assert!(
        kind.json["detail"].as_str().unwrap().contains("did you mean `circuit_breaker`"),
        "{}",
        kind.json
    );
    assert_eq!(served.get("/nowhere").status, 404);
    assert_eq!(served.post("/stats").status, 405);
    assert_eq!(served.get("/stats/bulkhead/%ff%fe").status, 400);
    assert_eq!(served.get(&format!("/stats/bulkhead/{}", "n".repeat(10_000))).status, 404);
    let huge = format!("x-long: {}", "x".repeat(64 * 1024));
    assert_eq!(served.ask("GET /api/resilience/stats", &[&huge]).status, 431);
}

#[test]
fn health_returns_200_or_503() {
    let served = serve(with_a_breaker);
    let ready = served.get("/health/ready");
    assert_eq!((ready.status, &ready.json["status"]), (200, &"warn".into()), "an open circuit degrades");
    assert!(ready.head.contains("application/health+json"));
    assert_eq!(served.get("/health/live").json["status"], "pass");
    served.registry.health("db").probe(|| async { Err::<(), _>("connection refused") });
    let ready = served.get("/health/ready");
    assert_eq!(
        (ready.status, &ready.json["checks"]["db:responseTime"][0]["output"]),
        (503, &"connection refused".into())
    );
}

#[test]
fn it_listens_only_on_loopback_without_a_token() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let refused = Admin::new(&Registry::new()).serve(listener).await.unwrap_err();
        assert!(refused.to_string().contains("without a token"), "{refused}");
    });
    assert!(Admin::new(&Registry::new()).token("short").is_err());
    assert!(Admin::new(&Registry::new()).token("schlüssel-des-hauses").is_err(), "not valid in a header");
}

#[test]
fn events_are_streamed() {
    let served = serve(with_a_breaker);
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /api/resilience/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        let mut buffer = [0; 1024];
        while !seen.contains(wanted) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the stream ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    read_until(": listening");
    served.registry.circuit_breaker("payment").force_open();
    read_until(r#""to":"forced_open""#);
}

/// Sends a request to a router that contains the admin routes. Returns status, body, and whether it has a security policy.
async fn asked(app: &axum::Router, path: &str) -> (u16, String, String) {
    use tower::ServiceExt;
    let request = axum::http::Request::get(path).header("host", "localhost");
    let peer = axum::extract::ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
    let request = request.extension(peer).body(axum::body::Body::empty()).unwrap();
    let answer = app.clone().oneshot(request).await.unwrap();
    let policy = answer.headers().get("content-security-policy").is_some().to_string();
    let (status, body) = (answer.status().as_u16(), answer.into_body());
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned(), policy)
}

#[tokio::test]
async fn the_router_can_be_merged_or_nested_and_leaves_other_paths_alone() {
    use axum::Router;
    use axum::routing::get;
    let admin = || Admin::new(&Registry::new());
    let own = || Router::new().route("/", get(async || "shop")).fallback(async || "not in the shop");

    let merged = own().merge(admin().router());
    assert_eq!(asked(&merged, "/nowhere").await, (200, "not in the shop".into(), "false".into()));
    assert_eq!(asked(&merged, "/api/resilience/stats").await.0, 200);
    let (status, words, policy) = asked(&merged, "/api/resilience/nowhere").await;
    assert_eq!((status, &*policy), (404, "true"));
    assert!(words.contains("no such endpoint"), "{words}");

    let bare = own().merge(admin().prefix("").router());
    assert_eq!(asked(&bare, "/nowhere").await.1, "not in the shop");
    assert_eq!(asked(&bare, "/stats").await.0, 200);

    let nested = own().nest("/internal", admin().router());
    let (status, page, _) = asked(&nested, "/internal/dashboard").await;
    assert_eq!(status, 200);
    // All URLs in the page are relative.
    for file in page.split('"').filter(|word| word.starts_with("dashboard/")) {
        assert_eq!(asked(&nested, &format!("/internal/{file}")).await.0, 200, "{file}");
    }
    assert!(page.contains("content=\"api/resilience\"") && !page.contains("\"/"), "{page}");
    let document = asked(&nested, "/internal/api/resilience/openapi.json").await.1;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["servers"][0]["url"], "../..");
}

#[cfg(not(feature = "chaos"))]
#[test]
fn without_the_feature_the_chaos_endpoints_say_that_it_is_missing() {
    let served = serve(|_| {});
    for line in ["GET /api/resilience/chaos", "GET /api/resilience/chaos/faults"] {
        let absent = served.ask(line, &[]);
        assert_eq!(absent.status, 404);
        assert!(
            absent.json["detail"].as_str().unwrap().contains("without the feature `chaos`"),
            "{}",
            absent.json
        );
    }
    assert_eq!(served.post("/chaos/stop").status, 404);
    assert_eq!(served.ask("GET /dashboard/chaos", &[]).status, 404);
    assert_eq!(served.ask("GET /dashboard/chaos.js", &[]).status, 404);
    let page = served
        .raw(&format!("GET /dashboard HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", served.address));
    assert!(!page.to_lowercase().contains("chaos"), "{page}");
}
