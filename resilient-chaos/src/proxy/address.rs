//! Addresses of listeners and upstreams.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::ProxyError;

/// Maximum length of an address in bytes: a DNS name has at most 253.
const LONGEST: usize = 300;

/// Splits `host:port`.
fn host_and_port<'a>(field: &'static str, address: &'a str) -> Result<(&'a str, u16), ProxyError> {
    let invalid = |reason: &str| invalid(field, address, reason);
    if address.len() > LONGEST {
        return Err(invalid("the address is too long"));
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("the port is missing"))?;
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(invalid("an IPv6 address needs brackets, such as `[::1]:6379`"));
    }
    let port = port.parse().map_err(|_| invalid("the port is not a number from 0 to 65535"))?;
    Ok((host, port))
}

fn invalid(field: &'static str, address: &str, reason: &str) -> ProxyError {
    let address = address.chars().take(LONGEST).collect();
    ProxyError::InvalidAddress { field, address, reason: reason.to_owned() }
}

/// Checks the form of an upstream. Its name is resolved for each connection, because it can change.
pub(super) fn check_upstream(upstream: &str) -> Result<(), ProxyError> {
    let (host, port) = host_and_port("upstream", upstream)?;
    if host.is_empty() {
        return Err(invalid("upstream", upstream, "the host is missing"));
    }
    if port == 0 {
        return Err(invalid("upstream", upstream, "the port is 0"));
    }
    Ok(())
}

/// Resolves the address of a listener, which only this machine can reach, unless `allow_remote`.
///
/// A missing host means all addresses of the machine.
pub(super) async fn resolve_listen(listen: &str, allow_remote: bool) -> Result<SocketAddr, ProxyError> {
    let address = resolve(listen).await?;
    if !allow_remote && !address.ip().to_canonical().is_loopback() {
        return Err(ProxyError::NotLoopback { address });
    }
    Ok(address)
}

async fn resolve(listen: &str) -> Result<SocketAddr, ProxyError> {
    let (host, port) = host_and_port("listen", listen)?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let found = tokio::net::lookup_host(listen).await;
    let mut found: Vec<SocketAddr> =
        found.map_err(|error| invalid("listen", listen, &error.to_string()))?.collect();
    // `localhost` means 127.0.0.1, also on machines that list ::1 first.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| invalid("listen", listen, "the name has no address"))
}

/// Whether connections to `upstream` would arrive at the proxy itself.
pub(super) fn is_own(upstream: &str, listen: SocketAddr) -> bool {
    let Ok((host, port)) = host_and_port("upstream", upstream) else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip: Option<IpAddr> = if host.eq_ignore_ascii_case("localhost") {
        Some(Ipv4Addr::LOCALHOST.into())
    } else {
        host.parse().ok()
    };
    let is_here = |ip: IpAddr| {
        let ip = ip.to_canonical();
        ip == listen.ip().to_canonical() || (listen.ip().is_unspecified() && ip.is_loopback())
    };
    port == listen.port() && ip.is_some_and(is_here)
}

/// Opens a listener.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, ProxyError> {
    TcpListener::bind(address).await.map_err(|source| {
        let explanation = explain(&source, address);
        ProxyError::Listen { address, explanation, source }
    })
}

fn explain(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "address already in use by another program: find it with `ss -ltnp 'sport = :{port}'`, or use port 0"
        ),
        io::ErrorKind::AddrNotAvailable => format!("this machine does not have the address {}", address.ip()),
        io::ErrorKind::PermissionDenied => format!("no permission for port {port}: use a port above 1023"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_upstreams_are_explained() {
        let reason = |upstream: &str| check_upstream(upstream).map_err(|error| error.to_string());
        for (upstream, expected) in [
            ("localhost", "the port is missing"),
            ("localhost:", "the port is not a number"),
            ("localhost:99999", "the port is not a number"),
            (":6379", "the host is missing"),
            ("localhost:0", "the port is 0"),
            ("::1:6379", "needs brackets"),
            (&"x".repeat(1000), "too long"),
        ] {
            let error = reason(upstream).unwrap_err();
            assert!(error.contains(expected) && error.contains("host:port"), "{error}");
            assert!(error.len() < 500);
        }
        for upstream in ["localhost:6379", "[::1]:6379", "10.0.0.1:1", "db.internal:5432"] {
            assert_eq!(reason(upstream), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_listener_without_a_host_is_not_loopback() {
        assert!(resolve_listen(":0", true).await.unwrap().ip().is_unspecified());
        for remote in [":0", "0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[::ffff:10.0.0.1]:0"] {
            let refused = resolve_listen(remote, false).await;
            assert!(matches!(refused, Err(ProxyError::NotLoopback { .. })), "{remote}");
        }
        assert_eq!(resolve_listen("localhost:80", false).await.unwrap(), "127.0.0.1:80".parse().unwrap());
        assert!(resolve_listen("local373", false).await.is_err());
        assert!(resolve_listen("[::ffff:127.0.0.1]:0", false).await.is_ok());
    }

    #[tokio::test]
    async fn a_port_in_use_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = listen(taken.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("address already in use") && error.contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn a_proxy_of_itself_is_found() {
        let listen = |text: &str| text.parse().unwrap();
        assert!(is_own("127.0.0.1:80", listen("127.0.0.1:80")));
        assert!(is_own("localhost:80", listen("127.0.0.1:80")));
        assert!(is_own("127.0.0.1:80", listen("0.0.0.0:80")));
        assert!(is_own("[::1]:80", listen("[::1]:80")));
        assert!(!is_own("127.0.0.1:81", listen("127.0.0.1:80")));
        assert!(!is_own("10.0.0.1:80", listen("127.0.0.1:80")));
    }
}
