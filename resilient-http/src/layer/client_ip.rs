//! Client addresses behind proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, request::Parts};
use ipnet::IpNet;

/// The maximum number of addresses in `X-Forwarded-For` that are read; real proxy chains are shorter.
const MAX_PROXIES: usize = 32;

/// Finds the address of a client behind trusted proxies.
///
/// Each proxy appends the address of its peer to `X-Forwarded-For`. The client itself can send any value for the addresses
/// further left. The header is therefore read from right to left, and only while the address found so far belongs to a trusted
/// proxy.
///
/// ```
/// use resilient_http::layer::ClientIp;
///
/// let by_peer = ClientIp::direct();
/// let behind_ours = ClientIp::behind(["10.0.0.0/8", "127.0.0.1"])?;
/// # Ok::<_, resilient_http::layer::BadNetwork>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClientIp {
    trusted: Vec<IpNet>,
}

/// The error for text that is not an IP address or network.
///
/// ```
/// use resilient_http::layer::ClientIp;
///
/// let error = ClientIp::behind(["10.0.0.0/8", "our proxy"]).unwrap_err();
/// assert!(error.to_string().starts_with("`our proxy` is not an IP address or network"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IP address or network; write it as `10.0.0.0/8` or `::1`")]
pub struct BadNetwork(String);

impl ClientIp {
    /// Uses the peer address of the connection and ignores headers.
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use axum::extract::ConnectInfo;
    /// # use resilient_http::layer::ClientIp;
    /// let request = http::Request::get("/").header("x-forwarded-for", "203.0.113.9");
    /// let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000)));
    /// let (parts, ()) = request.extension(peer).body(()).unwrap().into_parts();
    /// assert_eq!(ClientIp::direct().of(&parts), Some([192, 0, 2, 7].into()));
    /// ```
    pub fn direct() -> Self {
        Self::default()
    }

    /// Trusts proxies with these addresses or in these networks, such as `10.0.0.1` or `10.0.0.0/8`.
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use axum::extract::ConnectInfo;
    /// # use resilient_http::layer::ClientIp;
    /// let request = http::Request::get("/").header("x-forwarded-for", "a lie, 203.0.113.9");
    /// let proxy = ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 40_000)));
    /// let (parts, ()) = request.extension(proxy).body(()).unwrap().into_parts();
    /// assert_eq!(ClientIp::behind(["10.0.0.0/8"])?.of(&parts), Some([203, 0, 113, 9].into()));
    /// # Ok::<_, resilient_http::layer::BadNetwork>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`BadNetwork`] for the first item that is not an IP address or network.
    pub fn behind<N: AsRef<str>>(proxies: impl IntoIterator<Item = N>) -> Result<Self, BadNetwork> {
        let parse = |proxy: N| {
            let text = proxy.as_ref();
            let network = text.trim().parse().or_else(|_| text.trim().parse::<IpAddr>().map(IpNet::from));
            network.map(canonical).map_err(|_| BadNetwork(text.chars().take(64).collect()))
        };
        Ok(Self { trusted: proxies.into_iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Returns the address of the client of a request.
    ///
    /// Returns `None` if the request has no peer address. [`HttpServer`](crate::HttpServer) provides it; with `axum::serve`,
    /// use `into_make_service_with_connect_info::<SocketAddr>()`.
    ///
    /// ```
    /// use resilient_http::layer::ClientIp;
    ///
    /// let (parts, ()) = http::Request::new(()).into_parts();
    /// assert_eq!(ClientIp::direct().of(&parts), None, "the server did not provide a peer address");
    /// ```
    pub fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(self.behind_peer(peer.ip(), &parts.headers))
    }

    fn behind_peer(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values = headers.get_all("x-forwarded-for").into_iter().rev();
        // Bytes, because a hop that is not valid text must not hide the hops before it.
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MAX_PROXIES) {
            if !self.trusts(client) {
                break;
            }
            // A trusted proxy writes only addresses.
            let Some(before) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else {
                break;
            };
            client = before.to_canonical();
        }
        client
    }

    /// Whether the address, in its canonical form, belongs to a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Converts an IPv4-mapped IPv6 network (`::ffff:10.0.0.0/104`) to IPv4, as is done with client addresses.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(v6) => v6.prefix_len().checked_sub(96).zip(v6.addr().to_ipv4_mapped()),
        IpNet::V4(_) => None,
    };
    let v4 = mapped.and_then(|(bits, address)| ipnet::Ipv4Net::new(address, bits).ok());
    v4.map_or(network, IpNet::V4)
}

/// Parses an address with or without a port; IPv6 with or without brackets and a zone.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (bare, port) = rest.split_once(']')?;
        return is_port(port).then(|| v6(bare)).flatten().map(IpAddr::V6);
    }
    if let Some(address) = v6(text) {
        return Some(address.into());
    }
    let (bare, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    is_port(port).then(|| bare.parse().ok()).flatten().map(IpAddr::V4)
}

fn v6(text: &str) -> Option<Ipv6Addr> {
    let bare = text.split_once('%').map_or(text, |(bare, _zone)| bare);
    bare.parse().ok()
}

/// Whether the text is empty, or a colon and a port (RFC 3986, section 3.2.3).
pub(crate) fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    text.is_empty()
        || (text.starts_with(':') && is_number && (digits.is_empty() || digits.parse::<u16>().is_ok()))
}

/// Returns the address that identifies a client.
///
/// For IPv6 it is the /64 network, because one client can own a whole one. All loopback addresses (`127.0.0.0/8` and `::1`)
/// are one client, because any local program can use each of them.
pub(crate) fn client_of(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    if address.is_loopback() { Ipv4Addr::LOCALHOST.into() } else { network_of(address) }
}

/// Returns the address; for IPv6, its /64 network.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        ClientIp::behind(trusted).unwrap().behind_peer(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn addresses_that_the_client_wrote_itself_are_ignored() {
        assert_eq!(of(&[], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9", "no proxy is trusted");
        assert_eq!(of(&["10.0.0.0/8"], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9", "the peer is not a proxy");
        assert_eq!(
            of(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.1.1.1"]),
            "1.1.1.1",
            "the client wrote 6.6.6.6"
        );
        assert_eq!(of(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), "1.1.1.1");
        assert_eq!(of(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6", "1.1.1.1"]), "1.1.1.1", "in two headers");
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_bytes(b"\xfc, 1.1.1.1").unwrap());
        let client = ClientIp::behind(["10.0.0.1"]).unwrap().behind_peer([10, 0, 0, 1].into(), &headers);
        assert_eq!(client.to_string(), "1.1.1.1", "invalid text hides nothing");
    }

    #[test]
    fn all_forms_of_addresses_are_parsed_and_other_text_ends_the_chain() {
        assert_eq!(of(&["10.0.0.1"], "10.0.0.1", &["1.1.1.1:4711"]), "1.1.1.1");
        assert_eq!(of(&["10.0.0.1"], "::ffff:10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(of(&["::1"], "::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of(&["fe80::/10"], "fe80::7", &["[fe80::9%eth0]:4711, fe80::8%eth0"]), "fe80::9");
        assert_eq!(of(&["::ffff:10.0.0.0/104"], "::ffff:10.0.0.1", &["1.1.1.1, 10.0.0.2"]), "1.1.1.1");
        for nonsense in [
            "unknown",
            "",
            "1.1.1",
            "1.1.1.1 evil",
            "[",
            "[]:1",
            "\u{fc}",
            "[::1",
            "[::2].evil.example",
            "[::2]x",
            "[::2]:x",
            "[1.1.1.1]",
            "1.1.1.1:+5",
            "1.1.1.1:65536",
            "1.1.1.1@2",
            "2001:db8::1]",
            "::2]:7",
        ] {
            assert_eq!(of(&["10.0.0.1"], "10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense:?}");
        }
        let long = vec!["10.0.0.1"; 100_000].join(",");
        assert_eq!(of(&["10.0.0.1"], "10.0.0.1", &[&long]), "10.0.0.1");
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |text: &str| client_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:3::"), of("2001:db8:1:2::"));
        assert_eq!(of("::ffff:1.2.3.4"), "1.2.3.4");
        // Any local program can use all of these addresses.
        for own in ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.2", "127.255.255.255"] {
            assert_eq!(of(own), "127.0.0.1", "{own}");
        }
        let bad = ClientIp::behind(["10.0.0.0/33"]).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "`10.0.0.0/33` is not an IP address or network; write it as `10.0.0.0/8` or `::1`"
        );
    }
}
