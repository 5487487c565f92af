//! The `reqwest` middleware with a real server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use resilient_http::ReqwestMiddleware;
use resilient_runtime::correlation::CorrelationId;
use resilient_runtime::deadline::{Deadline, Header};
use resilient_runtime::{
    Component, Ratio, Registry, Rejection, RejectionKind, circuit_breaker, resilient, retry,
};

/// A server that responds to the first requests with a failure status and to the others with 200.
struct Server {
    url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicU32,
    last: Mutex<HeaderMap>,
}

impl Server {
    async fn start(failures: u32, status: StatusCode) -> Self {
        let seen = Arc::new(Seen::default());
        let answer = move |State(seen): State<Arc<Seen>>, headers: HeaderMap| async move {
            *seen.last.lock().unwrap() = headers;
            let is_failure = seen.requests.fetch_add(1, Ordering::Relaxed) < failures;
            (if is_failure { status } else { StatusCode::OK }, [("retry-after", "0")])
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen }
    }

    fn requests(&self) -> u32 {
        self.seen.requests.load(Ordering::Relaxed)
    }
}

fn client(registry: &Registry) -> ClientWithMiddleware {
    let at_once = retry::Config::default().base(Duration::ZERO).jitter(Ratio::ZERO);
    registry.retry("r").reconfigure(at_once).unwrap();
    let pipeline = registry.pipeline("http").retry("r").circuit_breaker("c").timeout("t").build();
    ClientBuilder::new(reqwest::Client::new()).with(ReqwestMiddleware::new(pipeline)).build()
}

#[tokio::test]
async fn a_request_that_might_have_been_executed_is_retried_only_if_idempotent() {
    // T33
    let client = client(&Registry::new());
    let sent = async |method: &str, failures: u32, status: u16, key: Option<&str>| {
        let server = Server::start(failures, StatusCode::from_u16(status).unwrap()).await;
        let mut request = client.request(method.parse().unwrap(), &server.url).body("an order");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), server.requests())
    };
    assert_eq!(sent("GET", 2, 503, None).await, (200, 3));
    assert_eq!(sent("PUT", 1, 500, None).await, (200, 2));
    assert_eq!(sent("POST", 1, 503, None).await, (503, 1));
    assert_eq!(sent("POST", 1, 503, Some("k")).await, (200, 2));
    assert_eq!(sent("POST", 1, 429, None).await, (200, 2), "a rate-limited request was not executed");
    assert_eq!(sent("GET", 9, 404, None).await, (404, 1));
    assert_eq!(sent("GET", 9, 501, None).await, (501, 1));
}

#[tokio::test]
async fn a_streaming_body_is_sent_once() {
    let client = client(&Registry::new());
    let server = Server::start(9, StatusCode::SERVICE_UNAVAILABLE).await;
    let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("in "), Ok("pieces")]);
    let stream = reqwest::Body::wrap_stream(pieces);
    let answer = client.put(&server.url).body(stream).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), server.requests()), (503, 1));
    // The rejection of an inner pipeline is returned unchanged, too.
    let (outer, inner) = (Registry::new(), Registry::new());
    let limit = resilient_runtime::rate_limit::Config::default()
        .rate("1/h".parse::<resilient_runtime::rate_limit::Rate>().unwrap());
    inner.rate_limiter("l").reconfigure(limit).unwrap();
    let nested = ClientBuilder::new(reqwest::Client::new())
        .with(ReqwestMiddleware::new(outer.pipeline("outer").retry("r").build()))
        .with(ReqwestMiddleware::new(inner.pipeline("inner").rate_limit("l").build()))
        .build();
    let send = || {
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("in "), Ok("pieces")]);
        nested.put(&server.url).body(reqwest::Body::wrap_stream(pieces)).send()
    };
    assert_eq!(send().await.unwrap().status(), 503);
    let limited = send().await.unwrap_err();
    assert!(matches!(RejectionKind::found_in(&limited), Some((RejectionKind::RateLimited, _))), "{limited}");
}

#[tokio::test]
async fn a_request_that_was_never_sent_is_retried_and_an_open_circuit_is_reported() {
    let registry = Registry::new();
    let client = client(&registry);
    let config = circuit_breaker::Config::default().failure_threshold(8);
    registry.circuit_breaker("c").reconfigure(config).unwrap();
    // The listener is closed at once, so connections to it fail.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let send = || client.post(format!("http://{address}/")).body("an order").send();
    let refused = send().await.unwrap_err();
    assert!(
        matches!(&refused, reqwest_middleware::Error::Reqwest(error) if error.is_connect()),
        "{refused:?}"
    );
    assert_eq!(registry.retry("r").stats().retries, 3);
    send().await.unwrap_err();
    let open = send().await.unwrap_err();
    let (kind, retry_after) = RejectionKind::found_in(&open).expect("a rejection");
    assert!(kind == RejectionKind::CircuitOpen && retry_after.is_some(), "{open}");
    assert!(open.to_string().contains("circuit breaker `c` is open"), "{open}");
    assert!(open.to_string().contains("onnection refused"), "{open}");
}

#[tokio::test]
async fn requests_carry_the_correlation_id_and_the_remaining_time() {
    let client = client(&Registry::new());
    let server = Server::start(1, StatusCode::BAD_GATEWAY).await;
    let id = CorrelationId::parse("order-7").unwrap();
    let call = Deadline::after(Duration::from_secs(9)).scope_async(client.get(&server.url).send());
    id.scope_async(call).await.unwrap();
    let headers = server.seen.last.lock().unwrap().clone();
    assert_eq!(headers["x-correlation-id"], "order-7");
    let left = Header::GrpcTimeout.read(headers["grpc-timeout"].to_str().unwrap()).unwrap();
    assert!(left > Duration::from_secs(5) && left < Duration::from_secs(9), "{left:?}");
}

#[tokio::test]
async fn inner_and_outer_middlewares_share_extensions() {
    use reqwest_middleware::{Middleware, Next};

    #[derive(Clone)]
    struct Mark(u32);

    struct Adds;

    #[async_trait::async_trait]
    impl Middleware for Adds {
        async fn handle(
            &self,
            request: reqwest::Request,
            extensions: &mut http::Extensions,
            next: Next<'_>,
        ) -> reqwest_middleware::Result<reqwest::Response> {
            let before = extensions.get::<Mark>().map_or(0, |mark| mark.0);
            extensions.insert(Mark(before + 1));
            let answer = next.run(request, extensions).await;
            if before == 0 {
                assert_eq!(
                    extensions.get::<Mark>().unwrap().0,
                    2,
                    "the outer middleware reads what the inner one wrote"
                );
            }
            answer
        }
    }

    let pipeline = Registry::new().pipeline("http").retry("r").build();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(Adds)
        .with(ReqwestMiddleware::new(pipeline))
        .with(Adds)
        .build();
    let server = Server::start(0, StatusCode::OK).await;
    assert_eq!(client.get(&server.url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn responses_with_404_inside_an_enum_do_not_open_a_circuit() {
    #[derive(Debug, thiserror::Error)]
    enum ShopError {
        // Not transparent: a transparent variant would expose only the source of the `reqwest::Error`.
        #[error("shop request failed: {0}")]
        Http(#[from] reqwest::Error),
        #[error(transparent)]
        Rejected(#[from] Rejection),
    }
    #[resilient(registry = registry, circuit_breaker("shop", failure_threshold = 2), retry(max = 2, base = "0ms"))]
    async fn page(registry: &Registry, url: &str) -> Result<String, ShopError> {
        Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
    }
    let (registry, server) = (Registry::new(), Server::start(9, StatusCode::NOT_FOUND).await);
    for _ in 0..5 {
        let error = page(&registry, &server.url).await.unwrap_err();
        assert!(
            matches!(&error, ShopError::Http(error) if error.status() == Some(StatusCode::NOT_FOUND)),
            "{error}"
        );
    }
    let stats = registry.circuit_breaker("shop").stats();
    assert_eq!((server.requests(), stats.failed, stats.state.as_str()), (5, 0, "closed"));
}
