//! Many dashboards.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::program::Program;
use super::spent;

/// Share of a core that the program uses without viewers and with `viewers` viewers.
pub(super) fn shares_of_a_core(path: &Path, viewers: usize, span: Duration) -> Result<(f64, f64), String> {
    // With the built-in load of the example, because events are sent only if something changes.
    let program = Program::start(path, &[])?;
    std::thread::sleep(Duration::from_secs(2));
    let alone = busy(&program, span, &mut [])?;
    let mut streams = (0..viewers).map(|_| view(&program)).collect::<Result<Vec<_>, _>>()?;
    Ok((alone, busy(&program, span, &mut streams)?))
}

fn view(program: &Program) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(program.address()).map_err(|error| error.to_string())?;
    let request = b"GET /api/resilience/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut head = [0; 12];
    let told = stream.write_all(request).and_then(|()| stream.read_exact(&mut head));
    told.and_then(|()| stream.set_nonblocking(true)).map_err(|error| error.to_string())?;
    if head.ends_with(b"200") { Ok(stream) } else { Err("a viewer was rejected".to_owned()) }
}

/// Share of a core that the program uses while all viewers read.
fn busy(program: &Program, span: Duration, streams: &mut [TcpStream]) -> Result<f64, String> {
    let (before, _) = spent(program.id())?;
    let began = Instant::now();
    let mut frames = vec![0; streams.len()];
    let mut buffer = vec![0; 1 << 16];
    while began.elapsed() < span {
        for (stream, frames) in streams.iter_mut().zip(&mut frames) {
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return Err("the connection of a viewer was closed".to_owned()),
                    Ok(count) => *frames += buffer[..count].windows(2).filter(|two| two == b"\n\n").count(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(format!("a viewer: {error}")),
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = spent(program.id())?.0.saturating_sub(before);
    // There is one frame per second, and only slow viewers miss frames.
    let fewest = usize::try_from(span.as_secs()).unwrap_or_default().saturating_sub(2);
    if frames.iter().any(|&frames| frames < fewest) {
        return Err(format!("viewers received too few frames: {frames:?}"));
    }
    Ok(took.as_secs_f64() / began.elapsed().as_secs_f64())
}
