//! The server, as hostile, slow and idle clients meet it.

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

/// So long is too long on any machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// More than what lies between two ends of a connection.
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
        .route("/panics", get(async || -> &'static str { panic!("of the handler") }));
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

    /// What is answered to these bytes, and the end of the connection.
    fn met(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be refused before all of it was read.
        let _ = stream.write_all(bytes);
        rest_of(&mut stream)
    }

    fn is_well(&self) -> bool {
        self.met(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("well")
    }
}

/// Until its end; a reset is one.
fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("it does not end: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a request and reads its answer; the connection stays.
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
fn bombs_of_headers_and_what_is_no_http_are_refused() {
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
fn a_slow_client_is_not_waited_for() {
    let served =
        serve(|server| server.header_time(Duration::from_millis(200)).body_time(Duration::from_millis(200)));
    // Half a head, and then nothing.
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
    // Half a body is told.
    let half = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
    let answer = served.met(half);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let whole = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhalf";
    assert!(served.met(whole).ends_with('4'));
}

#[test]
fn ten_thousand_idle_connections_are_in_nobodys_way() {
    let served = serve(|server| server.connections(50).per_address(50));
    let mut kept = served.connect();
    ask(&mut kept);
    let mut idle = Vec::new();
    for number in 0..10_000 {
        idle.push(served.connect());
        if number % 20 == 0 {
            // All before it have been accepted then.
            assert!(served.is_well());
            // It was used a moment ago: others go first.
            ask(&mut kept);
        }
        if number % 400 == 0 {
            // Their ends here: more than a process may have open.
            idle.clear();
        }
    }
    ask(&mut kept);
    assert!(served.is_well());
}

#[test]
fn who_is_answered_keeps_its_place_and_the_others_wait() {
    let served = serve(|server| server.connections(1));
    let mut endless = served.connect();
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut buffer = [0; 1024];
    assert!(endless.read(&mut buffer).unwrap() > 0);
    let mut second = served.connect();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert!(second.read(&mut buffer).is_err(), "there is no place for it");
    drop(endless);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(rest_of(&mut second).ends_with("well"));
}

#[test]
fn it_stops_at_once_when_nothing_is_going_on_and_else_after_its_grace() {
    let mut served = serve(|server| server.grace(PATIENCE * 2));
    let mut idle = served.connect();
    ask(&mut idle);
    let start = Instant::now();
    served.stop.take().unwrap().send(()).unwrap();
    served.runtime.block_on(served.ended.take().unwrap()).unwrap();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(rest_of(&mut idle), "");
    assert!(TcpStream::connect(served.address).is_err());

    // A stream without an end does not keep it for ever.
    let mut served = serve(|server| server.grace(Duration::from_millis(300)));
    let mut endless = served.connect();
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(endless.read(&mut [0; 1024]).unwrap() > 0);
    served.stop.take().unwrap().send(()).unwrap();
    served.runtime.block_on(served.ended.take().unwrap()).unwrap();
}

/// Asks for the big answer, and reads nothing of it for now.
fn ask_for_much(served: &Served) -> TcpStream {
    let mut stream = served.connect();
    stream.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    // It is on its way.
    stream.read_exact(&mut [0; 12]).unwrap();
    stream
}

#[test]
fn an_answer_that_is_being_sent_is_sent_whole() {
    let mut served = serve(|server| server.connections(2));
    let mut slow = ask_for_much(&served);
    let idle: Vec<_> = (0..3).map(|_| served.connect()).collect();
    assert!(served.is_well());
    let read_all = |stream: &mut TcpStream| {
        // As long as it is kept alive there is no end.
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
    // And also when the server stops meanwhile.
    let mut slow = ask_for_much(&served);
    served.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(served.address).is_ok() {
        std::thread::yield_now();
    }
    read_all(&mut slow);
}

#[test]
fn who_takes_nothing_of_its_answer_is_not_waited_for() {
    let served = serve(|server| server.connections(2).write_time(Duration::from_millis(300)));
    let unread: Vec<_> = (0..2).map(|_| ask_for_much(&served)).collect();
    assert!(served.is_well());
    // Each has its own time.
    for mut stream in unread {
        let start = Instant::now();
        // Not by reading, as that takes something.
        while stream.take_error().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "it is not cut off");
            std::thread::sleep(Duration::from_millis(5));
        }
        let length = rest_of(&mut stream).len();
        assert!(length < BIG, "it was cut off");
    }
}

#[test]
fn requests_that_are_slow_to_come_make_place_for_others() {
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
    let is_told = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).is_ok() && status.ends_with(b"408")
    };
    let told: Vec<bool> = slow.iter_mut().map(is_told).collect();
    assert_eq!(told.iter().filter(|told| **told).count(), 1, "only as many as are needed: {told:?}");
}

// G1
#[test]
fn a_client_whose_address_has_its_share_is_told() {
    let served = serve(|server| server.connections(50).per_address(1));
    let mut busy = served.connect();
    busy.write_all(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read_until(&mut busy, "begun\r\n");
    for _ in 0..100 {
        let mut stream = served.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("no reset, which could overtake the answer");
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1"), "{told:?}");
    }
}

// G7
#[test]
fn small_pieces_of_a_body_count_with_what_they_take_in_memory() {
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

/// A client of HTTP/2 that sends the frames it likes.
struct Http2(TcpStream);

/// Kinds of frames (RFC 9113, 6), and reasons.
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

/// A `GET`, whole.
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    // Of the static table: GET, http; and a path and an authority as literals (RFC 7541).
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x01x");
    frame(HEADERS, 0x5, stream, &block)
}

impl Http2 {
    fn connect(served: &Served) -> Self {
        Self::with(served, &[])
    }

    /// With these settings of the client.
    fn with(served: &Served, settings: &[u8]) -> Self {
        let mut stream = served.connect();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        Self(stream)
    }

    /// Kind, stream and payload of the next frame; none at the end.
    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it does not end: {error}"),
            read => read.ok(),
        }
    }

    /// The payload of the next frame of this kind.
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
fn http_2_is_spoken_on_the_same_port() {
    let served = serve(|server| server);
    let mut client = Http2::connect(&served);
    client.0.write_all(&[get_frame(1, "/"), get_frame(3, "/")].concat()).unwrap();
    assert_eq!(client.next_of(DATA).unwrap(), b"well");
    assert_eq!(client.next_of(DATA).unwrap(), b"well");
    assert!(served.is_well(), "HTTP/1.1 is, too");
}

#[test]
fn who_resets_streams_rapidly_is_cut_off() {
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
    // It may be cut off meanwhile.
    let _ = client.0.write_all(&rapid);
    let reason = client.next_of(GOAWAY).map(|payload| payload[7]);
    assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{reason:?}");
    while client.next().is_some() {}
    assert!(served.is_well());
}

#[test]
fn a_connection_has_a_bounded_number_of_streams() {
    let served = serve(|server| server);
    // Its streams may send nothing, so that they stay.
    let mut client = Http2::with(&served, &[0, 4, 0, 0, 0, 0]);
    let many: Vec<u8> = (0..200).flat_map(|number| get_frame(number * 2 + 1, "/endless")).collect();
    client.0.write_all(&many).unwrap();
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 200 {
        let (kind, _, payload) = client.next().expect("it stays open for some time");
        answered += usize::from(kind == HEADERS);
        refused += usize::from(kind == RST_STREAM && payload[3] == REFUSED_STREAM);
    }
    assert_eq!((answered, refused), (64, 136));
    assert!(served.is_well());
}

#[test]
fn an_answer_over_http_2_that_is_not_taken_is_given_up() {
    let served = serve(|server| server.write_time(Duration::from_millis(300)));
    let mut client = Http2::connect(&served);
    client.0.write_all(&get_frame(1, "/big")).unwrap();
    // It takes what its window holds, and says nothing of it: `PING`s do not help.
    let start = Instant::now();
    while client.next().is_some() {
        assert!(start.elapsed() < PATIENCE, "it is not cut off");
    }
    let served = serve(|server| server.header_time(Duration::from_millis(300)));
    let mut idle = Http2::connect(&served);
    idle.0.write_all(&get_frame(1, "/")).unwrap();
    assert_eq!(idle.next_of(DATA).unwrap(), b"well");
    // It is idle, whatever it sends but requests.
    while idle.0.write_all(&frame(SETTINGS, 0, 0, &[])).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is not cut off");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn odd_clients_and_handlers_that_panic_are_answered() {
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
