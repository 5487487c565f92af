//! `top` in a real pseudo terminal, which `script` of util-linux provides.

#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Running, TOKEN, serve, shop};
use resilient_runtime::circuit_breaker::State;

/// A terminal with a program, and everything that the program has written.
struct Terminal {
    child: Running,
    keys: std::process::ChildStdin,
    screen: std::process::ChildStdout,
    seen: String,
}

impl Terminal {
    fn start(url: &str, size: &str) -> Self {
        let program = format!("stty {size}; {} top --interval 100ms", env!("CARGO_BIN_EXE_resilient"));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &program, "/dev/null"]);
        script.env("RESILIENT_URL", url).env("RESILIENT_TOKEN", TOKEN).env("XDG_CONFIG_HOME", "/nonexistent");
        script.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child: Running(child), keys, screen, seen: String::new() }
    }

    /// Waits until the program writes a text.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let read = self.screen.read(&mut buffer).unwrap();
            assert!(read > 0, "the program ended without `{text}`: {:?}", self.seen);
            self.seen += &String::from_utf8_lossy(&buffer[..read]);
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }
}

#[test]
fn top_forces_a_circuit_open_and_leaves_the_terminal_as_it_was() {
    let served = serve(&shop());
    let mut terminal = Terminal::start(&served.url, "rows 24 cols 80");
    terminal.wait_for("checkout");
    terminal.wait_for(" live ");
    terminal.press("\to");
    // Only changed cells are written. This word is drawn over empty cells.
    terminal.wait_for("Confirm");
    assert_eq!(
        served.registry.circuit_breaker("payment").state(),
        State::Closed,
        "not before the confirmation"
    );
    terminal.press("y");
    let start = Instant::now();
    while served.registry.circuit_breaker("payment").state() != State::ForcedOpen {
        assert!(start.elapsed() < Duration::from_mins(1), "the circuit stays closed: {:?}", terminal.seen);
        std::thread::yield_now();
    }
    terminal.press("q");
    assert!(terminal.child.0.wait().unwrap().success());
    terminal.screen.read_to_string(&mut terminal.seen).unwrap();
    let (enter, leave) =
        (terminal.seen.find("\u{1b}[?1049h").unwrap(), terminal.seen.rfind("\u{1b}[?1049l").unwrap());
    assert!(enter < leave, "{:?}", terminal.seen);
    assert!(terminal.seen.rfind("\u{1b}[?25h") > Some(enter), "the cursor is visible again");
    assert!(!terminal.seen.contains(TOKEN));
}

#[test]
fn top_shows_injected_faults_and_stops_them() {
    use resilient_runtime::chaos::Fault;
    let served = serve(&shop());
    let chaos = served.registry.chaos();
    chaos.arm(Fault::hang().on("checkout"), "ada").unwrap();
    let mut terminal = Terminal::start(&served.url, "rows 24 cols 80");
    terminal.wait_for("CHAOS");
    terminal.press("x");
    terminal.wait_for("Confirm");
    assert_eq!(chaos.faults().len(), 1, "not before the confirmation");
    terminal.press("y");
    let start = Instant::now();
    while !chaos.faults().is_empty() {
        assert!(start.elapsed() < Duration::from_mins(1), "the fault stays: {:?}", terminal.seen);
        std::thread::yield_now();
    }
    terminal.press("q");
    assert!(terminal.child.0.wait().unwrap().success());
}

#[test]
fn top_waits_for_a_service_that_is_not_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut terminal = Terminal::start(&format!("http://{address}"), "rows 12 cols 40");
    terminal.wait_for("no service");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
    runtime.spawn(resilient_http::Admin::new(&shop()).token(TOKEN).unwrap().serve(listener));
    terminal.wait_for("checkout");
    terminal.press("\u{3}");
    assert!(terminal.child.0.wait().unwrap().success(), "Ctrl-C is a normal end");
}
