//! A Redis server that keeps what it acknowledges.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::store::{ReplicaKey, ReplicaStore as _};

use crate::server::{Folder, PATIENCE, free_port};

/// A server on a free port, with its data in a temporary directory. Both are removed when it is dropped.
pub(crate) struct Redis {
    process: Child,
    port: u16,
    folder: Folder,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let (port, folder) = (free_port(), Folder::new());
        let mut redis = Self { process: spawn(port, &folder), port, folder };
        redis.responds().await;
        redis
    }

    async fn responds(&mut self) {
        let start = Instant::now();
        while self.store().read(ReplicaKey::new("", "")).await.is_err() {
            if self.process.try_wait().unwrap().is_some() {
                self.process = spawn(self.port, &self.folder);
            }
            assert!(start.elapsed() < PATIENCE, "redis-server does not respond");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> RedisStore {
        let config = Config::new(format!("redis://{}", self.address())).timeout(PATIENCE);
        RedisStore::new(config).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again with the same data.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder);
        self.responds().await;
    }

    /// Sends a signal, such as `STOP` and `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        assert!(
            kill.arg(format!("-{signal}")).arg(self.process.id().to_string()).status().unwrap().success()
        );
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, folder: &Folder) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(&folder.0);
    command
        .stdout(Stdio::null())
        .spawn()
        .expect("`redis-server` is required: run `cargo xtask postgres`, which installs it")
}
