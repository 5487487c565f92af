//! The server with hostile, slow and idle clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use futures_util::StreamExt;
use resilient_http::{HttpServer, layer::BodyBudget};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A timeout that is too long on any machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// More bytes than the buffers between two ends of a connection hold.
const BIG: usize = 30_000_000;

struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

fn serve(set: impl FnOnce(HttpServer) -> HttpServer) -> Served {
    let never_ends = || async {
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("again "));
        axum::body::Body::from_stream(pieces)
    };
    let waits = || async {
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>("begun")]);
        axum::body::Body::from_stream(begun.chain(futures_util::stream::pending()))
    };
    let router = Router::new()
        .route("/", get(async || "well"))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route("/endless", get(never_ends))
        .route("/waits", get(waits))
        .route("/big", get(async || vec![b'x'; BIG]))
        .route("/panics", get(async || -> &'static str { panic!("handler") }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = set(HttpServer::new(router));
    let ended = runtime.spawn(server.run(listener, async { stopped.await.unwrap_or(()) }));
    Served { address, stop: Some(stop), ended: Some(ended), runtime }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and returns everything up to the end of the connection.
    fn met(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server can reject the request before it has read all of it.
        let _ = stream.write_all(bytes);
        rest_of(&mut stream)
    }

    fn is_well(&self) -> bool {
        self.met(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("well")
    }
}

/// Reads until the end of the connection or a reset.
fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a request and reads its response; the connection stays open.
fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read_until(stream, "well");
}

fn read_until(stream: &mut TcpStream, end: &str) {
    let mut seen = Vec::new();
    let mut buffer = [0; 512];
    while !seen.ends_with(end.as_bytes()) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn oversized_headers_and_malformed_requests_are_rejected() {
    let served = serve(|server| server);
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    assert!(served.met(many.as_bytes()).starts_with("HTTP/1.1 431"));
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(100_000));
    assert!(served.met(long.as_bytes()).starts_with("HTTP/1.1 431"));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(100_000));
    assert!(served.met(path.as_bytes()).starts_with("HTTP/1.1 4"));
    for nonsense in
        [&b"\xff\xfe\xfd\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\xc3\x28: x\r\n\r\n"]
    {
        assert!(served.met(nonsense).starts_with("HTTP/1.1 400"), "{nonsense:?}");
    }
    for smuggled in [
        "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let answer = served.met(smuggled.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(served.is_well());
}

#[test]
fn a_slow_request_times_out() {
    let served =
        serve(|server| server.header_time(Duration::from_millis(200)).body_time(Duration::from_millis(200)));
    // Half of the request headers, and then nothing.
    let start = Instant::now();
    assert_eq!(served.met(b"GET / HTTP/1.1\r\nhost: x\r\nslow"), "");
    // One byte at a time does not help.
    let mut dripping = served.connect();
    let mut sent = 0;
    while dripping.write_all(b"x").is_ok() {
        assert!(start.elapsed() < PATIENCE, "{sent}");
        sent += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    // A request with half a body gets a response.
    let half = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
    let answer = served.met(half);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let whole = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhalf";
    assert!(served.met(whole).ends_with('4'));
}

#[test]
fn ten_thousand_idle_connections_do_not_block_others() {
    let served = serve(|server| server.connections(50).per_address(50));
    let mut kept = served.connect();
    ask(&mut kept);
    let mut idle = Vec::new();
    for number in 0..10_000 {
        idle.push(served.connect());
        if number % 20 == 0 {
            // This response means that all earlier connections have been accepted.
            assert!(served.is_well());
            // A recently used connection is not the next one to be replaced.
            ask(&mut kept);
        }
        if number % 400 == 0 {
            // Close the client ends, because a process cannot have ten thousand open.
            idle.clear();
        }
    }
    ask(&mut kept);
    assert!(served.is_well());
}

#[test]
fn a_connection_with_a_response_in_progress_is_not_replaced_and_others_wait() {
    let served = serve(|server| server.connections(1));
    let mut endless = served.connect();
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut buffer = [0; 1024];
    assert!(endless.read(&mut buffer).unwrap() > 0);
    let mut second = served.connect();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert!(second.read(&mut buffer).is_err(), "the second connection waits");
    drop(endless);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(rest_of(&mut second).ends_with("well"));
}

#[test]
fn an_idle_server_stops_at_once_and_a_busy_one_after_its_grace_period() {
    let mut served = serve(|server| server.grace(PATIENCE * 2));
    let mut idle = served.connect();
    ask(&mut idle);
    let start = Instant::now();
    served.stop.take().unwrap().send(()).unwrap();
    served.runtime.block_on(served.ended.take().unwrap()).unwrap();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(rest_of(&mut idle), "");
    assert!(TcpStream::connect(served.address).is_err());

    // An endless stream does not keep the server running.
    let mut served = serve(|server| server.grace(Duration::from_millis(300)));
    let mut endless = served.connect();
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(endless.read(&mut [0; 1024]).unwrap() > 0);
    served.stop.take().unwrap().send(()).unwrap();
    served.runtime.block_on(served.ended.take().unwrap()).unwrap();
}

/// Requests the big response and reads only its beginning.
fn request_big(served: &Served) -> TcpStream {
    let mut stream = served.connect();
    stream.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    // Wait until the response has started.
    stream.read_exact(&mut [0; 12]).unwrap();
    stream
}

#[test]
fn a_response_in_progress_is_sent_completely() {
    let mut served = serve(|server| server.connections(2));
    let mut slow = request_big(&served);
    let idle: Vec<_> = (0..3).map(|_| served.connect()).collect();
    assert!(served.is_well());
    let read_all = |stream: &mut TcpStream| {
        // A kept-alive connection has no end, so count the bytes.
        let mut left = BIG;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{left} bytes are missing");
            left = left.saturating_sub(count);
        }
    };
    read_all(&mut slow);
    drop(idle);
    // The same while the server stops.
    let mut slow = request_big(&served);
    served.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(served.address).is_ok() {
        std::thread::yield_now();
    }
    read_all(&mut slow);
}

#[test]
fn a_client_that_does_not_read_its_response_is_disconnected() {
    let served = serve(|server| server.connections(2).write_time(Duration::from_millis(300)));
    let unread: Vec<_> = (0..2).map(|_| request_big(&served)).collect();
    assert!(served.is_well());
    // Each connection has its own timer.
    for mut stream in unread {
        let start = Instant::now();
        // Do not read here, because reading is progress.
        while stream.take_error().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the connection does not time out");
            std::thread::sleep(Duration::from_millis(5));
        }
        let length = rest_of(&mut stream).len();
        assert!(length < BIG, "the response must be incomplete");
    }
}

#[test]
fn slow_requests_are_replaced_by_new_connections() {
    let served = serve(|server| server.connections(5).body_time(PATIENCE * 2));
    let mut slow: Vec<TcpStream> = (0..5).map(|_| served.connect()).collect();
    for stream in &mut slow {
        let head =
            b"POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"x").unwrap();
    }
    assert!(served.is_well());
    let timed_out = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).is_ok() && status.ends_with(b"408")
    };
    let replaced: Vec<bool> = slow.iter_mut().map(timed_out).collect();
    assert_eq!(replaced.iter().filter(|it| **it).count(), 1, "only as many as needed: {replaced:?}");
}

#[test]
fn an_address_at_its_connection_limit_gets_503() {
    let served = serve(|server| server.connections(50).per_address(1));
    let mut busy = served.connect();
    busy.write_all(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read_until(&mut busy, "begun\r\n");
    for _ in 0..100 {
        let mut stream = served.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("no reset, which could discard the response");
        assert!(response.starts_with("HTTP/1.1 503") && response.contains("retry-after: 1"), "{response:?}");
    }
}

#[test]
fn small_chunks_of_a_body_count_with_the_memory_that_they_use() {
    let budget = BodyBudget::new(1 << 20);
    let served = serve(|server| server.body_budget(&budget));
    let head = b"POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = served.connect();
    stream.write_all(head).unwrap();
    stream.write_all(&b"1\r\nx\r\n".repeat(1000)).unwrap();
    let start = Instant::now();
    while budget.held() < 100_000 {
        assert!(start.elapsed() < PATIENCE, "{budget:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = served.met(&[&head[..], &b"1\r\nx\r\n".repeat(10_000)].concat());
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    stream.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut stream, "\r\n\r\n1000");
    while budget.held() > 0 {
        assert!(start.elapsed() < PATIENCE, "{budget:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An HTTP/2 client that can send arbitrary frames.
struct Http2(TcpStream);

/// Frame types (RFC 9113, section 6) and error codes.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A complete `GET` request.
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    // GET and http from the static table, path and authority as literals (RFC 7541).
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x01x");
    frame(HEADERS, 0x5, stream, &block)
}

impl Http2 {
    fn connect(served: &Served) -> Self {
        Self::with(served, &[])
    }

    /// Connects with these client settings.
    fn with(served: &Served, settings: &[u8]) -> Self {
        let mut stream = served.connect();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        Self(stream)
    }

    /// Returns type, stream and payload of the next frame; `None` at the end.
    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the read timed out: {error}"),
            read => read.ok(),
        }
    }

    /// Returns the payload of the next frame of this type.
    fn next_of(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            let (it, _, payload) = self.next()?;
            if it == kind {
                return Some(payload);
            }
        }
    }
}

#[test]
fn http_2_and_http_1_share_a_port() {
    let served = serve(|server| server);
    let mut client = Http2::connect(&served);
    client.0.write_all(&[get_frame(1, "/"), get_frame(3, "/")].concat()).unwrap();
    assert_eq!(client.next_of(DATA).unwrap(), b"well");
    assert_eq!(client.next_of(DATA).unwrap(), b"well");
    assert!(served.is_well(), "HTTP/1.1 works, too");
}

#[test]
fn a_rapid_reset_attack_ends_the_connection() {
    let served = serve(|server| server);
    let mut client = Http2::connect(&served);
    let mut stream = 1;
    let rapid: Vec<u8> = std::iter::repeat_with(|| {
        stream += 2;
        [get_frame(stream, "/endless"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .take(20_000)
    .flatten()
    .collect();
    // The server can close the connection during the write.
    let _ = client.0.write_all(&rapid);
    let reason = client.next_of(GOAWAY).map(|payload| payload[7]);
    assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{reason:?}");
    while client.next().is_some() {}
    assert!(served.is_well());
}

#[test]
fn a_connection_has_a_bounded_number_of_streams() {
    let served = serve(|server| server);
    // A flow control window of zero, so that the streams stay open.
    let mut client = Http2::with(&served, &[0, 4, 0, 0, 0, 0]);
    let many: Vec<u8> = (0..200).flat_map(|number| get_frame(number * 2 + 1, "/endless")).collect();
    client.0.write_all(&many).unwrap();
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 200 {
        let (kind, _, payload) = client.next().expect("the connection stays open");
        answered += usize::from(kind == HEADERS);
        refused += usize::from(kind == RST_STREAM && payload[3] == REFUSED_STREAM);
    }
    assert_eq!((answered, refused), (64, 136));
    assert!(served.is_well());
}

#[test]
fn an_http_2_response_that_is_not_read_is_aborted() {
    let served = serve(|server| server.write_time(Duration::from_millis(300)));
    let mut client = Http2::connect(&served);
    client.0.write_all(&get_frame(1, "/big")).unwrap();
    // The client reads one window of data and sends no window update. `PING`s do not keep the connection.
    let start = Instant::now();
    while client.next().is_some() {
        assert!(start.elapsed() < PATIENCE, "the connection does not time out");
    }
    let served = serve(|server| server.header_time(Duration::from_millis(300)));
    let mut idle = Http2::connect(&served);
    idle.0.write_all(&get_frame(1, "/")).unwrap();
    assert_eq!(idle.next_of(DATA).unwrap(), b"well");
    // Frames other than requests do not keep an idle connection open.
    while idle.0.write_all(&frame(SETTINGS, 0, 0, &[])).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the connection does not time out");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn unusual_requests_and_panicking_handlers_get_a_response() {
    let served = serve(|server| server);
    let panicked = served.met(b"GET /panics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(
        panicked.starts_with("HTTP/1.1 500") && panicked.contains("application/problem+json"),
        "{panicked}"
    );
    let hosts = served.met(b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n");
    assert!(hosts.starts_with("HTTP/1.1 400"), "{hosts}");
    let mut half_closed = served.connect();
    half_closed.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    half_closed.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest_of(&mut half_closed).ends_with("well"));
    assert!(served.is_well());
}
