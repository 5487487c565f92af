//! Runs the real program, against a real admin API or a server with prepared answers.

#![allow(dead_code)] // each test file uses a part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener as Listener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use resilient_http::Admin;
use resilient_runtime::{Component, Registry, circuit_breaker};
use tokio::net::TcpListener;

pub(crate) const TOKEN: &str = "a-token-for-tests-0123456789";

/// An admin API with a registry of its own. It stops at the end of the test.
pub(crate) struct Served {
    pub(crate) registry: Registry,
    pub(crate) url: String,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn serve(registry: &Registry) -> Served {
    serve_with(registry, |admin| admin.token(TOKEN).unwrap())
}

pub(crate) fn serve_with(registry: &Registry, set_up: impl FnOnce(Admin) -> Admin) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let admin = set_up(Admin::new(registry));
    runtime.spawn(admin.serve(listener));
    Served { registry: registry.clone(), url, _runtime: runtime }
}

/// A registry with an operation that succeeded and failed, and a circuit breaker that a failure opens.
pub(crate) fn shop() -> Registry {
    let registry = Registry::new();
    let breaker = registry.circuit_breaker("payment");
    breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(3)).unwrap();
    let pipeline = registry.pipeline("checkout").circuit_breaker("payment").bulkhead("gateway").build();
    for result in [Some(1), Some(2), Some(3), None] {
        assert_eq!(pipeline.call(|| result), result);
    }
    registry
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program without any variables or files of the user.
pub(crate) fn command(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resilient"));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("RESILIENT") || name.to_lowercase().ends_with("_proxy"))
        {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("RESILIENT_URL", url).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

impl Served {
    /// Runs a command without the token.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&mut command(&self.url, args))
    }

    /// Runs a command with the token.
    pub(crate) fn run_as_admin(&self, args: &[&str]) -> Ran {
        run(command(&self.url, args).env("RESILIENT_TOKEN", TOKEN))
    }
}

/// Waits until a stream of the program contains a text. Returns the reader for the rest.
pub(crate) fn wait_for<R: Read>(stream: R, text: &str) -> BufReader<R> {
    let mut stream = BufReader::new(stream);
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = stream.read_until(b'\n', &mut seen).unwrap();
        assert!(read > 0, "the program ended without `{text}`: {}", String::from_utf8_lossy(&seen));
    }
    stream
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that answers the n-th request with the n-th text, and all further ones with the last. `None` never answers.
pub(crate) fn prepared(answers: Vec<Option<String>>) -> String {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream: TcpStream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            match &answers[number.min(answers.len() - 1)] {
                Some(answer) => _ = stream.write_all(answer.as_bytes()),
                None => open.push(stream),
            }
        }
    });
    format!("http://{address}")
}

/// An HTTP response, for [`prepared`].
#[allow(clippy::unnecessary_wraps)] // `prepared` takes options
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}
