//! gRPC, with a tonic client and a tonic server on a real connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use resilient_http::HttpServer;
use resilient_http::layer::{
    ClientIp, DeadlineLayer, HttpClientLayer, IdempotencyLayer, RateLimitLayer, ReplayBody, ServerLayer,
};
use resilient_runtime::rate_limit::{Config as Limits, Rate};
use resilient_runtime::{
    Class, Classify as _, Component, Pipeline, Ratio, Registry, RejectionKind, circuit_breaker, retry,
    timeout,
};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{BoxError, ServiceBuilder};

/// A codec for plain text messages.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = src.copy_to_bytes(src.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// `/stock/one` returns one message, and `/stock/many` a stream. The request is the gRPC code to end with, or `once N`, which
/// fails N times with `ABORTED` and then succeeds.
#[derive(Clone, Default)]
struct Stock {
    requests: Arc<AtomicU32>,
}

impl Stock {
    fn answer(&self, request: &str) -> Result<String, Status> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let code = match request.strip_prefix("once ") {
            Some(failures) if before < failures.parse().unwrap() => Code::Aborted,
            Some(_) => Code::Ok,
            None => Code::from(request.parse::<i32>().unwrap()),
        };
        if code == Code::Ok { Ok("seven".into()) } else { Err(Status::new(code, "no")) }
    }
}

struct One(Stock);

impl tonic::server::UnaryService<String> for One {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        std::future::ready(self.0.answer(request.get_ref()).map(Response::new))
    }
}

struct Many(Stock);

impl tonic::server::ServerStreamingService<String> for Many {
    type Response = String;
    type ResponseStream = futures_util::stream::Iter<std::vec::IntoIter<Result<String, Status>>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let last = self.0.answer(request.get_ref());
        let parts = vec![Ok("first".to_owned()), last];
        std::future::ready(Ok(Response::new(futures_util::stream::iter(parts))))
    }
}

impl tower::Service<http::Request<Body>> for Stock {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let stock = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match request.uri().path() {
                "/stock/one" => grpc.unary(One(stock), request).await,
                "/stock/many" => grpc.server_streaming(Many(stock), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// Starts a server with these layers, and connects to it.
macro_rules! serve {
    ($stock:expr $(, $layer:expr)*) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()$(.layer($layer))*;
        tokio::spawn(server.serve_with_incoming($stock, TcpIncoming::from(listener)));
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }};
}

async fn one<T>(client: T, request: &str, metadata: &[(&'static str, &str)]) -> Result<String, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(client);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(request.to_owned());
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let path = PathAndQuery::from_static("/stock/one");
    client.unary(request, path, Text).await.map(Response::into_inner)
}

async fn many<T>(client: T, request: &str) -> Result<Streaming<String>, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(client);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/stock/many");
    client.server_streaming(Request::new(request.to_owned()), path, Text).await.map(Response::into_inner)
}

fn pushback(status: &Status) -> Option<u64> {
    status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn server_rejections_are_grpc_statuses() {
    let registry = Registry::new();
    let breaker = registry.circuit_breaker("db");
    let pipeline = registry.pipeline("api").circuit_breaker("db").bulkhead("api").build();
    let server = serve!(Stock::default(), ServerLayer::new(pipeline).unwrap());
    assert_eq!(one(server.clone(), "0", &[]).await.unwrap(), "seven");

    breaker.force_open();
    let open = one(server.clone(), "0", &[]).await.unwrap_err();
    assert_eq!(
        (open.code(), open.message()),
        (Code::Unavailable, "circuit breaker `db` is open (forced open)")
    );
    assert_eq!(open.classify(), Class::UNCERTAIN);
    breaker.resume();

    let permits = registry.bulkhead("api");
    permits.reconfigure(resilient_runtime::bulkhead::Config::default().max_concurrent(1)).unwrap();
    let held = permits.try_acquire().unwrap();
    let full = one(server.clone(), "0", &[]).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full:?}");
    drop(held);
    assert!(one(server, "0", &[]).await.is_ok());
}

#[tokio::test]
async fn a_rate_limit_sends_a_pushback() {
    let registry = Registry::new();
    let limiter = registry.rate_limiter("all");
    limiter.reconfigure(Limits::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    let server = serve!(Stock::default(), RateLimitLayer::new(limiter, ClientIp::direct()));
    assert!(one(server.clone(), "0", &[]).await.is_ok());
    let refused = one(server.clone(), "0", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!((1..=3_600_000).contains(&pushback(&refused).unwrap()), "{refused:?}");
    let Class::Overload { retry_after: Some(wait) } = refused.classify() else { panic!("{refused:?}") };
    assert!(wait > Duration::from_mins(50), "{wait:?}");
    // A single rate limit layer around a server.
    let gate = registry.rate_limiter("gate");
    gate.reconfigure(Limits::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    let server = serve!(Stock::default(), ServerLayer::rate_limit(&gate));
    assert!(one(server.clone(), "0", &[]).await.is_ok());
    let refused = one(server, "0", &[]).await.unwrap_err();
    assert_eq!((refused.code(), pushback(&refused).is_some()), (Code::ResourceExhausted, true));
}

/// Serves `Stock` with an `HttpServer`.
async fn serve_stock(stock: Stock, layer: RateLimitLayer) -> Channel {
    let stock = tower::service_fn(move |request: http::Request<axum::body::Body>| {
        tower::Service::call(&mut stock.clone(), request.map(Body::new))
    });
    let router = axum::Router::new().fallback_service(stock).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(HttpServer::new(router).run(listener, std::future::pending()));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

#[tokio::test]
async fn a_tonic_client_works_with_the_http_server() {
    let limiter = Registry::new().rate_limiter("all");
    limiter.reconfigure(Limits::default().rate("3/h".parse::<Rate>().unwrap())).unwrap();
    let stock = Stock::default();
    let server = serve_stock(stock.clone(), RateLimitLayer::new(limiter, ClientIp::direct())).await;
    assert_eq!(one(server.clone(), "0", &[]).await.unwrap(), "seven");
    assert_eq!(one(server.clone(), "9", &[]).await.unwrap_err().code(), Code::FailedPrecondition);
    let mut stream = many(server.clone(), "10").await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), "first");
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Aborted, "in the trailers");
    let refused = one(server, "0", &[]).await.unwrap_err();
    assert_eq!((refused.code(), pushback(&refused).is_some()), (Code::ResourceExhausted, true));
    assert_eq!(stock.requests.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn expired_and_malformed_deadlines_are_grpc_statuses() {
    let server = serve!(Stock::default(), DeadlineLayer::new());
    let over = one(server.clone(), "0", &[("x-envoy-expected-rq-timeout-ms", "0")]).await.unwrap_err();
    assert_eq!(over.code(), Code::DeadlineExceeded, "{over:?}");
    let header = [("x-envoy-expected-rq-timeout-ms", "soon")];
    let malformed = one(server.clone(), "0", &header).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument, "{malformed:?}");
    let none = one(serve!(Stock::default(), DeadlineLayer::new().at_most(Duration::ZERO)), "0", &[]);
    assert_eq!(none.await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn only_server_errors_count_as_failures_of_a_server() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("api").circuit_breaker("db").build();
    let server = serve!(Stock::default(), ServerLayer::new(pipeline).unwrap());
    for code in ["3", "5", "7", "8", "12", "16"] {
        one(server.clone(), code, &[]).await.unwrap_err();
    }
    assert_eq!(registry.circuit_breaker("db").stats().window.failed, 0);
    for code in ["2", "13", "14", "15"] {
        one(server.clone(), code, &[]).await.unwrap_err();
    }
    assert_eq!(registry.circuit_breaker("db").stats().window.failed, 4);
}

/// A channel with a pipeline.
fn protected(
    channel: Channel,
    pipeline: impl Into<Arc<Pipeline>>,
) -> impl GrpcService<
    Body,
    Error = BoxError,
    ResponseBody = impl http_body::Body<Data = bytes::Bytes, Error = BoxError> + Send + 'static,
> + Clone {
    ServiceBuilder::new()
        .map_request(|request: http::Request<Body>| request.map(ReplayBody::new))
        .layer(HttpClientLayer::new(pipeline))
        .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
        .service(channel)
}

fn client(registry: &Registry) -> Pipeline {
    let at_once = retry::Config::default().base(Duration::ZERO).jitter(Ratio::ZERO);
    registry.retry("r").reconfigure(at_once).unwrap();
    let opens = circuit_breaker::Config::default().failure_threshold(1000);
    registry.circuit_breaker("c").reconfigure(opens).unwrap();
    registry.timeout("t").reconfigure(timeout::Config::default()).unwrap();
    registry.pipeline("op").retry("r").circuit_breaker("c").bulkhead("b").timeout("t").build()
}

#[tokio::test]
async fn a_client_retries_if_the_status_allows_it_and_sends_the_same_body() {
    let (stock, registry) = (Stock::default(), Registry::new());
    let channel = protected(serve!(stock.clone()), client(&registry));
    assert_eq!(one(channel.clone(), "once 2", &[]).await.unwrap(), "seven");
    assert_eq!(stock.requests.load(Ordering::Relaxed), 3);
    let seen = registry.stats();
    assert_eq!((seen.operations["op"].calls, seen.operations["op"].succeeded), (1, 1));
    assert_eq!((seen.circuit_breaker["c"].window.calls, seen.circuit_breaker["c"].window.failed), (3, 2));
    // `NOT_FOUND` is ignored, and a request that might have been executed is not retried.
    for (code, requests) in [("5", 4), ("14", 5), ("13", 6)] {
        let status = one(channel.clone(), code, &[]).await.unwrap_err();
        assert_eq!(status.code(), Code::from(code.parse::<i32>().unwrap()));
        assert_eq!(stock.requests.load(Ordering::Relaxed), requests);
    }
    assert_eq!(registry.circuit_breaker("c").stats().window.failed, 4);
    let op = &registry.stats().operations["op"];
    assert_eq!((op.calls, op.succeeded, op.ignored, op.failed), (4, 1, 1, 2));
}

#[tokio::test]
async fn a_client_judges_a_stream_by_the_status_in_its_trailers() {
    let registry = Registry::new();
    let channel = protected(serve!(Stock::default()), client(&registry));
    let mut good = many(channel.clone(), "0").await.unwrap();
    assert_eq!(good.message().await.unwrap().as_deref(), Some("first"));
    let op = || registry.stats().operations["op"].clone();
    assert_eq!((op().in_flight, registry.bulkhead("b").stats().in_use), (1, 1), "in flight");
    while good.message().await.unwrap().is_some() {}
    assert_eq!((op().succeeded, registry.bulkhead("b").stats().in_use), (1, 0));

    let mut bad = many(channel, "14").await.unwrap();
    assert_eq!(bad.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(bad.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!((op().succeeded, op().failed, op().in_flight), (1, 1, 0));
    let window = registry.circuit_breaker("c").stats().window;
    assert_eq!((window.calls, window.failed), (2, 1));
}

#[tokio::test]
async fn a_client_rejection_is_found_in_the_status() {
    let registry = Registry::new();
    let channel = protected(serve!(Stock::default()), client(&registry));
    registry.circuit_breaker("c").force_open();
    let status = one(channel, "0", &[]).await.unwrap_err();
    assert!(matches!(RejectionKind::found_in(&status), Some((RejectionKind::CircuitOpen, _))), "{status:?}");
    assert_eq!(status.classify(), Class::NotExecuted { retry_after: None });
}

#[tokio::test]
async fn transport_errors_are_classified_by_whether_the_request_was_sent() {
    // T33
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = Endpoint::from_shared(format!("http://{closed}")).unwrap().connect_lazy();
    let refused = one(channel, "0", &[]).await.unwrap_err();
    assert_eq!(refused.classify(), Class::TRANSIENT, "{refused:?}");
    // A server that does not respond within the timeout of the channel, and one that closes the connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        let _ = closed.await;
        let _ = tokio::io::AsyncReadExt::read(&mut second, &mut [0; 64]).await;
        drop((first, second));
    });
    let slow = endpoint.clone().timeout(Duration::from_millis(100)).connect_lazy();
    let timed_out = one(slow, "0", &[]).await.unwrap_err();
    assert_eq!(timed_out.classify(), Class::UNCERTAIN, "{timed_out:?}");
    close.send(()).unwrap();
    let broken = one(endpoint.connect_lazy(), "0", &[]).await.unwrap_err();
    assert_eq!(broken.classify(), Class::UNCERTAIN, "{broken:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_missing_idempotency_key_is_an_invalid_argument() {
    // The layer accepts only axum's bodies, so this test calls it without a tonic server.
    use tower::{Layer as _, ServiceExt as _};
    let layer = IdempotencyLayer::new(Registry::new().idempotency("orders")).required();
    let service = layer.layer(tower::service_fn(async |_: http::Request<axum::body::Body>| {
        Ok::<_, Infallible>(http::Response::new(axum::body::Body::empty()))
    }));
    let request = http::Request::post("/stock/one").header("content-type", "application/grpc");
    let answer = service.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!((answer.status().as_u16(), status.code()), (200, Code::InvalidArgument));
    assert!(status.message().contains("Idempotency-Key"), "{status:?}");
}
