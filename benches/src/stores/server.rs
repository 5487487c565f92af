//! A Redis server of the benchmark.

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resilient_redis::{Config, RedisStore};
use resilient_runtime::Registry;

/// Stopped and removed when it is dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
    version: String,
}

impl Server {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = std::env::temp_dir().join(format!("resilient-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = spawn(port, &folder)?;
        let mut server = Self { process, port, folder, version: String::new() };
        server.responds().await?;
        let mut connection = server.connection().await?;
        let information: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let version = information.lines().find_map(|line| line.strip_prefix("redis_version:"));
        version.unwrap_or("of unknown version").trim().clone_into(&mut server.version);
        Ok(server)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    pub(crate) fn store(&self, timeout: Duration) -> Result<RedisStore, Box<dyn Error>> {
        Ok(RedisStore::new(Config::new(self.url()).timeout(timeout))?)
    }

    /// A registry with this server as the store `shared`: one instance of a service.
    pub(crate) fn instance(&self) -> Result<Registry, Box<dyn Error>> {
        let registry = Registry::new();
        registry.use_store("shared", self.store(Duration::from_millis(250))?);
        Ok(registry)
    }

    /// Number of requests for a script that the server has processed.
    pub(crate) async fn scripts(&self) -> Result<u64, Box<dyn Error>> {
        let mut connection = self.connection().await?;
        let information: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let calls = information.lines().filter_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.into_iter().find_map(|rest| rest.split(',').next());
        Ok(calls.ok_or("the server does not count scripts")?.parse()?)
    }

    pub(crate) fn signal(&self, signal: &str) -> std::io::Result<()> {
        Command::new("kill").args([signal, &self.process.id().to_string()]).status().map(drop)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) fn restart(&mut self) -> std::io::Result<()> {
        self.process = spawn(self.port, &self.folder)?;
        Ok(())
    }

    pub(crate) async fn responds(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..2000 {
            if let Ok(mut connection) = self.connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err("redis-server does not respond; is it installed?".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(port: u16, folder: &std::path::Path) -> std::io::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
