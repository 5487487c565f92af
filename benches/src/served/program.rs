//! A running `payments` example.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// The process of the example. Dropping it kills the process.
#[derive(Debug)]
pub struct Program {
    child: Child,
    service: String,
    agent: ureq::Agent,
    complaints: Arc<Mutex<String>>,
}

impl Program {
    /// Starts the example on free ports.
    ///
    /// # Errors
    /// Returns an error if the process does not start or does not print its address.
    pub fn start(path: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.args(["--port", "0", "--gateway-port", "0"]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", path.display()))?;
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("the output of the example is not piped".to_owned());
        };
        let complaints = Arc::<Mutex<String>>::default();
        let heard = Arc::clone(&complaints);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut all = heard.lock().unwrap_or_else(PoisonError::into_inner);
                all.push_str(&line);
                all.push('\n');
            }
        });
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let service = lines.find_map(|line| line.strip_prefix("service ").map(str::to_owned));
        // Reads the rest of the output, because the program would block when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let service = service.ok_or("the example printed no address")?;
        Ok(Self { child, service, agent: agent(), complaints })
    }

    /// The address, without a scheme.
    pub fn address(&self) -> &str {
        self.service.strip_prefix("http://").unwrap_or(&self.service)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Requests a path.
    ///
    /// # Errors
    /// Returns an error if the request fails or the response is not JSON.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.agent.get(self.url(path)).call().map_err(|error| format!("{path}: {error}"))?;
        let mut text = String::new();
        answer
            .into_body()
            .into_reader()
            .read_to_string(&mut text)
            .map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
    }

    /// Sets the faults of the gateway.
    ///
    /// # Errors
    /// Returns an error if the request fails or is rejected.
    pub fn set_faults(&self, faults: &str) -> Result<(), String> {
        let request = self.agent.put(self.url("/gateway/faults")).header("content-type", "application/json");
        match request.send(faults) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("{faults}: {}", answer.status())),
            Err(error) => Err(format!("{faults}: {error}")),
        }
    }

    /// The standard error of the example.
    pub fn complaints(&self) -> String {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with keep-alive connections that accepts every status.
pub(super) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(10))).build().into()
}
