//! Who is calling: the socket's peer, or whom a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, VIA};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use settings::Network;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Headers that betray a proxy between the client and this host's loopback.
static PROXY_TRACES: [HeaderName; 4] = [
    FORWARDED,
    VIA,
    HeaderName::from_static(X_FORWARDED_FOR),
    HeaderName::from_static("x-real-ip"),
];

/// The origin of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The client's address: what failures are counted by and backends are told.
    pub(crate) address: IpAddr,
    /// Whether it is a process of this host that speaks for itself.
    ///
    /// Decided by the socket alone. A request that came over loopback through a proxy is not
    /// local, whoever the proxy says the client is. Whether a local browser speaks for its user or
    /// for a page of somebody else, [`is_for_this_host`] tells.
    pub(crate) is_local: bool,
    is_by_trusted_proxy: bool,
    is_encrypted: bool,
}

impl Caller {
    /// Names the caller behind a socket.
    pub(crate) fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> Caller {
        let peer = peer.ip().to_canonical();
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let is_by_trusted_proxy = is_trusted(peer);
        let is_proxied = headers.keys().any(|name| PROXY_TRACES.contains(name));
        let address = if is_by_trusted_proxy { named(headers, peer, is_trusted) } else { peer };
        let is_local = peer.is_loopback() && !is_proxied;
        Caller { address, is_local, is_by_trusted_proxy, is_encrypted: false }
    }

    /// Notes that the socket is encrypted.
    pub(crate) fn encrypted(self, is_encrypted: bool) -> Caller {
        Caller { is_encrypted, ..self }
    }

    /// Whether what the client sends is encrypted, as far as we can know.
    pub(crate) fn is_encrypted(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(X_FORWARDED_PROTO).filter(|_| self.is_by_trusted_proxy);
        said.map_or(self.is_encrypted, |said| said.as_bytes() == b"https")
    }

    /// Returns the protocol that the client used, as far as we can know.
    pub(crate) fn protocol(&self, headers: &HeaderMap) -> HeaderValue {
        HeaderValue::from_static(if self.is_encrypted(headers) { "https" } else { "http" })
    }
}

/// Whether a request was meant for this host by a name that only this host can have.
///
/// The owner of a web page can have its name resolve to a loopback address (DNS rebinding): the
/// page's scripts ask over loopback then, and may read the answer, but `Host` says that name. No
/// browser leaves it out.
pub(crate) fn is_for_this_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => return true,
        (Some(host), None) => Authority::try_from(host.as_bytes()),
        (Some(_), Some(_)) => return false,
    };
    host.is_ok_and(|authority| {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    })
}

/// Reads `X-Forwarded-For` from its end: each trusted proxy vouches for the entry before its own,
/// so the first address that is not trusted is the client. Entries before it are hearsay.
fn named(headers: &HeaderMap, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let values: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut client = peer;
    for entry in values.iter().rev().flat_map(|list| list.rsplit(',')) {
        let Ok(address) = entry.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> Caller {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Caller::of(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &trusted)
    }

    fn address(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        caller(peer, forwarded, trusted).address.to_string()
    }

    #[test]
    fn a_stranger_cannot_name_another_address() {
        assert_eq!(address("203.0.113.9", &["127.0.0.1"], &[]), "203.0.113.9");
        assert!(!caller("203.0.113.9", &["127.0.0.1"], &[]).is_local);
    }

    #[test]
    fn a_trusted_proxy_names_the_client_and_hearsay_before_it_is_ignored() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(address("10.0.0.1", &["1.2.3.4, 198.51.100.7"], &trusted), "198.51.100.7");
        assert_eq!(
            address("10.0.0.1", &["1.2.3.4", "198.51.100.7, 10.9.9.9"], &trusted),
            "198.51.100.7"
        );
        assert_eq!(address("10.0.0.1", &["1.2.3.4, unknown"], &trusted), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn only_a_name_that_nobody_else_can_have_is_this_host() {
        let is_ours = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            is_for_this_host(&headers)
        };
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "127.0.1.1", "[::1]:8080"] {
            assert!(is_ours(&[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "user@evil.example",
            "203.0.113.9",
            "",
            "not a host",
        ] {
            assert!(!is_ours(&[host]), "{host}");
        }
        assert!(is_ours(&[]), "HTTP/1.0 needs none");
        assert!(!is_ours(&["localhost", "evil.example"]));
    }

    #[test]
    fn only_a_bare_loopback_socket_is_local() {
        assert!(caller("127.0.0.1", &[], &[]).is_local);
        assert!(caller("::1", &[], &[]).is_local);
        assert!(caller("::ffff:127.0.0.1", &[], &[]).is_local);
        assert!(!caller("127.0.0.1", &["203.0.113.9"], &[]).is_local);
        assert!(!caller("127.0.0.1", &["127.0.0.1"], &["127.0.0.1"]).is_local);
        assert!(!caller("10.0.0.1", &["127.0.0.1"], &["10.0.0.0/8"]).is_local);
    }
}
