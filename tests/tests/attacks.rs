//! Attacks the `payments` example from one machine. A well-behaved client must get its responses during each attack.
//!
//! The asserted bounds are counts (responses, descriptors, bytes), so that they hold on a busy machine. The response
//! times are printed: `cargo nextest run -p resilient-tests --test attacks --no-capture`.

#![cfg(target_os = "linux")] // 127.0.0.2 is a different address there, and `/proc` lists open descriptors.

use std::fmt::Display;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// A low descriptor limit of the program. Half of it is for connections.
const FEW: usize = 512;
/// A descriptor limit that the program never reaches.
const ENOUGH: usize = 4096;
/// Default maximum number of connections of the program.
const CONNECTIONS: usize = 1000;
/// Other descriptors of the program: listeners, the runtime and connections to the gateway.
const OWN: usize = 60;
/// A request without a response after this time counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(10);

const ATTACKER: u8 = 2;
const ATTACKERS: [u8; 2] = [ATTACKER, 3];
const GOOD: u8 = 1;
/// A path that calls the gateway.
const SIMPLE: &str = "/api/resilience/simple-protected";
/// A path that does not call the gateway.
const ALIVE: &str = "/api/resilience/health/live";
/// A path without layers.
const UNLIMITED: &str = "/gateway/faults";
/// The path of orders, which are sent with an idempotency key.
const ORDER: &str = "/api/resilience/protected-endpoint";

/// The running example. Dropping it kills the process.
struct Payments {
    child: Child,
    address: SocketAddr,
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
    // target/PROFILE/deps/attacks-HASH
    folder.pop();
    folder.pop();
    let program = folder.join("examples").join("payments");
    if !program.exists() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "-p", "resilient-examples", "--example", "payments"])
            .status();
        assert!(build.expect("cargo can be run").success());
    }
    program
}

impl Payments {
    fn start(descriptors: usize) -> Self {
        let mut command = Command::new("sh");
        // The test process needs descriptors, too. Without them, connecting fails.
        let _ = rlimit::increase_nofile_limit(ENOUGH as u64);
        command
            .args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")])
            .arg(program())
            .args(["--port", "0", "--gateway-port", "0", "--load", "0", "--token", "a-token-for-the-tests"])
            // On a busy machine, the default timeout of 1 s would fail requests.
            .env("RESILIENT__TIMEOUT__PING__TOTAL", "60s")
            // The default limit per address would reject a client that shares the address of the attacker.
            .env("RESILIENT__RATE_LIMIT__ADDRESSES__RATE", "100000/s")
            .env("RESILIENT__RATE_LIMIT__ADDRESSES__BURST", "100000")
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let output = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("service http://")?.parse().ok());
        // Reads the rest of the output, because the program would block when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("the example prints its address") }
    }

    /// Connects from 127.0.0.`from`.
    fn connect(&self, from: u8) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let from = SocketAddr::from((IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0));
        socket.bind(&from.into())?;
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends a request on a new connection. Returns how long it took, or `None` if the status is not 200.
    fn ask(&self, from: u8, path: &str) -> Option<Duration> {
        let began = Instant::now();
        let answer = self.answer(from, path);
        let is_good = answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        if !is_good {
            println!("after {:?}: {answer:?}", began.elapsed());
        }
        is_good.then(|| began.elapsed())
    }

    fn answer(&self, from: u8, path: &str) -> std::io::Result<String> {
        let mut stream = self.connect(from)?;
        let request = if path == ORDER {
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            let key = format!("good-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let order = format!(r#"{{"order_id": "{key}", "cents": 1}}"#);
            post(Some(&key), order.len()) + &order
        } else {
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        };
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the program runs").count()
    }

    /// Peak memory of the program.
    fn peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// Current memory of the program.
    fn bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    fn memory(&self, what: &str) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the program runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix(what)).expect("the kernel reports the value");
        line.trim_end_matches("kB").trim().parse::<usize>().expect("a number") * 1024
    }
}

/// Head of a request for an order, with or without an idempotency key.
fn post(key: Option<impl Display>, length: usize) -> String {
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    format!(
        "POST {ORDER} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\n{key}content-length: {length}\r\n\r\n"
    )
}

/// Sends a request on an open connection. Returns whether the status is 200.
fn ask_again(stream: &mut TcpStream) -> bool {
    let request = format!("GET {SIMPLE} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"}") {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

/// Measurements during an attack.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    unanswered: usize,
    median: Duration,
    slowest: Duration,
    descriptors: usize,
    bytes: usize,
    connections: usize,
}

/// The behaviour of an attacker, repeated on each connection.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Sends a request head and 33 KB of a large body, and then nothing.
    Stalls,
    /// Sends 120 requests for a large response and reads nothing. Reconnects after two seconds.
    ReadsNothing,
    /// Sends nothing.
    IsSilent,
    /// Sends most of a large body, and then nothing.
    Uploads,
    /// Like `Uploads`, but without an idempotency key and close to the maximum body size.
    KeylessUploads,
    /// Sends a large body at 1.2 KiB per second, which is not slow, from two addresses.
    Drips,
    /// Opens and resets HTTP/2 streams as fast as possible, and reads nothing.
    RapidReset,
    /// Sends HTTP/2 SETTINGS frames, which must be acknowledged, as fast as possible, and reads nothing.
    SettingsFlood,
    /// Sends an order and waits for the response.
    Orders,
}

/// A connection of an attacker.
struct Attacker {
    stream: TcpStream,
    begun: Instant,
    /// Sent bytes of a body, or sent rounds of frames.
    sent: usize,
    /// Bytes that could not be written yet.
    rest: Vec<u8>,
}

impl Attack {
    fn has_key(self) -> bool {
        !matches!(self, Self::KeylessUploads)
    }

    fn addresses(self) -> &'static [u8] {
        if matches!(self, Self::Drips) { &ATTACKERS } else { &ATTACKERS[..1] }
    }

    fn begin(self, mut stream: TcpStream, number: usize) -> Attacker {
        let order = format!(r#"{{"order_id": "order-{number}", "cents": 1}}"#);
        let post = |length: usize| post(self.has_key().then_some(number), length);
        let sent = match self {
            Self::Stalls => post(1_000_000) + &" ".repeat(33_000),
            Self::ReadsNothing => "GET /dashboard/uplot.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(120),
            Self::Drips => format!(
                "PUT {UNLIMITED} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 content-length: 1000000\r\n\r\n"
            ),
            Self::IsSilent => String::new(),
            Self::RapidReset | Self::SettingsFlood => {
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".into()
            }
            Self::Uploads => post(1_000_000) + &" ".repeat(900_000),
            Self::KeylessUploads => post(2_000_000) + &" ".repeat(1_900_000),
            Self::Orders => post(order.len()) + &order,
        };
        // The server can reject the request before all of it is sent.
        let _ = stream.write_all(sent.as_bytes());
        let _ = stream.set_nonblocking(true);
        Attacker { stream, begun: Instant::now(), sent: 0, rest: Vec::new() }
    }

    /// One round of frames.
    fn frames(self, round: usize) -> Vec<u8> {
        let one = |number: usize| match self {
            Self::RapidReset => {
                let stream = u32::try_from(round * 100 + number).expect("the attack is short") * 2 + 1;
                let stream = stream.to_be_bytes();
                // `GET /api/resilience/health/live`, then a reset of the stream.
                let mut head = vec![0, 0, 34, 1, 5];
                head.extend(stream);
                head.extend(b"\x82\x86\x04\x1b");
                head.extend(ALIVE.as_bytes());
                head.extend(b"\x01\x01x");
                head.extend([0, 0, 4, 3, 0]);
                head.extend(stream);
                head.extend([0, 0, 0, 8]);
                head
            }
            _ => b"\0\0\0\x04\0\0\0\0\0".to_vec(),
        };
        (0..100).flat_map(one).collect()
    }

    fn goes_on(self, Attacker { stream, begun, sent, rest }: &mut Attacker) -> bool {
        if let Self::Drips = self {
            let due = usize::try_from(begun.elapsed().as_millis()).expect("the attack is short") * 12 / 10;
            if due >= *sent + 120 {
                // A closed connection is detected below.
                let _ = stream.write(&vec![b' '; due - *sent]);
                *sent = due;
            }
        }
        if let Self::RapidReset | Self::SettingsFlood = self {
            loop {
                if rest.is_empty() {
                    *rest = self.frames(*sent);
                    *sent += 1;
                }
                match stream.write(rest) {
                    Ok(count) => drop(rest.drain(..count)),
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        }
        match self {
            Self::ReadsNothing => begun.elapsed() < Duration::from_secs(2),
            _ => loop {
                match stream.read(&mut [0; 1024]) {
                    Ok(1..) => {}
                    Ok(0) => return false,
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            },
        }
    }
}

/// Keeps `connections` connections attacking, and replaces each closed one, while a good client sends `asks` requests.
fn attack(
    payments: &Payments,
    attack: Attack,
    connections: usize,
    (good, path): (u8, &str),
    asks: usize,
) -> Seen {
    let stop = AtomicBool::new(false);
    let begun = AtomicUsize::new(0);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut open: Vec<Attacker> = Vec::new();
            let addresses = attack.addresses();
            while !stop.load(Ordering::Relaxed) {
                open.retain_mut(|attacker| attack.goes_on(attacker));
                while open.len() < connections && !stop.load(Ordering::Relaxed) {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if let Ok(stream) = payments.connect(addresses[number % addresses.len()]) {
                        open.push(attack.begin(stream, number));
                    }
                    if matches!(attack, Attack::Drips) && open.len().is_multiple_of(50) {
                        // The open connections continue while new ones are opened.
                        open.retain_mut(|attacker| attack.goes_on(attacker));
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Waits until all connections have been opened once.
        while begun.load(Ordering::Relaxed) < connections {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut took = Vec::new();
        for _ in 0..asks {
            match payments.ask(good, path) {
                Some(time) => took.push(time),
                None => seen.unanswered += 1,
            }
            seen.descriptors = seen.descriptors.max(payments.descriptors());
            seen.bytes = seen.bytes.max(payments.bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        took.sort();
        seen.answered = took.len();
        seen.median = took.get(took.len() / 2).copied().unwrap_or_default();
        seen.slowest = took.last().copied().unwrap_or_default();
        seen.connections = begun.load(Ordering::Relaxed);
    });
    println!("{attack:?}: {seen:?}");
    seen
}

/// The good client at another address, and at the address of the attacker (for example behind the same router).
const CLIENTS: [u8; 2] = [GOOD, ATTACKER];
const ASKS: usize = 40;

/// Asserts that the good client was served and that the program did not exceed its descriptors.
///
/// Every request from another address must succeed, and at least 90 % of the requests from the address of the attacker.
/// The descriptors include connections that wait for a slot.
fn assert_served(good: u8, seen: &Seen, connections: usize) {
    let most = if good == ATTACKER { ASKS / 10 } else { 0 };
    assert!(seen.unanswered <= most && seen.answered + seen.unanswered == ASKS, "{seen:?}");
    assert!(seen.descriptors <= connections + connections / 8 + OWN, "{seen:?}");
}

#[test]
fn bodies_that_stall_after_a_fast_start_do_not_affect_other_clients() {
    let payments = Payments::start(ENOUGH);
    for good in CLIENTS {
        let seen = attack(&payments, Attack::Stalls, 1100, (good, SIMPLE), ASKS);
        assert_served(good, &seen, CONNECTIONS);
    }
}

#[test]
fn slow_uploads_from_several_addresses_leave_connections_for_others() {
    let payments = Payments::start(ENOUGH);
    let seen = attack(&payments, Attack::Drips, 1000, (GOOD, ALIVE), ASKS);
    assert_served(GOOD, &seen, CONNECTIONS);
    // Regression: each small chunk of a body kept its read buffer of 8 KiB alive.
    assert!(seen.bytes < 200 << 20, "{seen:?}");
}

#[test]
fn clients_that_never_read_do_not_affect_other_clients() {
    let payments = Payments::start(FEW);
    for good in CLIENTS {
        let seen = attack(&payments, Attack::ReadsNothing, FEW * 9 / 16, (good, SIMPLE), ASKS);
        assert_served(good, &seen, FEW / 2);
        assert!(seen.bytes < 200 << 20, "{seen:?}");
    }
}

#[test]
fn large_bodies_use_bounded_memory_and_orders_still_succeed() {
    // The attackers send 360 MB and 760 MB.
    for uploads in [Attack::Uploads, Attack::KeylessUploads] {
        let payments = Payments::start(ENOUGH);
        let seen = attack(&payments, uploads, 400, (GOOD, ORDER), ASKS);
        println!("peak: {} bytes", payments.peak());
        assert_served(GOOD, &seen, CONNECTIONS);
        assert!(payments.peak() < 200 << 20, "{} bytes", payments.peak());
    }
}

#[test]
fn http_2_rapid_resets_and_settings_floods_do_not_affect_other_clients() {
    for flood in [Attack::RapidReset, Attack::SettingsFlood] {
        let payments = Payments::start(ENOUGH);
        let seen = attack(&payments, flood, 20, (GOOD, SIMPLE), ASKS);
        assert_served(GOOD, &seen, CONNECTIONS);
        if let Attack::RapidReset = flood {
            assert!(seen.connections > 20, "the server closes the connections: {seen:?}");
        }
        assert!(payments.peak() < 200 << 20, "{} bytes", payments.peak());
    }
}

#[test]
fn idle_connections_do_not_exhaust_the_descriptors() {
    let payments = Payments::start(FEW);
    for good in CLIENTS {
        let seen = attack(&payments, Attack::IsSilent, FEW * 3 / 2, (good, SIMPLE), ASKS);
        assert_served(good, &seen, FEW / 2);
    }
}

#[test]
fn requests_that_open_further_descriptors_leave_enough_for_others() {
    let payments = Payments::start(64);
    // The gateway hangs, so that each order uses three descriptors for some time.
    let faults = r#"{"hang_rate": 1}"#;
    let mut stream = payments.connect(GOOD).expect("the service listens");
    let length = faults.len();
    let request = format!(
        "PUT /gateway/faults HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{faults}"
    );
    stream.write_all(request.as_bytes()).expect("the service reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the service responds");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = attack(&payments, Attack::Orders, 120, (GOOD, ALIVE), ASKS);
    assert_eq!((seen.answered, seen.unanswered), (ASKS, 0), "{seen:?}");
}

#[test]
fn a_pool_of_keep_alive_connections_survives_a_flood_of_silent_ones() {
    let payments = Payments::start(FEW);
    let mut pool: Vec<TcpStream> =
        (0..45).map(|_| payments.connect(ATTACKER).expect("the service listens")).collect();
    let served =
        |pool: &mut Vec<TcpStream>| pool.iter_mut().filter_map(|it| ask_again(it).then_some(())).count();
    assert_eq!(served(&mut pool), 45);
    let mut silent = Vec::new();
    for number in 1..=FEW * 5 / 4 {
        silent.extend(payments.connect(ATTACKER));
        if number % (FEW / 8) == 0 {
            assert_eq!(served(&mut pool), 45, "after {number} silent connections");
        }
    }
    assert!(payments.descriptors() <= FEW / 2 + FEW / 16 + OWN);
}
