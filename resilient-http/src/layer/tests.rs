use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use resilient_runtime::clock::Clock;
use resilient_runtime::correlation::CorrelationId;
use resilient_runtime::{
    Component, Priority, Registry, bulkhead, deadline, fallback, idempotency, rate_limit,
};
use tower::{ServiceExt, service_fn};

use super::*;
use crate::Problem;

fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request =
        headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_correlation_id_is_in_the_scope_and_in_the_response() {
    let id = || async { CorrelationId::current().unwrap().to_string() };
    let app = Router::new().route("/", get(id)).layer(CorrelationLayer::new());
    let answer = app.clone().oneshot(request("/", &[("x-request-id", "r-7")])).await.unwrap();
    assert_eq!(header(&answer, "x-correlation-id"), Some("r-7"));
    assert_eq!(text(answer).await, "r-7");
    let made = app.clone().oneshot(request("/", &[("x-request-id", "a b")])).await.unwrap();
    let id = header(&made, "x-correlation-id").unwrap().to_owned();
    assert_eq!((id.len(), text(made).await), (32, id));
}

#[tokio::test]
async fn the_callers_deadline_applies_inside_and_an_expired_request_is_rejected() {
    let left = async || format!("{:?}", deadline::remaining().map(|left| left.as_secs()));
    let app =
        Router::new().route("/", get(left)).layer(DeadlineLayer::new().at_most(Duration::from_mins(10)));
    let ask = |headers: &[(&str, &str)]| app.clone().oneshot(request("/", headers));
    assert_eq!(text(ask(&[("grpc-timeout", "5S")]).await.unwrap()).await, "Some(4)");
    assert_eq!(text(ask(&[]).await.unwrap()).await, "Some(599)");
    assert_eq!(text(ask(&[("grpc-timeout", "99999999H")]).await.unwrap()).await, "Some(599)");
    let both = [("grpc-timeout", "50S"), ("x-envoy-expected-rq-timeout-ms", "9500")];
    assert_eq!(text(ask(&both).await.unwrap()).await, "Some(9)", "the shorter one");
    assert_eq!(ask(&[("grpc-timeout", "0S")]).await.unwrap().status(), 504);
    for bad in ["soon", "-1S", "", "999999999S"] {
        let refused = ask(&[("grpc-timeout", bad)]).await.unwrap();
        assert_eq!(refused.status(), 400, "{bad}");
        assert_eq!(header(&refused, "content-type"), Some("application/problem+json"));
    }
}

#[tokio::test]
async fn degraded_responses_are_marked() {
    let registry = Registry::new();
    let stage = registry.fallback("rates");
    stage.reconfigure(fallback::Config::default().cache_max_age(Duration::from_mins(1))).unwrap();
    let handler = move |uri: http::Uri| {
        let stage = Arc::clone(&stage);
        async move {
            let good = uri.path() == "/good";
            if good {
                stage.keep("EUR", 1.5_f64);
            }
            let last = || {
                fallback::Chain::of(resilient_runtime::Level::Default, |_| Some(1.0))
                    .or_last_good(&stage, "EUR")
            };
            stage.call(|| good.then_some(2.0), last).unwrap_or_default().to_string()
        }
    };
    let app = Router::new().fallback(handler).layer(DegradedLayer::new());
    let ask = |path| app.clone().oneshot(request(path, &[]));
    let bad = ask("/bad").await.unwrap();
    assert_eq!((header(&bad, "x-resilience-level"), header(&bad, "age")), (Some("default"), None));
    let good = ask("/good").await.unwrap();
    assert_eq!(header(&good, "x-resilience-degraded"), None);
    let kept = ask("/bad").await.unwrap();
    assert_eq!(header(&kept, "x-resilience-degraded"), Some("true"));
    assert_eq!((header(&kept, "x-resilience-level"), header(&kept, "age")), (Some("local_cache"), Some("0")));
    assert_eq!(header(&kept, "cache-status"), Some("resilient; hit; detail=local_cache"));
    assert_eq!(text(kept).await, "1.5");
}

#[tokio::test]
async fn each_client_has_its_own_limit_and_gets_rate_limit_headers() {
    let limiter = Registry::new().rate_limiter("clients");
    limiter
        .reconfigure(rate_limit::Config::default().rate("2/min".parse::<rate_limit::Rate>().unwrap()))
        .unwrap();
    let clients = ClientIp::behind(["127.0.0.1"]).unwrap();
    let app = Router::new().route("/", get(async || "ok")).layer(RateLimitLayer::new(limiter, clients));
    let ask = |forwarded: &str| {
        let mut request = request("/", &[("x-forwarded-for", forwarded)]);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        app.clone().oneshot(request)
    };
    let first = ask("1.1.1.1").await.unwrap();
    assert_eq!(header(&first, "ratelimit"), Some("\"clients\";r=1;t=30"));
    assert_eq!(header(&first, "ratelimit-policy"), Some("\"clients\";q=2;w=60"));
    assert_eq!(ask("6.6.6.6, 1.1.1.1").await.unwrap().status(), 200);
    let refused = ask("7.7.7.7, 1.1.1.1").await.unwrap();
    assert_eq!(refused.status(), 429, "addresses written by the client are ignored");
    assert_eq!(header(&refused, "retry-after"), Some("30"));
    assert_eq!(header(&refused, "ratelimit"), Some("\"clients\";r=0;t=60"));
    assert_eq!(ask("2.2.2.2").await.unwrap().status(), 200);
    for suffix in ["1", "2"] {
        assert_eq!(ask(&format!("2001:db8::{suffix}")).await.unwrap().status(), 200);
    }
    assert_eq!(ask("2001:db8::3").await.unwrap().status(), 429, "the same /64 network");
}

#[tokio::test]
async fn a_client_has_one_limit_at_all_instances_that_share_a_store() {
    let store = Arc::new(rate_limit::MemoryStore::new(Registry::new().clock().clone(), 100));
    let instance = || {
        let registry = Registry::new();
        registry.use_store("shared", Arc::clone(&store));
        let limiter = registry.rate_limiter("clients");
        let rate = "2/h".parse::<rate_limit::Rate>().unwrap();
        limiter.reconfigure(rate_limit::Config::default().rate(rate).store("shared")).unwrap();
        let by = |parts: &http::request::Parts| parts.headers.get("x-api-key").cloned();
        Router::new().route("/", get(async || "ok")).layer(RateLimitLayer::by(limiter, by))
    };
    let (first, second) = (instance(), instance());
    let ask = |app: &Router, key: &'static str| app.clone().oneshot(request("/", &[("x-api-key", key)]));
    let admitted = ask(&first, "a").await.unwrap();
    assert_eq!(header(&admitted, "ratelimit"), Some("\"clients\";r=1;t=1800"));
    assert_eq!(text(admitted).await, "ok");
    assert_eq!(ask(&second, "a").await.unwrap().status(), 200);
    let refused = ask(&first, "a").await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(header(&refused, "retry-after").is_some());
    assert_eq!(ask(&second, "b").await.unwrap().status(), 200, "another client");
}

/// A body that sends the parts of a channel.
struct Slow(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_held_until_the_body_has_been_sent_and_timeouts_do_not_abort_the_body() {
    // T70
    let registry = Registry::with_clock(Clock::tokio());
    let permits = registry.bulkhead("api");
    permits.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let limit = resilient_runtime::timeout::Config::default().total(Duration::from_millis(20));
    registry.timeout("api").reconfigure(limit).unwrap();
    let shedder = registry.load_shedder("api");
    let pipeline = registry.pipeline("api").bulkhead("api").timeout("api").load_shed("api").build();
    let (send, parts) = tokio::sync::mpsc::channel(4);
    let parts = Arc::new(std::sync::Mutex::new(Some(parts)));
    let handler = move || {
        let parts = parts.lock().unwrap().take();
        async move { parts.map_or_else(Body::empty, |parts| Body::new(Slow(parts))) }
    };
    let app = Router::new().route("/", get(handler)).layer(ServerLayer::new(pipeline).unwrap());
    let ask = || app.clone().oneshot(request("/", &[]));
    let first = ask().await.unwrap();
    assert_eq!((first.status().as_u16(), permits.stats().in_use, shedder.stats().in_flight), (200, 1, 1));
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(text(refused).await.contains("urn:resilient:bulkhead_full"));
    tokio::time::sleep(Duration::from_millis(40)).await;
    send.send("late".into()).await.unwrap();
    drop(send);
    assert_eq!(text(first).await, "late", "the body has no time limit");
    assert_eq!((permits.stats().in_use, shedder.stats().in_flight), (0, 0));
    let empty = ask().await.unwrap();
    assert_eq!(permits.stats().in_use, 0, "there is nothing to send");
    drop(empty);
}

#[tokio::test]
async fn dropping_a_body_or_a_request_releases_its_permit() {
    let registry = Registry::new();
    let permits = registry.bulkhead("api");
    let pipeline = registry.pipeline("api").bulkhead("api").build();
    let (_send, parts) = tokio::sync::mpsc::channel(4);
    let parts = Arc::new(std::sync::Mutex::new(Some(parts)));
    let handler = move |uri: http::Uri| {
        let parts = parts.lock().unwrap().take();
        async move {
            if uri.path() == "/hang" {
                std::future::pending::<()>().await;
            }
            parts.map_or_else(Body::empty, |parts| Body::new(Slow(parts)))
        }
    };
    let app = Router::new().fallback(handler).layer(ServerLayer::new(pipeline).unwrap());
    let answer = app.clone().oneshot(request("/", &[])).await.unwrap();
    assert_eq!(permits.stats().in_use, 1);
    drop(answer);
    assert_eq!(permits.stats().in_use, 0);
    let hanging = tokio::time::timeout(Duration::from_millis(10), app.oneshot(request("/hang", &[]))).await;
    assert!(hanging.is_err());
    assert_eq!(permits.stats().in_use, 0);
}

#[tokio::test]
async fn responses_with_5xx_open_the_circuit_and_the_request_sets_the_priority() {
    let registry = Registry::new();
    let opens = resilient_runtime::circuit_breaker::Config::default().failure_threshold(2);
    registry.circuit_breaker("api").reconfigure(opens).unwrap();
    let shedder = registry.load_shedder("api");
    let pipeline = registry.pipeline("api").circuit_breaker("api").load_shed("api").build();
    let layer = ServerLayer::new(pipeline)
        .unwrap()
        .priority(|parts| if parts.headers.contains_key("x-batch") { Priority::Low } else { Priority::High });
    let app = Router::new()
        .route("/bad", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/wrong", get(async || StatusCode::NOT_FOUND))
        .layer(layer);
    let ask = |path, headers: &[(&str, &str)]| app.clone().oneshot(request(path, headers));
    for _ in 0..3 {
        assert_eq!(ask("/wrong", &[("x-batch", "1")]).await.unwrap().status(), 404, "the caller is wrong");
    }
    assert_eq!(ask("/bad", &[]).await.unwrap().status(), 500);
    assert_eq!(ask("/bad", &[]).await.unwrap().status(), 500);
    let open = ask("/wrong", &[]).await.unwrap();
    assert_eq!(open.status(), 503);
    assert!(header(&open, "retry-after").is_some());
    let classes = shedder.stats().classes;
    assert_eq!((classes.low.admitted, classes.high.admitted), (3, 3));
    let repeats = ServerLayer::new(registry.pipeline("r").retry("r").build()).unwrap_err();
    assert!(repeats.to_string().contains("`r` has `retry` or `hedge`"));
}

#[tokio::test]
async fn a_rejection_with_an_unread_body_closes_the_connection() {
    let limiter = Registry::new().rate_limiter("none");
    limiter
        .reconfigure(rate_limit::Config::default().rate("1/h".parse::<rate_limit::Rate>().unwrap()))
        .unwrap();
    assert!(limiter.check_key(&0_u8).allowed);
    let app = Router::new().route("/", post(async || "ok"));
    let behind_it = app.clone().layer(RateLimitLayer::by(limiter, |_| Some(0_u8)));
    let closes = app.clone().layer(DeadlineLayer::new());
    let send = |app: Router, body: &'static str| {
        let request = Request::post("/").header("grpc-timeout", "soon").body(Body::from(body)).unwrap();
        app.oneshot(request)
    };
    let _ = send(behind_it.clone(), "").await.unwrap();
    assert_eq!(header(&send(behind_it.clone(), "body").await.unwrap(), "connection"), Some("close"));
    assert_eq!(header(&send(behind_it, "").await.unwrap(), "connection"), None, "there is nothing to read");
    assert_eq!(header(&send(closes, "body").await.unwrap(), "connection"), Some("close"));
    let http2 = Request::post("/")
        .version(http::Version::HTTP_2)
        .header("grpc-timeout", "soon")
        .body(Body::from("b"));
    let answer = app.layer(DeadlineLayer::new()).oneshot(http2.unwrap()).await.unwrap();
    assert_eq!(header(&answer, "connection"), None);
}

#[test]
fn every_layer_and_service_can_be_cloned_and_shared() {
    fn is<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn all<L>(layer: L)
    where
        L: tower::Layer<Router> + Clone + Send + Sync + 'static,
        L::Service: Clone + Send + Sync + 'static,
    {
        is(&layer);
        is(&layer.layer(Router::new()));
    }
    let registry = Registry::new();
    all(super::CorrelationLayer::new());
    all(super::DeadlineLayer::new());
    all(super::DegradedLayer::new());
    all(RateLimitLayer::new(registry.rate_limiter("x"), ClientIp::direct()));
    all(super::IdempotencyLayer::new(registry.idempotency("x")));
    all(ServerLayer::bulkhead(&registry.bulkhead("x")));
    all(ClientLayer::<Request<Body>, Response<Body>>::retry(&registry.retry("x")));
}

#[tokio::test]
async fn a_layer_can_have_a_single_component() {
    let registry = Registry::new();
    let permits = registry.bulkhead("one");
    permits.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let app = Router::new().route("/", get(async || "ok")).layer(ServerLayer::bulkhead(&permits));
    let held = permits.try_acquire().unwrap();
    assert_eq!(app.clone().oneshot(request("/", &[])).await.unwrap().status(), 503);
    drop(held);
    assert_eq!(app.oneshot(request("/", &[])).await.unwrap().status(), 200);
    let breaker = registry.circuit_breaker("one");
    let opens = resilient_runtime::circuit_breaker::Config::default().failure_threshold(1);
    breaker.reconfigure(opens).unwrap();
    let fails = service_fn(|()| std::future::ready(Err::<(), _>(std::io::Error::other("down"))));
    let client = tower::Layer::layer(&ClientLayer::circuit_breaker(&breaker), fails);
    assert_eq!(client.clone().oneshot(()).await.unwrap_err().to_string(), "down");
    assert!(client.oneshot(()).await.unwrap_err().to_string().contains("`one` is open"));
}

#[tokio::test]
async fn requests_with_a_key_are_executed_once() {
    // T104, T108, T110, T111
    let registry = Registry::new();
    let once = registry.idempotency("orders");
    let made = Arc::new(AtomicU32::new(0));
    let handler = {
        let made = Arc::clone(&made);
        move |body: String| {
            let number = made.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                tokio::task::yield_now().await;
                let status = body.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
                (
                    status.unwrap_or(StatusCode::CREATED),
                    [("x-number", number.to_string())],
                    format!("made {number}"),
                )
            }
        }
    };
    let app = Router::new().route("/orders", post(handler)).layer(IdempotencyLayer::new(once).required());
    let send = |key: &str, body: &str, whose: &str| {
        let request = Request::post("/orders").header("idempotency-key", key).header("authorization", whose);
        app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap())
    };
    let first = send("\"k\"", "a", "ada").await.unwrap();
    assert_eq!((first.status().as_u16(), header(&first, "idempotency-replayed")), (201, None));
    let again = send("k", "a", "ada").await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "idempotency-replayed")), (201, Some("true")));
    assert_eq!((header(&again, "x-number"), made.load(Ordering::Relaxed)), (Some("1"), 1));
    assert_eq!(text(again).await, "made 1");
    assert_eq!(send("k", "b", "ada").await.unwrap().status(), 422, "another body");
    assert_eq!(text(send("k", "a", "bob").await.unwrap()).await, "made 2", "another client");
    for status in ["429", "501"] {
        assert_eq!(send(status, status, "ada").await.unwrap().status().as_str(), status);
        assert_eq!(send(status, status, "ada").await.unwrap().headers().get("idempotency-replayed"), None);
    }
    // The request might have been executed.
    let before = made.load(Ordering::Relaxed);
    for status in ["503", "500", "502"] {
        assert_eq!(send(status, status, "ada").await.unwrap().status().as_str(), status);
        assert_eq!(send(status, status, "ada").await.unwrap().status(), 409, "the outcome is unknown");
    }
    assert_eq!(made.load(Ordering::Relaxed), before + 3);
    assert_eq!(send("404", "404", "ada").await.unwrap().status(), 404);
    assert_eq!(header(&send("404", "404", "ada").await.unwrap(), "idempotency-replayed"), Some("true"));
    assert_eq!(send("504", "504", "ada").await.unwrap().status(), 504);
    let unknown = send("504", "504", "ada").await.unwrap();
    assert_eq!(unknown.status(), 409, "the outcome is unknown");
    assert_eq!(header(&unknown, "content-type"), Some("application/problem+json"));
    assert!(text(unknown).await.contains("urn:resilient:outcome_unknown"));
    let (left, right) = tokio::join!(send("both", "a", "ada"), send("both", "a", "ada"));
    let mut statuses = [left.unwrap().status().as_u16(), right.unwrap().status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "the first is in progress");
    for bad in ["", "\"", &"k".repeat(256)] {
        assert_eq!(send(bad, "a", "ada").await.unwrap().status(), 400, "{bad:?}");
    }
    let without = Request::post("/orders").body(Body::empty()).unwrap();
    assert_eq!(app.clone().oneshot(without).await.unwrap().status(), 400);
    assert_eq!(send("large", &"x".repeat((1 << 20) + 1), "ada").await.unwrap().status(), 413);
    assert_eq!(
        app.clone().oneshot(request("/orders", &[])).await.unwrap().status(),
        405,
        "a GET needs no key"
    );
}

#[tokio::test]
async fn of_client_scopes_keys_to_a_client() {
    let made = Arc::new(AtomicU32::new(0));
    let handler = move || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        async move { number.to_string() }
    };
    let cookie = |parts: &http::request::Parts| parts.headers["cookie"].as_bytes().to_vec();
    let layer = IdempotencyLayer::new(Registry::new().idempotency("sessions")).of_client(cookie);
    let app = Router::new().route("/", post(handler)).layer(layer);
    let send = |cookie: &str| {
        let request = Request::post("/").header("idempotency-key", "k").header("cookie", cookie);
        app.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let mut answers = Vec::new();
    for whose in ["ada", "bob", "ada"] {
        answers.push(text(send(whose).await.unwrap()).await);
    }
    assert_eq!(answers, ["0", "1", "0"]);
}

#[tokio::test]
async fn one_client_cannot_fill_the_store() {
    let registry = Registry::new();
    let once = registry.idempotency("orders");
    let stats = Arc::clone(&once);
    let store = Arc::new(idempotency::MemoryStore::new(registry.clock().clone(), 1500));
    once.set_store(store.clone());
    let app = Router::new().route("/", post(async || "ordered")).layer(IdempotencyLayer::new(once));
    let send = async |whose: &str, key: &str| {
        let request = Request::post("/").header("idempotency-key", key).header("authorization", whose);
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"))
    };
    assert_eq!(send("ada", "hers").await, (200, false));
    // All requests without an identity are one client.
    for key in 0..1000 {
        assert_eq!(send("", &key.to_string()).await, (200, false));
    }
    for key in 1000..2000 {
        assert_eq!(send("", &key.to_string()).await, (503, false));
    }
    assert_eq!(send("", "0").await, (200, true), "nothing was dropped");
    assert_eq!(send("ada", "hers").await, (200, true));
    assert_eq!(send("bob", "another").await, (200, false));
    assert_eq!((store.len(), stats.stats().full), (1002, 1000));
}

#[tokio::test]
async fn large_responses_to_anonymous_clients_evict_no_record() {
    // 120 requests with responses of 60 KB.
    let once = Registry::new().idempotency("orders");
    let layer = IdempotencyLayer::new(Arc::clone(&once));
    let app = Router::new().route("/", post(async || "x".repeat(60_000))).layer(layer);
    let send = async |whose: Option<&str>, key: &str| {
        let mut request = Request::post("/").header("idempotency-key", key);
        if let Some(whose) = whose {
            request = request.header("authorization", whose);
        }
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status().as_u16(), header(&answer, "idempotency-replayed").is_some())
    };
    assert_eq!(send(Some("victim"), "k").await, (200, false));
    let mut answered = 0;
    for key in 0..120 {
        answered += u32::from(send(None, &key.to_string()).await == (200, false));
    }
    assert!((100..120).contains(&answered), "{answered}");
    assert_eq!(send(Some("victim"), "k").await, (200, true));
    assert_eq!(send(Some("victim"), "another").await, (200, false));
    assert_eq!(send(None, "0").await, (200, true));
    assert_eq!(once.stats().full, u64::from(120 - answered));
}

#[tokio::test]
async fn nested_routers_do_not_share_responses() {
    let once = Registry::new().idempotency("shared");
    let of = |answer: &'static str| {
        let layer = IdempotencyLayer::new(Arc::clone(&once));
        Router::new().route("/", post(async move || answer)).layer(layer)
    };
    let app = Router::new().nest("/charges", of("charged")).nest("/refunds", of("refunded"));
    let send = async |path: &str, host: &str| {
        let request = Request::post(path).header("idempotency-key", "k").header("host", host);
        let answer = app.clone().oneshot(request.body(Body::from("same")).unwrap()).await.unwrap();
        (answer.status().as_u16(), header(&answer, "idempotency-replayed").is_some())
    };
    assert_eq!(send("/charges", "a.example").await, (200, false));
    assert_eq!(send("/refunds", "a.example").await, (422, false));
    assert_eq!(send("/charges", "b.example").await, (422, false));
    assert_eq!(send("/charges", "A.Example").await, (200, true));
}

#[tokio::test]
async fn headers_are_replayed_unchanged_except_connection_headers() {
    let handler = async || {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("x-name", &b"caf\xe9 \xff"[..]),
            ("x-many", b"1"),
            ("x-many", b"2"),
            ("x-many", b""),
            ("vary", b"accept"),
            ("set-cookie", b"session=1"),
            ("date", b"yesterday"),
            ("keep-alive", b"timeout=5"),
            ("connection", b"X-Hop, close"),
            ("x-hop", b"1"),
        ] {
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        (headers, vec![0_u8, 0xff, b'"'])
    };
    let layer = IdempotencyLayer::new(Registry::new().idempotency("orders"));
    let app = Router::new().route("/", post(handler)).layer(layer);
    let send = || {
        let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
        app.clone().oneshot(request)
    };
    let first = send().await.unwrap();
    let again = send().await.unwrap();
    let mut expected = first.headers().clone();
    for name in ["set-cookie", "date", "keep-alive", "connection", "x-hop", "content-length"] {
        expected.remove(name);
    }
    expected.insert("idempotency-replayed", "true".parse().unwrap());
    let mut given = again.headers().clone();
    given.remove("content-length");
    assert_eq!(given, expected);
    let many: Vec<_> = given.get_all("x-many").iter().map(|value| value.as_bytes().to_owned()).collect();
    assert_eq!(many, [&b"1"[..], b"2", b""]);
    let bytes = |response: Response<Body>| axum::body::to_bytes(response.into_body(), 100);
    assert_eq!(bytes(first).await.unwrap(), bytes(again).await.unwrap());
}

#[tokio::test]
async fn a_response_that_was_not_stored_is_marked() {
    #[derive(Debug)]
    struct Panics(idempotency::MemoryStore);
    impl idempotency::IdempotencyStore for Panics {
        fn claim(&self, claim: idempotency::Claim) -> idempotency::Answer<'_, idempotency::Claimed> {
            self.0.claim(claim)
        }
        fn renew<'a>(
            &'a self,
            key: &'a str,
            owner: idempotency::Owner,
            lease: Duration,
        ) -> idempotency::Answer<'a, bool> {
            self.0.renew(key, owner, lease)
        }
        fn complete<'a>(
            &'a self,
            _: &'a str,
            _: idempotency::Owner,
            _: Vec<u8>,
            _: Duration,
        ) -> idempotency::Answer<'a, bool> {
            panic!("the store is broken")
        }
        fn abandon<'a>(&'a self, key: &'a str, owner: idempotency::Owner) -> idempotency::Answer<'a, bool> {
            self.0.abandon(key, owner)
        }
    }
    let registry = Registry::new();
    let broken = registry.idempotency("broken");
    broken.set_store(Arc::new(Panics(idempotency::MemoryStore::new(registry.clock().clone(), 10))));
    let handler = async |length: String| match length.as_str() {
        "streamed" => Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("part")])),
        length => Body::from("x".repeat(length.parse().unwrap())),
    };
    for (once, length, why) in [
        (registry.idempotency("good"), "60000", None),
        (registry.idempotency("good"), "65530", Some("too_large")),
        (registry.idempotency("good"), "70000", Some("too_large")),
        (registry.idempotency("good"), "streamed", Some("streamed")),
        (broken, "1", Some("store_failed")),
    ] {
        let app = Router::new().route("/", post(handler)).layer(IdempotencyLayer::new(once));
        let request =
            || Request::post("/").header("idempotency-key", length).body(Body::from(length)).unwrap();
        let answer = app.clone().oneshot(request()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "idempotency-unsaved")),
            (200, why),
            "{length}"
        );
        let again = app.oneshot(request()).await.unwrap();
        assert_eq!(again.status(), if why.is_some() { 409 } else { 200 }, "{length}: never executed again");
        assert_eq!(header(&again, "idempotency-unsaved"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_bodies_stay_within_the_memory_and_time_limits() {
    const MOST: usize = 8 << 20;
    const LARGE: usize = MOST / 4 * 3;
    let budget = super::BodyBudget::new(MOST);
    let layer = IdempotencyLayer::new(Registry::new().idempotency("orders")).body_budget(&budget);
    let app = Router::new().route("/", post(async |body: Bytes| body.len().to_string())).layer(layer);
    let send = |key: String, body: Body| {
        let request = Request::post("/").header("idempotency-key", key).body(body).unwrap();
        app.clone().oneshot(request)
    };
    // Each body sends 100 KB and then stalls.
    let stalled = || {
        use futures_util::StreamExt;
        let part =
            futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; 100_000]))]);
        Body::from_stream(part.chain(futures_util::stream::pending()))
    };
    let mut clients: Vec<_> = (0..1000).map(|key| Box::pin(send(key.to_string(), stalled()))).collect();
    let (mut refused, mut most) = (0, 0);
    clients.retain_mut(|client| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let poll = client.as_mut().poll(&mut cx);
        most = most.max(budget.held());
        let std::task::Poll::Ready(answer) = poll else { return true };
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, Some("1")));
        refused += 1;
        false
    });
    assert!(most <= LARGE && most > LARGE - 200_000, "{most} bytes");
    assert_eq!((clients.len() + refused, budget.refused()), (1000, refused as u64));
    assert!(clients.len() >= LARGE / 200_000, "{} in progress", clients.len());
    let small = send("small".into(), Body::from("an order")).await.unwrap();
    assert_eq!(small.status(), 200, "memory is reserved for small bodies");
    // Stalled bodies time out and release their memory.
    let slow = clients.len();
    let answers = futures_util::future::join_all(clients).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 408), "{slow}");
    assert_eq!(budget.held(), 0);
    assert_eq!(text(send("good".into(), Body::from(vec![0; 100_000])).await.unwrap()).await, "100000");
    assert_eq!(budget.held(), 0, "released when the handler has read the body");
}

#[tokio::test]
async fn a_degraded_response_is_not_stored_and_the_next_request_gets_the_real_one() {
    let registry = Registry::new();
    for is_outside in [false, true] {
        let rates = registry.fallback("rates");
        let is_up = Arc::new(AtomicU32::new(0));
        let handler = {
            let is_up = Arc::clone(&is_up);
            move || async move {
                tokio::task::yield_now().await;
                let real = || (is_up.load(Ordering::Relaxed) == 1).then_some("real");
                let stand_in =
                    || fallback::Chain::of(resilient_runtime::Level::Default, |_| Some("stand-in"));
                rates.call(real, stand_in).unwrap()
            }
        };
        let name = if is_outside { "outside" } else { "inside" };
        let (once, app) = (registry.idempotency(name), Router::new().route("/", post(handler)));
        let app = if is_outside {
            app.layer(IdempotencyLayer::new(Arc::clone(&once))).layer(DegradedLayer::new())
        } else {
            app.layer(DegradedLayer::new()).layer(IdempotencyLayer::new(Arc::clone(&once)))
        };
        let send = async || {
            let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            let marks =
                ["x-resilience-degraded", "idempotency-replayed"].map(|it| header(&answer, it).is_some());
            (marks, text(answer).await)
        };
        for _ in 0..2 {
            assert_eq!(send().await, ([true, false], "stand-in".into()), "{name}");
        }
        assert_eq!(once.stats().abandoned, 2);
        is_up.store(1, Ordering::Relaxed);
        assert_eq!(send().await, ([false, false], "real".into()), "{name}");
        is_up.store(0, Ordering::Relaxed);
        assert_eq!(send().await, ([false, true], "real".into()), "{name}");
    }
}

#[tokio::test]
async fn a_4xx_response_is_stored_for_a_minute_and_a_success_for_longer() {
    let time = resilient_runtime::clock::ManualClock::new();
    let once = Registry::with_clock(time.clock()).idempotency("orders");
    let answer = async |status: String| (StatusCode::from_bytes(status.as_bytes()).unwrap(), "a response");
    let app = Router::new().route("/", post(answer)).layer(IdempotencyLayer::new(once));
    let is_replay = async |status: &'static str| {
        let request = Request::post("/").header("idempotency-key", status).body(Body::from(status)).unwrap();
        app.clone().oneshot(request).await.unwrap().headers().contains_key("idempotency-replayed")
    };
    for status in ["201", "303", "404", "422"] {
        assert!(!is_replay(status).await);
    }
    time.advance(Duration::from_secs(59));
    assert!(is_replay("404").await && is_replay("422").await);
    time.advance(Duration::from_secs(1));
    assert!(!is_replay("404").await && !is_replay("422").await);
    assert!(is_replay("201").await && is_replay("303").await);
}

#[tokio::test]
async fn a_streamed_response_is_not_buffered() {
    let once = Registry::new().idempotency("streams");
    let (parts, receiver) = tokio::sync::mpsc::channel(4);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let handler = move || {
        let receiver = receiver.lock().unwrap().take();
        async move { receiver.map_or_else(Body::empty, |parts| Body::new(Slow(parts))) }
    };
    let app = Router::new().route("/", post(handler)).layer(IdempotencyLayer::new(once));
    let send = || {
        let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
        app.clone().oneshot(request)
    };
    let first = send().await.unwrap();
    parts.send("streamed".into()).await.unwrap();
    drop(parts);
    assert_eq!(text(first).await, "streamed");
    let again = send().await.unwrap();
    assert_eq!(again.status(), 409, "not replayed and not executed again");
    assert!(text(again).await.contains("urn:resilient:outcome_unknown"));
}

#[tokio::test]
async fn a_request_body_that_fails_is_a_bad_request_and_leaves_the_key_free() {
    let layer = IdempotencyLayer::new(Registry::new().idempotency("orders"));
    let app = Router::new().route("/", post(async || "done")).layer(layer);
    let send = |body: Body| {
        let request = Request::post("/").header("idempotency-key", "k").body(body).unwrap();
        app.clone().oneshot(request)
    };
    let parts = [Ok(Bytes::from("half")), Err(std::io::Error::other("invalid chunk size"))];
    let broken = Body::from_stream(futures_util::stream::iter(parts));
    let refused = send(broken).await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "connection")), (400, Some("close")));
    assert!(text(refused).await.contains("invalid chunk size"));
    let endless = Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(
        Bytes::from("more"),
    )));
    assert_eq!(send(endless).await.unwrap().status(), 413);
    assert_eq!(send(Body::empty()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_waits_only_with_waits() {
    let started = Arc::new(tokio::sync::Notify::new());
    let handler = {
        let started = Arc::clone(&started);
        async move || {
            started.notify_one();
            tokio::time::sleep(Duration::from_millis(50)).await;
            "done"
        }
    };
    for waits in [false, true] {
        let layer = IdempotencyLayer::new(Registry::with_clock(Clock::tokio()).idempotency("orders"));
        let layer = if waits { layer.waits() } else { layer };
        let app = Router::new().route("/", post(handler.clone())).layer(layer);
        let send = || {
            let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
            app.clone().oneshot(request)
        };
        let first = tokio::spawn(send());
        started.notified().await;
        let second = tokio::time::timeout(Duration::from_secs(5), send()).await.unwrap().unwrap();
        assert_eq!(first.is_finished(), waits);
        assert_eq!(second.status(), if waits { 200 } else { 409 });
        assert_eq!(text(first.await.unwrap().unwrap()).await, "done");
    }
}

#[tokio::test]
async fn a_request_without_a_storable_response_has_an_unknown_outcome_at_once() {
    let handler = async |what: String| match what.as_str() {
        "panics" => panic!("halfway"),
        "hangs" => std::future::pending().await,
        _ => vec![b'"'; 66_000],
    };
    let layer = IdempotencyLayer::new(Registry::new().idempotency("orders"));
    let app = Router::new().route("/", post(handler)).layer(layer);
    let send = |what: &'static str| {
        let request = Request::post("/").header("idempotency-key", what).body(Body::from(what)).unwrap();
        app.clone().oneshot(request)
    };
    assert!(tokio::spawn(send("panics")).await.unwrap_err().is_panic());
    let gone = tokio::time::timeout(Duration::from_millis(10), send("hangs"));
    assert!(gone.await.is_err());
    assert_eq!(text(send("is_large").await.unwrap()).await.len(), 66_000);
    for what in ["panics", "hangs", "is_large"] {
        let again = tokio::time::timeout(Duration::from_secs(1), send(what)).await.unwrap().unwrap();
        assert_eq!(again.status(), 409, "{what}");
        assert!(text(again).await.contains("urn:resilient:outcome_unknown"), "{what}");
    }
}

#[tokio::test]
async fn binary_responses_are_replayed_up_to_64_kb() {
    let handler = async |length: String| vec![0xff_u8; length.parse().unwrap()];
    let layer = IdempotencyLayer::new(Registry::new().idempotency("images"));
    let app = Router::new().route("/", post(handler)).layer(layer);
    let send = async |length: &'static str| {
        let request = Request::post("/").header("idempotency-key", length).body(Body::from(length)).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap())
    };
    for length in ["0", "1", "2", "3", "65000"] {
        let first = send(length).await;
        assert_eq!(first, (200, vec![0xff; length.parse().unwrap()].into()));
        assert_eq!(send(length).await, first);
    }
    assert_eq!(send("65500").await.0, 200);
    assert_eq!(send("65500").await.0, 409, "too large to store");
}

#[tokio::test]
async fn a_client_retries_and_polls_readiness_for_each_attempt() {
    #[derive(Clone)]
    struct Flaky {
        calls: Arc<AtomicU32>,
        is_ready: bool,
    }

    impl tower::Service<u32> for Flaky {
        type Response = u32;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<u32, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
            self.is_ready = true;
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, number: u32) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "called before it was ready");
            let calls = self.calls.fetch_add(1, Ordering::Relaxed);
            std::future::ready(if calls < 2 {
                Err(std::io::ErrorKind::ConnectionRefused.into())
            } else {
                Ok(number)
            })
        }
    }

    let registry = Registry::new();
    let retry = resilient_runtime::retry::Config::default().base(Duration::ZERO);
    registry.retry("r").reconfigure(retry).unwrap();
    let layer = ClientLayer::new(registry.pipeline("client").retry("r").circuit_breaker("c").build());
    let calls = Arc::new(AtomicU32::new(0));
    let client = tower::Layer::layer(&layer, Flaky { calls: Arc::clone(&calls), is_ready: false });
    assert_eq!(client.clone().oneshot(7).await.unwrap(), 7);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    registry.circuit_breaker("c").force_open();
    let error = client.oneshot(7).await.unwrap_err();
    let (kind, _) = resilient_runtime::RejectionKind::found_in(&*error).unwrap();
    assert_eq!(kind, resilient_runtime::RejectionKind::CircuitOpen);
}

#[tokio::test]
async fn an_http_client_judges_by_status_and_honors_retry_after() {
    let registry = Registry::new();
    let retry = resilient_runtime::retry::Config::default()
        .base(Duration::ZERO)
        .jitter(resilient_runtime::Ratio::ZERO);
    registry.retry("r").reconfigure(retry).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let service = {
        let calls = Arc::clone(&calls);
        service_fn(move |request: Request<u16>| {
            let number = calls.fetch_add(1, Ordering::Relaxed);
            let status = if number == 1 { 200 } else { *request.body() };
            let response =
                Response::builder().status(status).header("retry-after", "0").body(Body::empty()).unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        })
    };
    let layer = ClientLayer::http(registry.pipeline("client").retry("r").build());
    let client = tower::Layer::layer(&layer, service);
    let ask = async |method: &str, status: u16| {
        let request = Request::builder().method(method).body(status).unwrap();
        client.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("GET", 503).await, 200);
    assert_eq!(ask("GET", 404).await, 404);
    assert_eq!(calls.load(Ordering::Relaxed), 3, "a 404 is not retried");
    // The request might have been executed before the server failed (T33).
    assert_eq!(ask("POST", 503).await, 503);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    // A request that was rate limited was not executed.
    assert_eq!(ask("POST", 429).await, 429);
    assert_eq!(calls.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn a_key_is_freed_only_if_the_response_proves_that_there_was_no_effect() {
    let registry = Registry::new();
    registry.circuit_breaker("bank").force_open();
    let open = registry.circuit_breaker("bank").try_acquire().unwrap_err();
    let made = Arc::new(AtomicU32::new(0));
    let handler = {
        let made = Arc::clone(&made);
        move |request: Request<Body>| {
            made.fetch_add(1, Ordering::Relaxed);
            let what = request.headers()["x-answer"].to_str().unwrap().to_owned();
            let code = |code: &str| ([("grpc-status", code.to_owned())], "").into_response();
            let answer = match &*what {
                "refused" => Problem::from(&open).into_response(),
                "refused inside" => {
                    let error = std::io::Error::from(open.clone());
                    Problem::of(&error, StatusCode::BAD_GATEWAY).into_response()
                }
                "closed" => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "").unexecuted().into_response(),
                "failed" => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "").into_response(),
                what => match what.strip_prefix("grpc ") {
                    Some(number) => code(number),
                    None => StatusCode::from_bytes(what.as_bytes()).unwrap().into_response(),
                },
            };
            std::future::ready(answer)
        }
    };
    let layer = IdempotencyLayer::new(registry.idempotency("orders"));
    let app = Router::new().route("/", post(handler)).layer(layer);
    let runs = async |what: &str| {
        let before = made.load(Ordering::Relaxed);
        for _ in 0..2 {
            let request = Request::post("/").header("idempotency-key", what.replace(' ', "-"));
            let request = request.header("x-answer", what).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap();
        }
        made.load(Ordering::Relaxed) - before
    };
    for free in
        ["refused", "refused inside", "closed", "429", "408", "409", "501", "grpc 8", "grpc 10", "grpc 12"]
    {
        assert_eq!(runs(free).await, 2, "{free}");
    }
    for taken in ["failed", "500", "502", "503", "504", "404", "200"] {
        assert_eq!(runs(taken).await, 1, "{taken}");
    }
    for taken in ["grpc 1", "grpc 2", "grpc 4", "grpc 13", "grpc 14", "grpc 15", "grpc 5", "grpc 0"] {
        assert_eq!(runs(taken).await, 1, "{taken}");
    }
}

#[tokio::test]
async fn a_client_layer_and_a_direct_call_judge_a_rejection_alike() {
    // The rejection of a call without the idempotency key that its pipeline needs.
    let registry = Registry::new();
    let once = registry.pipeline("order").idempotency("orders").build();
    let refused = once.call(|| Ok::<u32, resilient_runtime::Rejection>(7)).unwrap_err();
    let client = registry.pipeline("client").circuit_breaker("by layer").build();
    let service = service_fn(move |_: u32| {
        std::future::ready(Err::<u32, tower::BoxError>(std::io::Error::from(refused.clone()).into()))
    });
    let client = tower::Layer::layer(&ClientLayer::new(client), service);
    let direct = registry.circuit_breaker("direct");
    for _ in 0..3 {
        client.clone().oneshot(7).await.unwrap_err();
        direct.call(|| once.call(|| Ok::<u32, resilient_runtime::Rejection>(7))).unwrap_err();
    }
    assert_eq!((direct.stats().failed, registry.circuit_breaker("by layer").stats().failed), (0, 0));
}

#[tokio::test]
async fn the_rejection_of_an_open_circuit_contains_the_error_that_opened_it() {
    async fn text<S, Q>(registry: &Registry, name: &'static str, client: S, request: Q) -> String
    where
        S: tower::Service<Q>,
    {
        let opens = resilient_runtime::circuit_breaker::Config::default().failure_threshold(1);
        registry.circuit_breaker(name).reconfigure(opens).unwrap();
        drop(client.oneshot(request).await);
        registry.circuit_breaker(name).try_acquire().unwrap_err().to_string()
    }
    let registry = Registry::new();
    let pipeline = |name| registry.pipeline(name).circuit_breaker(name).build();
    let refused = service_fn(|_: Request<()>| {
        std::future::ready(Err::<Response<Body>, _>(std::io::Error::other("connection refused")))
    });
    let answers = service_fn(|_: Request<()>| {
        let answer = Response::builder().status(503).body(Body::empty()).unwrap();
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let client = tower::Layer::layer(&ClientLayer::http(pipeline("http")), refused);
    let open = text(&registry, "http", client, Request::new(())).await;
    assert!(open.contains("last error: connection refused"), "{open}");
    let client = tower::Layer::layer(&ClientLayer::http(pipeline("head")).until_head(), refused);
    let open = text(&registry, "head", client, Request::new(())).await;
    assert!(open.contains("last error: connection refused"), "{open}");
    let client = tower::Layer::layer(&ClientLayer::http(pipeline("status")), answers);
    let open = text(&registry, "status", client, Request::new(())).await;
    assert!(open.contains("last error: HTTP status 503"), "{open}");
    let client = tower::Layer::layer(&ClientLayer::new(pipeline("any")), refused);
    let open = text(&registry, "any", client, Request::new(())).await;
    assert!(open.contains("last error: connection refused"), "{open}");
}
