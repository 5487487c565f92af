//! A Redis server for one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use resilient_redis::{Config, RedisStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Upper bound of every wait. Only a broken program reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port, with its data in a temporary directory. Both are removed when it is dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
    program: &'static str,
}

impl Server {
    /// Starts a server with additional arguments, and waits until it responds.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self::begin("redis-server", new_directory(), arguments).await
    }

    /// Starts a sentinel with a configuration.
    pub(crate) async fn sentinel(lines: &str) -> Self {
        let directory = new_directory();
        let file = directory.join("sentinel.conf");
        std::fs::write(&file, lines).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned()];
        Self::begin("redis-sentinel", directory, arguments).await
    }

    async fn begin(program: &'static str, directory: PathBuf, arguments: Vec<String>) -> Self {
        loop {
            let port = free_port();
            let process = spawn(program, port, &directory, &arguments);
            let mut server =
                Self { process, port, directory: directory.clone(), arguments: arguments.clone(), program };
            // Another program may have taken the port.
            if server.responds().await {
                return server;
            }
            server.directory = PathBuf::new();
        }
    }

    async fn responds(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if ping(self.port).await.is_ok_and(|response| !response.starts_with("-LOADING")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("redis-server does not respond");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its data, also for the files of a test.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A store with a long time limit, for a slow machine.
    pub(crate) fn store(&self) -> RedisStore {
        RedisStore::new(Config::new(self.url()).timeout(PATIENCE)).unwrap()
    }

    /// A connection without a store.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The output of `redis-cli`, also from a server that is no longer there.
    pub(crate) fn cli(&self, password: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).env("REDISCLI_AUTH", password).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command, such as `"CONFIG SET maxmemory 1"`.
    pub(crate) async fn run(&self, command: &str) -> redis::Value {
        run(&mut self.admin().await, command).await.unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again on the same port with the same data.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.program, self.port, &self.directory, &self.arguments);
        assert!(self.responds().await, "the port was taken");
    }

    /// Sends a signal, such as `STOP` and `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }
}

pub(crate) async fn run(
    connection: &mut MultiplexedConnection,
    command: &str,
) -> redis::RedisResult<redis::Value> {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| _ = command.arg(word));
    command.query_async(connection).await
}

/// The response to a `PING`; an error if a password is required.
async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut response = [0; 64];
    let bytes = stream.read(&mut response).await?;
    Ok(String::from_utf8_lossy(&response[..bytes]).into_owned())
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn new_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("resilient-redis-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn spawn(program: &str, port: u16, directory: &PathBuf, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    if program == "redis-sentinel" {
        // The file comes first.
        command.args(arguments);
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(directory);
    if program == "redis-server" {
        command.args(["--save", ""]).args(arguments);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}` is required: run `cargo xtask redis`: {error}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already. A stopped process ends too.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if self.directory.as_os_str() != "" {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
