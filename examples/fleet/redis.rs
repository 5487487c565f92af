//! The Redis of the fleet.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const INSTALL: &str = "`redis-server` was not found. Install it and try again:\n  \
    Debian, Ubuntu: sudo apt install redis-server\n  Fedora: sudo dnf install redis\n  macOS: brew install redis";

/// A server whose data is in a temporary folder. It is stopped and its data is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Redis {
    pub(crate) async fn start() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("resilient-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let port = free_port().await.map_err(|error| format!("no port is free: {error}"))?;
        let process = spawn(port, &folder)?;
        let redis = Self { process, port, folder };
        redis.responds().await?;
        Ok(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server, without a chance to save anything.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.process = spawn(self.port, &self.folder)?;
        self.responds().await
    }

    async fn responds(&self) -> Result<(), String> {
        for _ in 0..400 {
            if ping(self.port).await.is_ok_and(|response| response.starts_with("+PONG")) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(format!("redis-server does not respond on port {}", self.port))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Each change is written to the disk before it is acknowledged, so that a killed server loses nothing.
fn spawn(port: u16, folder: &std::path::Path) -> Result<Child, String> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
    command.arg("--dir").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => INSTALL.to_owned(),
        _ => format!("cannot start redis-server: {error}"),
    })
}

async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut response = vec![0; 64];
    let length = stream.read(&mut response).await?;
    Ok(String::from_utf8_lossy(&response[..length]).into_owned())
}
