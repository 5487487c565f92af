//! Serves the requests of one connection until it closes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use resilient_runtime::clock::Clock;
use resilient_runtime::observe::LogLimit;
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::HttpServer;
use super::connection::{Connection, Ending};
use super::sent_body::SentBody;
use super::slow_body::{BodyState, GivenUp, SlowBody};
use super::socket::Socket;
use crate::Problem;
use crate::layer::no_room;

const HEADERS: usize = 64;
const BUFFER: usize = 32 * 1024;
/// Maximum number of concurrent requests of an HTTP/2 connection.
const STREAMS: u32 = 64;
/// Maximum number of HTTP/2 streams that the client reset before they were accepted. One more closes the connection.
const RESETS: usize = 20;
/// HTTP/2 limits in bytes: headers of a request, flow control window of a request body, buffered part of a response.
const HEADER_LIST: u32 = 32 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
const SEND_BUFFER: usize = 16 * 1024;
/// How long the response to a slow request may take.
const CUT_TIME: Duration = Duration::from_millis(50);
/// Limits the log to one line per second, because any client can cause a panic.
static PANICS: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

impl HttpServer {
    pub(super) async fn converse(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        connection: &Arc<Connection>,
    ) {
        let service = service_fn(|request| {
            Arc::clone(self).answer(request, peer, Arc::clone(connection)).map(Ok::<_, Infallible>)
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_time)
            .max_headers(HEADERS)
            .max_buf_size(BUFFER)
            .half_close(true);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_header_list_size(HEADER_LIST)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(2 * STREAM_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        let socket = Socket::new(stream, Arc::clone(connection));
        let mut conversation = pin!(server.serve_connection(TokioIo::new(socket), service));
        let ended = loop {
            tokio::select! {
                // Polled first, to notice a request that has just arrived and to send what can be sent.
                biased;
                ended = conversation.as_mut() => break ended,
                () = connection.asked_to_end() => {}
            }
            let ending = connection.ending();
            match ending {
                Ending::Not => continue,
                Ending::Reset => return,
                Ending::Now | Ending::AfterAnswer => conversation.as_mut().graceful_shutdown(),
                Ending::Cut => {}
            }
            if ending != Ending::AfterAnswer {
                match tokio::time::timeout(CUT_TIME, conversation.as_mut()).await {
                    Ok(ended) => break ended,
                    // The client opened a stream before it received the shutdown notice.
                    Err(_elapsed) if ending == Ending::Now && connection.is_answering() => {}
                    Err(_elapsed) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(target: "resilient_http", %peer, %error, "connection failed");
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        connection: Arc<Connection>,
    ) -> Response<SentBody> {
        let is_http2 = request.version() == Version::HTTP_2;
        let busy = connection.begin(is_http2);
        let body = Arc::new(BodyState::new(self.bodies.room()));
        let hosts = request.headers().get_all(header::HOST).iter().count();
        let mut request =
            request.map(|it| SlowBody::wrap(it, self.body_time, &body, || connection.begin_body()));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            // With two hosts, an access rule and a handler could each use a different one (RFC 9112, section 3.2).
            ended_by(Problem::new(StatusCode::BAD_REQUEST, "the request must have exactly one `host` header"))
        } else {
            let answered = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind().await;
            match (answered, body.given_up()) {
                // The rest of the body can still arrive, so the connection must close.
                (_, Some(GivenUp::NoRoom)) => ended_by(no_room()),
                (_, Some(slow @ GivenUp::TooSlow)) => {
                    ended_by(Problem::new(StatusCode::REQUEST_TIMEOUT, slow.to_string()))
                }
                (Ok(Ok(response)), None) => response,
                (Err(_panic), None) => {
                    if let Some(left_out) = PANICS.pass(&Clock::system()) {
                        let suppressed = (left_out > 0).then_some(left_out);
                        tracing::error!(target: "resilient_http", %peer, suppressed, "handler panicked");
                    }
                    ended_by(Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal error: the handler panicked",
                    ))
                }
            }
        };
        response.map(|body| SentBody::new(body, busy, is_http2.then_some(connection)))
    }
}

/// A response after which an HTTP/1 connection closes without reading more.
fn ended_by(problem: Problem) -> Response<axum::body::Body> {
    let mut response = problem.into_response();
    // For HTTP/2, hyper removes the header and resets the stream.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
