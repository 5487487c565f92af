//! Many idle connections.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::program::{Program, agent};

pub(super) struct Idle {
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) slowest: Duration,
}

/// Opens `connections` idle connections, and sends a request on another connection after each hundredth.
pub(super) fn harm(path: &Path, connections: usize) -> Result<Idle, String> {
    let program = Program::start(path, &["--load", "0"])?;
    let mut idle = Vec::with_capacity(connections);
    let (mut requests, mut slowest) = (0, Duration::ZERO);
    for number in 1..=connections {
        // Stops at the file descriptor limit of this process.
        let Ok(stream) = TcpStream::connect(program.address()) else { break };
        idle.push(stream);
        if number % 100 == 0 {
            let began = Instant::now();
            let answer = agent().get(program.url("/api/resilience/simple-protected")).call();
            match answer {
                Ok(answer) if answer.status() == 200 => {}
                Ok(answer) => return Err(format!("with {number} idle connections: {}", answer.status())),
                Err(error) => return Err(format!("with {number} idle connections: {error}")),
            }
            slowest = slowest.max(began.elapsed());
            requests += 1;
        }
    }
    Ok(Idle { connections: idle.len(), requests, slowest })
}
