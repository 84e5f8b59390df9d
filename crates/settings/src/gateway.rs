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
    /// How long backends may take, by the beginning of a path; the longest one counts.
    pub routes: Vec<RouteTimeouts>,
    /// Certificate chain for HTTPS, a PEM file.
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate, a PEM file.
    pub private_key: Option<PathBuf>,
    /// Whether plain HTTP may be served beyond this host.
    pub allow_plaintext: bool,
    /// Networks of load balancers whose `X-Forwarded-*` headers count, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// Connections open at a time, of all clients together; for another one the connection is
    /// closed that has rested longest between two requests.
    pub connections_max: usize,
    /// Connections open at a time from one address; those of `trusted_proxies` and of this host are
    /// not limited.
    pub connections_per_address: usize,
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
    /// Which requests are in the log.
    pub access_log: AccessLog,
    /// Memory for answers that say they may be kept; `0B` keeps none.
    pub cache_max: Size,
    /// Origins of web pages that may ask, such as `https://charts.example`; `*` is not one.
    pub cors_origins: Vec<String>,
    /// How many requests a client may send.
    pub rate: Rate,
    /// When a backend that fails is left alone for a while.
    pub breaker: Breaker,
    /// The live stream at `/ws/v1/stream`.
    pub stream: LiveStream,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            backends: Backends::default(),
            routes: RouteTimeouts::usual(),
            certificate: None,
            private_key: None,
            allow_plaintext: false,
            trusted_proxies: Vec::new(),
            connections_max: 1024,
            connections_per_address: 256,
            header_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            body_max: Size::mib(1),
            header_bytes_max: Size::kib(32),
            access_log: AccessLog::default(),
            cache_max: Size::mib(16),
            cors_origins: Vec::new(),
            rate: Rate::default(),
            breaker: Breaker::default(),
            stream: LiveStream::default(),
        }
    }
}

impl Gateway {
    pub(crate) fn check(&self, faults: &mut Faults) {
        self.backends.check(faults);
        RouteTimeouts::check(&self.routes, faults);
        self.rate.check(faults);
        self.breaker.check(faults);
        self.stream.check(faults);
        for (index, origin) in self.cors_origins.iter().enumerate() {
            if !is_origin(origin) {
                let key = format!("gateway.cors_origins[{index}]");
                faults.add(&key, "must be an origin such as `https://charts.example`");
            }
        }
        faults.positive("gateway.header_timeout", self.header_timeout);
        faults.positive("gateway.first_byte_timeout", self.first_byte_timeout);
        faults.positive("gateway.idle_timeout", self.idle_timeout);
        faults.nonzero("gateway.connections_max", self.connections_max as u64);
        let per_address = self.connections_per_address as u64;
        faults.nonzero("gateway.connections_per_address", per_address);
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

/// Which requests are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Every one.
    All,
    /// Those that were refused, failed or broke off; the others at the level `debug` alone.
    ///
    /// Counts and latencies of all are in the metrics, and a line for each request of a client
    /// that may send 200 a second would push what matters out of the journal.
    #[default]
    Errors,
}

/// Where the other services are: each `http://` or `https://`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backends {
    /// The market data collector.
    pub collector: Endpoint,
    /// Further collectors, of a pair or of shards, 16 at most: a book is asked for at each in turn.
    pub collectors: Vec<Endpoint>,
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
            collectors: Vec::new(),
            storage: Endpoint::fixed("http://127.0.0.1:8082"),
            monitoring: Endpoint::fixed("http://127.0.0.1:8083"),
            scheduler: Endpoint::fixed("http://127.0.0.1:8084"),
            broker: Endpoint::fixed("http://127.0.0.1:8085"),
        }
    }
}

impl Backends {
    /// How many collectors there may be beside the first.
    pub const COLLECTORS_MAX: usize = 16;

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
        if self.collectors.len() > Self::COLLECTORS_MAX {
            let most = Self::COLLECTORS_MAX;
            faults.add("gateway.backends.collectors", format!("must be {most} at most"));
        }
        for (index, endpoint) in self.collectors.iter().enumerate() {
            let key = format!("gateway.backends.collectors[{index}]");
            faults.scheme(&key, endpoint, &["http", "https"]);
        }
    }
}

/// How long a backend may take for the paths of one beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// What the path begins with, such as `/api/v1/storage/`.
    pub prefix: String,
    /// Longest wait from the last byte of a request to the head of its answer.
    #[serde(default = "RouteTimeouts::usual_length", with = "crate::duration")]
    pub answer_timeout: Duration,
    /// Longest silence within an answer, and of both sides of a `WebSocket`.
    #[serde(default = "RouteTimeouts::usual_length", with = "crate::duration")]
    pub idle_timeout: Duration,
}

impl RouteTimeouts {
    /// Either timeout where nothing else is said: a service may ask another, or the disk.
    pub const USUAL: Duration = Duration::from_secs(30);

    /// How many there may be: more than there are routes.
    const COUNT_MAX: usize = 64;

    /// Below is what a busy machine needs for a good answer, above what nobody waits for.
    const BOUNDS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(24 * 60 * 60)];

    fn usual_length() -> Duration {
        Self::USUAL
    }

    /// Queries over days take longer than what a service answers from memory.
    fn usual() -> Vec<Self> {
        let with = |prefix: &str, seconds| Self {
            prefix: prefix.to_owned(),
            answer_timeout: Duration::from_secs(seconds),
            idle_timeout: Self::USUAL,
        };
        vec![
            with("/api/v1/storage/", 60),
            with("/api/v1/orderbook/", 10),
            with("/api/v1/overview", 10),
            with("/api/v1/services", 10),
            with("/api/v1/alerts", 10),
            with("/api/v2/", 10),
        ]
    }

    fn check(routes: &[Self], faults: &mut Faults) {
        if routes.len() > Self::COUNT_MAX {
            faults.add("gateway.routes", format!("must be {} at most", Self::COUNT_MAX));
        }
        for (index, route) in routes.iter().enumerate() {
            let key = format!("gateway.routes[{index}]");
            let prefix = &route.prefix;
            if !prefix.starts_with('/') || prefix.contains('*') {
                let message = "must be the beginning of a path, such as `/api/v1/storage/`";
                faults.add(&format!("{key}.prefix"), message);
            }
            if routes.iter().take(index).any(|before| before.prefix == *prefix) {
                let message = format!("names `{prefix}` a second time");
                faults.add(&format!("{key}.prefix"), message);
            }
            let [least, most] = Self::BOUNDS;
            for (name, timeout) in
                [("answer_timeout", route.answer_timeout), ("idle_timeout", route.idle_timeout)]
            {
                if !(least..=most).contains(&timeout) {
                    faults.add(&format!("{key}.{name}"), "must be from 100ms to 1d");
                }
            }
        }
    }
}

/// Whether a text is what browsers send as `Origin`: scheme, host and port, and nothing behind.
fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

/// How many requests a client may send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Time over which requests are counted.
    #[serde(with = "crate::duration")]
    pub window: Duration,
    /// Requests of one API key or user within it; they may come all at once.
    pub per_key: u32,
    /// Requests of one address within it; of IPv6 a network of 64 bits. This host is not limited.
    pub per_address: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { window: Duration::from_secs(60), per_key: 12_000, per_address: 12_000 }
    }
}

impl Rate {
    fn check(&self, faults: &mut Faults) {
        faults.nonzero("gateway.rate.per_key", self.per_key.into());
        faults.nonzero("gateway.rate.per_address", self.per_address.into());
        let day = Duration::from_secs(24 * 60 * 60);
        if self.window < Duration::from_secs(1) || self.window > day {
            faults.add("gateway.rate.window", "must be from 1s to 1d");
        }
    }
}

/// When a backend that fails is left alone for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Time over which failures are counted.
    #[serde(with = "crate::duration")]
    pub window: Duration,
    /// Fewest requests within it from which anything is concluded.
    pub requests_min: u32,
    /// Share of failures, in percent, from which on the backend is left alone.
    pub failure_percent: u32,
    /// How long it is left alone before one request tries it; doubled by every failed try.
    #[serde(with = "crate::duration")]
    pub pause: Duration,
    /// Longest such time.
    #[serde(with = "crate::duration")]
    pub pause_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            requests_min: 20,
            failure_percent: 50,
            pause: Duration::from_secs(5),
            pause_max: Duration::from_secs(60),
        }
    }
}

impl Breaker {
    fn check(&self, faults: &mut Faults) {
        faults.positive("gateway.breaker.window", self.window);
        faults.positive("gateway.breaker.pause", self.pause);
        faults.nonzero("gateway.breaker.requests_min", self.requests_min.into());
        if !(1..=100).contains(&self.failure_percent) {
            faults.add("gateway.breaker.failure_percent", "must be from 1 to 100");
        }
        if self.pause_max < self.pause {
            faults.add("gateway.breaker.pause_max", "must not be less than `pause`");
        }
    }
}

/// The live stream at `/ws/v1/stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveStream {
    /// Connections open at a time, of all clients together; `WebSocket`s of backends are among
    /// them.
    pub connections_max: usize,
    /// Connections open at a time with one API key.
    pub connections_per_key: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Messages that may wait for a slow client.
    pub queue_messages: usize,
    /// Size that these may have together.
    pub queue_bytes: Size,
    /// Subscriptions on their way from the past to the present, of all clients together; 0 allows
    /// none.
    pub replays_max: usize,
    /// The same with one API key.
    pub replays_per_key: usize,
}

impl Default for LiveStream {
    fn default() -> Self {
        Self {
            connections_max: 256,
            connections_per_key: 16,
            subscriptions_max: 64,
            queue_messages: 4_096,
            queue_bytes: Size::mib(1),
            replays_max: 8,
            replays_per_key: 4,
        }
    }
}

impl LiveStream {
    fn check(&self, faults: &mut Faults) {
        for (key, number) in [
            ("connections_max", self.connections_max),
            ("connections_per_key", self.connections_per_key),
            ("subscriptions_max", self.subscriptions_max),
        ] {
            faults.nonzero(&format!("gateway.stream.{key}"), number as u64);
        }
        if self.queue_messages < 16 {
            faults.add("gateway.stream.queue_messages", "must be at least 16");
        }
        if self.queue_bytes < Size::kib(64) {
            faults.add("gateway.stream.queue_bytes", "must be at least 64KiB");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Gateway, String> {
        let loaded = crate::parse(vec![("services.yaml".into(), text.to_owned())]);
        loaded.map(|loaded| loaded.suite.gateway).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_of_a_route_is_the_usual() {
        let text = "gateway: {routes: [{prefix: /api/v1/storage/, answer_timeout: 2m}]}\n";
        let routes = read(text).unwrap().routes;
        let [RouteTimeouts { prefix, answer_timeout, idle_timeout }] = &routes[..] else {
            panic!("{routes:?}");
        };
        assert_eq!(prefix, "/api/v1/storage/");
        assert_eq!((answer_timeout.as_secs(), *idle_timeout), (120, RouteTimeouts::USUAL));
    }

    #[test]
    fn a_route_that_cannot_be_is_refused_at_its_place() {
        let refusal = read(
            "gateway:\n  routes:\n    - {prefix: /a}\n    - {prefix: /a, idle_timeout: 0s}\n    \
             - {prefix: b, answer_timeout: 2d}\n    - {prefix: /c/*}\n",
        )
        .unwrap_err();
        for expected in [
            "services.yaml:4:16: `gateway.routes[1].prefix` names `/a` a second time",
            "services.yaml:4:34: `gateway.routes[1].idle_timeout` must be from 100ms to 1d",
            "services.yaml:5:16: `gateway.routes[2].prefix` must be the beginning of a path",
            "services.yaml:5:35: `gateway.routes[2].answer_timeout` must be from 100ms to 1d",
            "services.yaml:6:16: `gateway.routes[3].prefix` must be the beginning of a path",
        ] {
            assert!(refusal.contains(expected), "{expected}: {refusal}");
        }
    }
}
