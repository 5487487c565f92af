//! The processes of the instances.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::Duration;

use crate::http;
use crate::options::Options;

/// A running instance. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts this program as instance `number`.
    pub(crate) fn start(
        options: &Options,
        number: u16,
        gateway: SocketAddr,
        redis: &str,
    ) -> Result<Self, String> {
        let port = options.port + number;
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        command.args(["--instance", &number.to_string(), "--port", &port.to_string()]);
        command.args(["--gateway", &gateway.to_string(), "--token", &options.token]);
        command.env("RESILIENT__STORE__SHARED__URL", redis);
        let child = command.spawn().map_err(|error| format!("cannot start instance {number}: {error}"))?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Waits until the instance responds.
    pub(crate) async fn responds(&mut self) -> Result<(), String> {
        let address = self.address;
        for _ in 0..800 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the instance at {address} ended with {status}; is its port in use?"));
            }
            if http::send("GET", address, "/api/resilience/health/live").await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(format!("the instance at {address} does not respond"))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
