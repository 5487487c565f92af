//! Many connections that send nothing.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::program::{Program, agent};

pub(super) struct Idle {
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) slowest: Duration,
}

/// Opens this many, and asks for something, on a connection of its own, after each hundredth.
pub(super) fn harm(path: &Path, connections: usize) -> Result<Idle, String> {
    let program = Program::start(path, &["--load", "0"])?;
    let mut idle = Vec::with_capacity(connections);
    let (mut requests, mut slowest) = (0, Duration::ZERO);
    for number in 1..=connections {
        // Out of file descriptors: as many as this process may have do as well.
        let Ok(stream) = TcpStream::connect(program.address()) else { break };
        idle.push(stream);
        if number % 100 == 0 {
            let began = Instant::now();
            let answer = agent().get(program.url("/api/resilience/simple-protected")).call();
            match answer {
                Ok(answer) if answer.status() == 200 => {}
                Ok(answer) => return Err(format!("beside {number} idle connections: {}", answer.status())),
                Err(error) => return Err(format!("beside {number} idle connections: {error}")),
            }
            slowest = slowest.max(began.elapsed());
            requests += 1;
        }
    }
    Ok(Idle { connections: idle.len(), requests, slowest })
}
