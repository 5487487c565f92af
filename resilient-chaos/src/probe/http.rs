//! A small HTTP client for probes: it reads the status of one GET.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest status line that is read, in bytes.
const LINE: usize = 256;

/// An address that a probe can request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// Parses an `http://` URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("`url` = \"{url}\" is refused: {why}");
        if url.starts_with("https://") {
            return Err(refused(
                "a probe has no TLS; request the address behind the TLS proxy with `http://`, or use a health check of the program",
            ));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| refused("expected `http://host:port/path`"))?;
        if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("it contains a space or a control character"));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // An IPv6 address is in brackets, and contains colons.
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => {
                (host, port.parse().map_err(|_| refused("the port must be a number from 1 to 65535"))?)
            }
            None => (authority, 80),
        };
        if host.is_empty() || host.contains('@') {
            return Err(refused("expected `http://host:port/path` without a user name"));
        }
        Ok(Self { host: host.to_owned(), port, path })
    }
}

/// Requests an address, and returns the status.
pub(crate) async fn get(address: &Address, timeout: Duration) -> Option<u16> {
    // Real time, also under a virtual clock: the request is outside of the program.
    tokio::time::timeout(timeout, request(address)).await.ok().flatten()
}

async fn request(address: &Address) -> Option<u16> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((host, address.port)).await.ok()?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}:{}\r\nuser-agent: resilient-chaos\r\naccept: */*\r\nconnection: close\r\n\r\n",
        address.path, address.host, address.port
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut line = Vec::with_capacity(LINE);
    while !line.contains(&b'\n') && line.len() < LINE {
        let mut part = [0; 64];
        let count = stream.read(&mut part).await.ok()?;
        if count == 0 {
            break;
        }
        line.extend_from_slice(&part[..count]);
    }
    status(&line)
}

fn status(line: &[u8]) -> Option<u16> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    words.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn addresses_without_http_or_a_host_are_refused_with_the_remedy() {
        let address = Address::parse("http://[::1]:8080/health?deep=1#top").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.path.as_str()),
            ("[::1]", 8080, "/health?deep=1")
        );
        assert_eq!(Address::parse("http://localhost").unwrap().port, 80);
        for bad in ["https://a", "ftp://a", "http://", "http://a:b/", "http://a b/", "http://u@h/", "a:80"] {
            assert!(Address::parse(bad).unwrap_err().contains("is refused: "), "{bad}");
        }
    }

    #[test]
    fn only_a_status_line_is_a_status() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        for bad in [&b""[..], b"HTTP/1.1\r\n", b"SSH-2.0\r\n", b"HTTP/1.1 99 x\r\n", b"\xff\xff 200\n"] {
            assert_eq!(status(bad), None);
        }
    }

    #[tokio::test]
    async fn the_status_of_a_server_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 12];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET /health ");
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap();
        };
        let address = Address::parse(&url).unwrap();
        let (status, ()) = tokio::join!(get(&address, Duration::from_mins(1)), server);
        assert_eq!(status, Some(503));
        drop(listener);
        assert_eq!(get(&address, Duration::from_mins(1)).await, None, "the server is gone");
    }
}
