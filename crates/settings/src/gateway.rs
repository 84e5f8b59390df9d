//! Section `gateway`: the one door to the suite.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults, Network, Size};

/// The one door to the suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Address and port of the HTTP interface.
    ///
    /// Under systemd the socket unit listens, and the address here must be the same.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Where the other services are.
    pub backends: Backends,
    /// Certificate chain for HTTPS, a PEM file.
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate, a PEM file.
    pub private_key: Option<PathBuf>,
    /// Whether plain HTTP may be served beyond this host.
    pub allow_plaintext: bool,
    /// Networks of load balancers whose `X-Forwarded-*` headers count, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// Connections open at a time, of all clients together.
    pub connections_max: usize,
    /// How long a client may take to send a request's headers.
    #[serde(with = "crate::duration")]
    pub header_timeout: Duration,
    /// How long a new connection may be silent.
    #[serde(with = "crate::duration")]
    pub first_byte_timeout: Duration,
    /// How long a connection may rest between two requests.
    #[serde(with = "crate::duration")]
    pub idle_timeout: Duration,
    /// Largest request body.
    pub body_max: Size,
    /// Largest request line and headers together; at least 8 KiB.
    pub header_bytes_max: Size,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            backends: Backends::default(),
            certificate: None,
            private_key: None,
            allow_plaintext: false,
            trusted_proxies: Vec::new(),
            connections_max: 1024,
            header_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            body_max: Size::mib(1),
            header_bytes_max: Size::kib(32),
        }
    }
}

impl Gateway {
    pub(crate) fn check(&self, faults: &mut Faults) {
        self.backends.check(faults);
        faults.positive("gateway.header_timeout", self.header_timeout);
        faults.positive("gateway.first_byte_timeout", self.first_byte_timeout);
        faults.positive("gateway.idle_timeout", self.idle_timeout);
        faults.nonzero("gateway.connections_max", self.connections_max as u64);
        faults.nonzero("gateway.body_max", self.body_max.bytes());
        if self.header_bytes_max < Size::kib(8) {
            faults.add("gateway.header_bytes_max", "must be at least 8KiB");
        }
        if self.certificate.is_some() && self.private_key.is_none() {
            faults.add("gateway.certificate", "needs `gateway.private_key` as well");
        }
        if self.private_key.is_some() && self.certificate.is_none() {
            faults.add("gateway.private_key", "needs `gateway.certificate` as well");
        }
        if !self.listen.ip().is_loopback() && self.certificate.is_none() && !self.allow_plaintext {
            faults.add(
                "gateway.listen",
                "is beyond loopback: set `gateway.certificate` and `gateway.private_key`, or \
                 `gateway.allow_plaintext: true`",
            );
        }
    }
}

/// Where the other services are: each `http://` or `https://`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backends {
    /// The market data collector.
    pub collector: Endpoint,
    /// The data storage.
    pub storage: Endpoint,
    /// The monitoring.
    pub monitoring: Endpoint,
    /// The scheduler.
    pub scheduler: Endpoint,
    /// The message broker.
    pub broker: Endpoint,
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            collector: Endpoint::fixed("http://127.0.0.1:8081"),
            storage: Endpoint::fixed("http://127.0.0.1:8082"),
            monitoring: Endpoint::fixed("http://127.0.0.1:8083"),
            scheduler: Endpoint::fixed("http://127.0.0.1:8084"),
            broker: Endpoint::fixed("http://127.0.0.1:8085"),
        }
    }
}

impl Backends {
    /// Every backend by the name of its service.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Endpoint); 5] {
        [
            ("collector", &self.collector),
            ("storage", &self.storage),
            ("monitoring", &self.monitoring),
            ("scheduler", &self.scheduler),
            ("broker", &self.broker),
        ]
    }

    fn check(&self, faults: &mut Faults) {
        for (name, endpoint) in self.all() {
            faults.scheme(&format!("gateway.backends.{name}"), endpoint, &["http", "https"]);
        }
    }
}
