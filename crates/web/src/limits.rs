//! How much a client may take.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How much one client, and all of them together, may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at a time. For another one the connection is closed that has rested longest
    /// between two requests; if none rests, it waits, those after it in the kernel's queue.
    pub connections_max: usize,
    /// Connections open at a time from one address; more are closed. Loopback is not limited.
    pub connections_per_peer_max: usize,
    /// The addresses for which that does not count: those of proxies, which stand for many clients.
    pub proxies: Proxies,
    /// Longest time from the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// Longest silence of a new connection.
    pub first_byte_timeout: Duration,
    /// Longest rest of a connection between two requests.
    pub idle_timeout: Duration,
    /// Longest wait for the next part of a request's body, or for a client to take more of an
    /// answer.
    pub stall_timeout: Duration,
    /// Longest time given to requests under way when the server stops.
    pub drain: Duration,
    /// Largest body of a request, in bytes.
    pub body_max: usize,
    /// Whether the router itself answers a request that announces a larger one, as it answers all
    /// others: it finds [`TooLarge`](crate::TooLarge) among the request's extensions, and must not
    /// read the body. Otherwise such a request is answered with 413 and never gets there.
    pub router_answers_too_large: bool,
    /// Largest request line and headers together, in bytes; at least 8 KiB.
    pub header_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_peer_max: 256,
            proxies: Proxies::default(),
            header_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(5),
            body_max: 1 << 20,
            router_answers_too_large: false,
            header_bytes_max: 32 << 10,
        }
    }
}

impl Limits {
    /// Returns how many connections an address may have open at a time.
    #[must_use]
    pub fn connections_of(&self, address: IpAddr) -> usize {
        if self.proxies.include(address) { usize::MAX } else { self.connections_per_peer_max }
    }
}

/// Tells the addresses of proxies from those of clients; by default there are none.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>);

impl Proxies {
    /// Takes for a proxy what the rule says is one.
    pub fn that(rule: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(rule)))
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.as_ref().is_some_and(|rule| rule(address.to_canonical()))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Proxies(by rule)" } else { "Proxies(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_may_have_any_number_of_connections_and_others_may_not() {
        let proxy: IpAddr = "192.0.2.1".parse().unwrap();
        let proxies = Proxies::that(move |address| address == proxy);
        let limits = Limits { connections_per_peer_max: 7, proxies, ..Limits::default() };
        assert_eq!(limits.connections_of(proxy), usize::MAX);
        assert_eq!(limits.connections_of("::ffff:192.0.2.1".parse().unwrap()), usize::MAX);
        assert_eq!(limits.connections_of("192.0.2.2".parse().unwrap()), 7);
        assert_eq!(Limits::default().connections_of(proxy), 256);
    }
}
