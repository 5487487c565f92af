//! Clients with servers that stall, close the connection early, have a wrong clock, or are unreachable.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use resilient_http::ReqwestMiddleware;
use resilient_http::layer::{CallBody, HttpClientLayer};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::registry::PipelineBuilder;
use resilient_runtime::{
    Class, Classify, Component, EventKind, Pipeline, Ratio, Registry, Rejection, RejectionKind, StatusError,
    bulkhead, checked, circuit_breaker, resilient, retry, timeout,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::{BoxError, Layer as _, Service, ServiceExt as _};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The behavior of the server after the first part of its response: close, stall, or write the rest when notified.
#[derive(Clone)]
enum Then {
    Close,
    Hang,
    Rest(Arc<Notify>, &'static str),
}

struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Serves one request per connection; `answer` receives the number of the request, from 0.
    async fn start(answer: impl Fn(usize) -> (String, Then) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await? == 0 {
                            return Ok(());
                        }
                    }
                    let (text, then) = answer(count.fetch_add(1, Ordering::Relaxed));
                    stream.write_all(text.as_bytes()).await?;
                    match then {
                        Then::Close => {}
                        Then::Hang => std::future::pending().await,
                        Then::Rest(go_on, rest) => {
                            go_on.notified().await;
                            stream.write_all(rest.as_bytes()).await?;
                        }
                    }
                    stream.shutdown().await
                });
            }
        });
        Self { port, requests }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/stock?of=7", self.port)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n\r\n{body}")
}

/// A port without a listener.
fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A hyper client with one connection per request.
#[derive(Clone)]
struct Hyper;

impl Service<Request<Empty<Bytes>>> for Hyper {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let authority = request.uri().authority().ok_or("no authority")?.as_str().to_lowercase();
            let stream = TokioIo::new(TcpStream::connect(authority).await?);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        })
    }
}

/// Both kinds of client, which must behave the same.
enum Client {
    Reqwest(ClientWithMiddleware),
    Tower(HttpClientLayer<Empty<Bytes>>),
}

enum Answer {
    Reqwest(reqwest::Response),
    Tower(Response<CallBody<Incoming>>),
}

fn reqwest_with(middleware: ReqwestMiddleware) -> Client {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    Client::Reqwest(ClientBuilder::new(client).with(middleware).build())
}

/// One client of each kind, with separate registries.
fn both(make: impl Fn(&Registry) -> Pipeline) -> [(Registry, Client); 2] {
    let (left, right) = (Registry::new(), Registry::new());
    let reqwest = reqwest_with(ReqwestMiddleware::new(make(&left)));
    let tower = Client::Tower(HttpClientLayer::new(make(&right)));
    [(left, reqwest), (right, tower)]
}

/// Like [`both`], with a manual clock.
fn both_on(time: &ManualClock, make: impl Fn(&Registry) -> Pipeline) -> [(Registry, Client); 2] {
    let [left, right] = [(); 2].map(|()| Registry::with_clock(time.clock()));
    let reqwest = reqwest_with(ReqwestMiddleware::new(make(&left)));
    let tower = Client::Tower(HttpClientLayer::new(make(&right)));
    [(left, reqwest), (right, tower)]
}

/// Reads a body while time passes.
async fn while_time_passes(time: &ManualClock, answer: Answer) -> Result<Bytes, BoxError> {
    let passes = async {
        loop {
            time.advance(MS(100));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        body = answer.body() => body,
        () = passes => unreachable!("the loop is endless"),
    }
}

impl Client {
    async fn get(&self, url: &str) -> Result<Answer, BoxError> {
        Ok(match self {
            Self::Reqwest(client) => Answer::Reqwest(client.get(url).send().await?),
            Self::Tower(layer) => {
                let request = Request::get(url).header("host", "x").body(Empty::new())?;
                Answer::Tower(layer.layer(Hyper).oneshot(request).await?)
            }
        })
    }
}

impl Answer {
    fn status(&self) -> u16 {
        match self {
            Self::Reqwest(response) => response.status().as_u16(),
            Self::Tower(response) => response.status().as_u16(),
        }
    }

    async fn body(self) -> Result<Bytes, BoxError> {
        Ok(match self {
            Self::Reqwest(response) => response.bytes().await?,
            Self::Tower(response) => response.into_body().collect().await?.to_bytes(),
        })
    }

    /// The first part of the body.
    async fn part(&mut self) -> Result<Bytes, BoxError> {
        match self {
            Self::Reqwest(response) => Ok(response.chunk().await?.unwrap_or_default()),
            Self::Tower(response) => {
                let frame = response.body_mut().frame().await.ok_or("no frame")??;
                Ok(frame.into_data().unwrap_or_default())
            }
        }
    }
}

fn stages(registry: &Registry, limits: timeout::Config) -> Pipeline {
    registry.timeout("t").reconfigure(limits).unwrap();
    let at_once = retry::Config::default().base(Duration::ZERO).jitter(Ratio::ZERO);
    registry.retry("r").reconfigure(at_once).unwrap();
    registry.bulkhead("b").reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    registry.pipeline("op").retry("r").circuit_breaker("c").bulkhead("b").timeout("t").build()
}

/// Returns the calls that succeeded, failed, timed out, were cancelled and are in flight, and the calls and failures in the
/// window of the circuit breaker.
fn counts(registry: &Registry) -> ([u64; 5], [u64; 2]) {
    let stats = registry.stats();
    let op = &stats.operations["op"];
    let window = &stats.circuit_breaker["c"].window;
    let counts = [op.succeeded, op.failed, op.timed_out, op.cancelled, op.in_flight];
    assert_eq!(op.calls, counts.iter().sum::<u64>(), "one outcome for each call");
    (counts, [window.calls, window.failed])
}

fn in_use(registry: &Registry) -> u32 {
    registry.bulkhead("b").stats().in_use
}

#[tokio::test]
async fn a_body_that_is_read_to_its_end_is_a_success_and_the_response_is_unchanged() {
    let server = Server::start(|_| (ok("content-length: 5\r\nx-kind: book", "seven"), Then::Hang)).await;
    for (registry, client) in both(|registry| stages(registry, timeout::Config::default())) {
        let answer = client.get(&server.url()).await.unwrap();
        assert_eq!((counts(&registry).0, in_use(&registry)), ([0, 0, 0, 0, 1], 1), "in flight");
        if let Answer::Reqwest(response) = &answer {
            assert_eq!(response.url().as_str(), server.url());
            assert_eq!(response.headers()["x-kind"], "book");
            assert_eq!(response.content_length(), Some(5));
            assert_eq!(response.remote_addr().unwrap().port(), server.port);
        }
        assert_eq!(answer.body().await.unwrap(), "seven");
        assert_eq!((counts(&registry), in_use(&registry)), (([1, 0, 0, 0, 0], [1, 0]), 0));
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_failure_and_is_not_retried() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let server = Server::start(move |_| (ok(head, "4\r\nhalf\r\n"), Then::Close)).await;
        for (round, (registry, client)) in
            both(|registry| stages(registry, timeout::Config::default())).into_iter().enumerate()
        {
            let answer = client.get(&server.url()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(counts(&registry).1, [0, 0], "the outcome is open");
            let error = answer.body().await.unwrap_err();
            assert_eq!(RejectionKind::found_in(&*error), None, "{error}");
            assert_eq!((counts(&registry), in_use(&registry)), (([0, 1, 0, 0, 0], [1, 1]), 0), "{head}");
            assert_eq!(server.requests(), round + 1);
        }
    }
}

#[tokio::test]
async fn bodies_that_end_early_open_the_circuit() {
    let server = Server::start(|_| (ok("content-length: 100", "half"), Then::Close)).await;
    for (registry, client) in both(|registry| stages(registry, timeout::Config::default())) {
        let opens = circuit_breaker::Config::default().failure_threshold(3);
        registry.circuit_breaker("c").reconfigure(opens).unwrap();
        for _ in 0..3 {
            client.get(&server.url()).await.unwrap().body().await.unwrap_err();
        }
        let Err(open) = client.get(&server.url()).await else { panic!("the circuit is not open") };
        assert!(matches!(RejectionKind::found_in(&*open), Some((RejectionKind::CircuitOpen, _))), "{open}");
    }
}

#[tokio::test]
async fn a_stalled_body_is_limited_by_the_total_and_read_timeouts() {
    let limits = [
        (timeout::Config::default().total(MS(300)), RejectionKind::TotalTimeout),
        (timeout::Config::default().read(MS(100)), RejectionKind::ReadTimeout),
    ];
    for (limit, kind) in limits {
        for head in ["content-length: 100", "transfer-encoding: chunked"] {
            let server = Server::start(move |_| (ok(head, "4\r\nhalf\r\n"), Then::Hang)).await;
            let time = ManualClock::new();
            for (registry, client) in both_on(&time, |registry| stages(registry, limit.clone())) {
                let mut answer = client.get(&server.url()).await.unwrap();
                assert!(!answer.part().await.unwrap().is_empty());
                assert_eq!(in_use(&registry), 1);
                let late = while_time_passes(&time, answer).await.unwrap_err();
                assert_eq!(RejectionKind::found_in(&*late).map(|found| found.0), Some(kind), "{late:?}");
                if let Some(error) = late.downcast_ref::<reqwest::Error>() {
                    assert!(error.is_timeout(), "{error:?}");
                    assert_eq!(error.classify(), Class::UNCERTAIN);
                }
                assert_eq!((counts(&registry), in_use(&registry)), (([0, 0, 1, 0, 0], [1, 1]), 0));
            }
        }
    }
}

#[tokio::test]
async fn a_stalled_body_of_a_failed_response_times_out_and_is_counted_once() {
    let head = "HTTP/1.1 501 Not Implemented\r\ncontent-length: 100\r\n\r\nhalf";
    let server = Server::start(move |_| (head.to_owned(), Then::Hang)).await;
    let (time, limit) = (ManualClock::new(), timeout::Config::default().total(MS(300)));
    for (registry, client) in both_on(&time, |registry| stages(registry, limit.clone())) {
        let answer = client.get(&server.url()).await.unwrap();
        assert_eq!((answer.status(), counts(&registry)), (501, ([0, 1, 0, 0, 0], [1, 1])));
        let late = while_time_passes(&time, answer).await.unwrap_err();
        assert!(RejectionKind::found_in(&*late).is_some(), "{late:?}");
        assert_eq!(counts(&registry), ([0, 1, 0, 0, 0], [1, 1]));
    }
}

#[tokio::test]
async fn a_response_dropped_unread_counts_by_its_status_and_half_read_as_cancelled() {
    // T68
    let server = Server::start(|_| (ok("content-length: 100", "half"), Then::Hang)).await;
    for (registry, client) in both(|registry| stages(registry, timeout::Config::default())) {
        drop(client.get(&server.url()).await.unwrap());
        assert_eq!((counts(&registry), in_use(&registry)), (([1, 0, 0, 0, 0], [1, 0]), 0));
        let mut answer = client.get(&server.url()).await.unwrap();
        assert_eq!(answer.part().await.unwrap(), "half");
        drop(answer);
        assert_eq!((counts(&registry), in_use(&registry)), (([1, 0, 0, 1, 0], [1, 0]), 0));
    }
}

#[tokio::test]
async fn a_response_without_a_body_ends_the_call() {
    let server = Server::start(|_| ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Then::Hang)).await;
    for (registry, client) in both(|registry| stages(registry, timeout::Config::default())) {
        let answer = client.get(&server.url()).await.unwrap();
        assert_eq!((counts(&registry), in_use(&registry)), (([1, 0, 0, 0, 0], [1, 0]), 0));
        assert_eq!(answer.body().await.unwrap(), "");
    }
}

#[tokio::test]
async fn until_head_does_not_limit_the_body() {
    // T70
    let go_on = Arc::new(Notify::new());
    let then = Then::Rest(Arc::clone(&go_on), "way");
    let server = Server::start(move |_| (ok("content-length: 7", "half"), then.clone())).await;
    let limit = timeout::Config::default().total(MS(50)).read(MS(50));
    let time = ManualClock::new();
    let [left, right] = [(); 2].map(|()| Registry::with_clock(time.clock()));
    let reqwest = reqwest_with(ReqwestMiddleware::new(stages(&left, limit.clone())).until_head());
    let tower = Client::Tower(HttpClientLayer::new(stages(&right, limit)).until_head());
    for (registry, client) in [(left, reqwest), (right, tower)] {
        let answer = client.get(&server.url()).await.unwrap();
        assert_eq!(in_use(&registry), 0);
        time.advance(MS(60));
        go_on.notify_one();
        assert_eq!(answer.body().await.unwrap(), "halfway");
    }
}

fn http_date(seconds_from_now: i64) -> String {
    let (now, span) = (SystemTime::now(), Duration::from_secs(seconds_from_now.unsigned_abs()));
    httpdate::fmt_http_date(if seconds_from_now < 0 { now - span } else { now + span })
}

#[tokio::test]
async fn a_retry_after_date_is_relative_to_the_servers_clock() {
    let ask = async |skew: i64| {
        let busy = move |number| {
            let text = if number % 2 == 0 {
                let (now, again) = (http_date(skew), http_date(skew + 1));
                format!(
                    "HTTP/1.1 503 Busy\r\ndate: {now}\r\nretry-after: {again}\r\nconnection: close\r\n\
                     content-length: 0\r\n\r\n"
                )
            } else {
                ok("content-length: 5", "seven")
            };
            (text, Then::Close)
        };
        let server = Server::start(busy).await;
        for (registry, client) in both(|registry| stages(registry, timeout::Config::default())) {
            let mut events = registry.subscribe();
            let answer = client.get(&server.url()).await.unwrap();
            assert_eq!(answer.status(), 200, "the request is retried although the clock is {skew} s ahead");
            let waits: Vec<_> = std::iter::from_fn(|| events.try_recv())
                .filter_map(|event| match event.what {
                    EventKind::Retrying { delay, .. } => Some(delay),
                    _ => None,
                })
                .collect();
            // The two dates can be from different seconds.
            assert!(matches!(waits[..], [wait] if (1..=2).contains(&wait.as_secs())), "{waits:?}");
        }
    };
    tokio::join!(ask(300), ask(-300));
}

#[tokio::test]
async fn a_dead_host_does_not_open_the_circuit_of_a_live_one() {
    let server = Server::start(|_| (ok("content-length: 5", "seven"), Then::Close)).await;
    let dead = dead_port();
    let build = |pipeline: PipelineBuilder, host: &str| pipeline.circuit_breaker(host).timeout("t");
    let (left, right) = (Registry::new(), Registry::new());
    let reqwest = reqwest_with(ReqwestMiddleware::per_host(&left, build));
    let tower = Client::Tower(HttpClientLayer::per_host(&right, build));
    for (registry, client) in [(left, reqwest), (right, tower)] {
        let is_rejected = async |host: &str| {
            let Err(error) = client.get(&format!("http://{host}/")).await else {
                panic!("the dead host responded")
            };
            matches!(RejectionKind::found_in(&*error), Some((RejectionKind::CircuitOpen, _)))
        };
        let mut calls = 0;
        while !is_rejected(&format!("localhost:{dead}")).await {
            calls += 1;
            assert!(calls < 100, "the circuit never opens");
        }
        assert!(is_rejected(&format!("LOCALHOST:{dead}")).await, "the same host");
        for _ in 0..3 {
            assert_eq!(client.get(&server.url()).await.unwrap().body().await.unwrap(), "seven");
        }
        let breakers = registry.stats().circuit_breaker;
        assert_eq!(breakers.len(), 2, "{:?}", breakers.keys());
        assert_eq!(breakers[&*format!("127.0.0.1:{}", server.port)].successful, 3);
    }
}

#[derive(Debug, thiserror::Error)]
enum StockError {
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Sent(#[from] reqwest::Error),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Classify for StockError {
    fn classify(&self) -> Class {
        match self {
            Self::Status(error) => error.classify(),
            Self::Sent(error) => error.classify(),
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

#[resilient(retry("checked status", max = 1, base = "1ms"))]
async fn stock(client: &reqwest::Client, url: &str) -> Result<String, StockError> {
    Ok(checked(client.get(url).send().await?)?.text().await?)
}

#[tokio::test]
async fn checked_keeps_the_retry_after_of_a_response() {
    let arrivals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let busy = {
        let arrivals = Arc::clone(&arrivals);
        move |number| {
            arrivals.lock().unwrap().push(Instant::now());
            let wait = if number < 2 { 1 } else { 61 };
            let head = "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n";
            (format!("{head}retry-after: {wait}\r\n\r\n"), Then::Close)
        }
    };
    let server = Server::start(busy).await;
    let client = reqwest::Client::new();
    let error = stock(&client, &server.url()).await.unwrap_err();
    assert!(
        matches!(&error, StockError::Status(error) if error.retry_after() == Some(Duration::from_secs(1)))
    );
    let waited = {
        let arrivals = arrivals.lock().unwrap();
        arrivals[1] - arrivals[0]
    };
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    // A wait that is too long ends the call, and an event reports it.
    let mut events = resilient_runtime::registry().subscribe();
    stock(&client, &server.url()).await.unwrap_err();
    assert_eq!(server.requests(), 3);
    let what = std::iter::from_fn(|| events.try_recv()).map(|event| event.what);
    let too_long = |what: &EventKind| matches!(what, EventKind::RetryAfterTooLong { .. });
    assert_eq!(what.filter(too_long).count(), 1);
    assert_eq!(resilient_runtime::registry().retry("checked status").stats().hint_too_long, 1);
}

#[tokio::test]
async fn the_rejection_is_found_in_an_io_error_of_the_body() {
    // A proxy forwards the body and wraps its error.
    let server = Server::start(|_| (ok("content-length: 100", "half"), Then::Hang)).await;
    let (time, limit) = (ManualClock::new(), timeout::Config::default().total(MS(300)));
    let [(_, client), _] = both_on(&time, |registry| stages(registry, limit.clone()));
    let Answer::Reqwest(response) = client.get(&server.url()).await.unwrap() else { panic!() };
    let body = http::Response::<reqwest::Body>::from(response).into_body();
    time.advance(MS(300));
    let error = io::Error::other(body.collect().await.unwrap_err());
    assert!(matches!(RejectionKind::found_in(&error), Some((RejectionKind::TotalTimeout, _))), "{error:?}");
}
