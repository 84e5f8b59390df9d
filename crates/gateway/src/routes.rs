//! The route table: every path that passes the gateway, and where it goes.

use std::time::Duration;

/// A service behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    /// Venue connections and order books.
    Collector,
    /// Stored market data.
    Storage,
    /// Unit states, metrics and alerts.
    Monitoring,
    /// Scheduled tasks.
    Scheduler,
    /// The message broker's streams.
    Broker,
}

impl Backend {
    /// Every backend, in the order of the pages and of [`Backend::index`].
    pub(crate) const ALL: [Backend; 5] = [
        Backend::Collector,
        Backend::Storage,
        Backend::Monitoring,
        Backend::Scheduler,
        Backend::Broker,
    ];

    /// Returns the service's name.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Collector => "collector",
            Backend::Storage => "storage",
            Backend::Monitoring => "monitoring",
            Backend::Scheduler => "scheduler",
            Backend::Broker => "broker",
        }
    }

    /// Returns the position in [`Backend::ALL`].
    #[must_use]
    pub(crate) fn index(self) -> usize {
        match self {
            Backend::Collector => 0,
            Backend::Storage => 1,
            Backend::Monitoring => 2,
            Backend::Scheduler => 3,
            Backend::Broker => 4,
        }
    }
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The dashboard: its page and the files that this is made of.
    Home,
    /// The gateway's own state.
    Status,
    /// The backends as the gateway sees them.
    Services,
    /// What passed the gateway.
    Stats,
    /// The live stream, a WebSocket.
    Stream,
    /// A user and a password for tokens.
    Login,
    /// An old token for new ones.
    Refresh,
    /// Another service; the path is handed over unchanged.
    Backend(Backend),
    /// Nobody: 404.
    Nowhere,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path, or a prefix that ends in `/*` and wants at least one more character.
    pub(crate) pattern: &'static str,
    pub(crate) target: Target,
    /// Longest wait for the head of an answer.
    pub(crate) answer: Duration,
    /// Position in [`TABLE`]; the statistics are kept by it.
    pub(crate) index: usize,
}

/// Number of lines in [`TABLE`].
pub(crate) const ROUTES: usize = 20;

/// Where books are asked for; the collectors share them.
pub(crate) const BOOKS: &str = "/api/v1/orderbook/*";

/// For what a service answers from memory; more is a fault.
const QUICK: Duration = Duration::from_secs(10);

/// For what a service has to work for: it asks another, or the disk.
const USUAL: Duration = Duration::from_secs(30);

/// For queries over days of stored data, and for rolling them into files.
const LONG: Duration = Duration::from_secs(60);

/// The table. Its order does not matter: no two patterns match the same path, except the last,
/// which stands for every path that none of the others matches.
pub(crate) static TABLE: [Route; ROUTES] = [
    route(0, "/", Target::Home, QUICK),
    route(1, "/_gateway/status", Target::Status, QUICK),
    route(2, "/_gateway/services", Target::Services, QUICK),
    route(3, "/_gateway/stats", Target::Stats, QUICK),
    route(4, "/api/v1/collector/*", Target::Backend(Backend::Collector), USUAL),
    route(5, BOOKS, Target::Backend(Backend::Collector), QUICK),
    route(6, "/api/v1/storage/*", Target::Backend(Backend::Storage), LONG),
    route(7, "/api/v1/overview", Target::Backend(Backend::Monitoring), QUICK),
    route(8, "/api/v1/services", Target::Backend(Backend::Monitoring), QUICK),
    route(9, "/api/v1/services/*", Target::Backend(Backend::Monitoring), QUICK),
    route(10, "/api/v1/alerts", Target::Backend(Backend::Monitoring), QUICK),
    route(11, "/api/v1/alerts/*", Target::Backend(Backend::Monitoring), QUICK),
    route(12, "/api/v1/scheduler/*", Target::Backend(Backend::Scheduler), USUAL),
    route(13, "/api/v1/broker/*", Target::Backend(Backend::Broker), USUAL),
    route(14, "/ws/v1/stream", Target::Stream, QUICK),
    route(15, "/api/v1/auth/login", Target::Login, QUICK),
    route(16, "/api/v1/auth/refresh", Target::Refresh, QUICK),
    route(17, "/assets/*", Target::Home, QUICK),
    // Alertmanager's own, for `amtool` and Grafana.
    route(18, "/api/v2/*", Target::Backend(Backend::Monitoring), QUICK),
    route(19, "none", Target::Nowhere, QUICK),
];

const fn route(index: usize, pattern: &'static str, target: Target, answer: Duration) -> Route {
    Route { pattern, target, answer, index }
}

impl Route {
    /// Finds the line for a path.
    pub(crate) fn of(path: &str) -> &'static Route {
        let found = TABLE.iter().find(|route| route.matches(path));
        found.filter(|_| !has_dots(path)).unwrap_or(&TABLE[ROUTES - 1])
    }

    fn matches(&self, path: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => self.pattern == path,
        }
    }
}

/// Whether a segment is `.` or `..`, in any spelling: what stands between us and a backend may
/// resolve it (RFC 3986 §5.2.4), and end up on another path than the one that was looked up.
fn has_dots(path: &str) -> bool {
    let is_dots = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    };
    path.contains(['.', '%']) && path.split(['/', '\\']).any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_knows_its_place() {
        for (index, route) in TABLE.iter().enumerate() {
            assert_eq!(route.index, index);
            let path = route.pattern.replace('*', "x");
            assert_eq!(Route::of(&path).index, index, "{path}");
        }
        for (index, backend) in Backend::ALL.into_iter().enumerate() {
            assert_eq!(backend.index(), index);
        }
    }

    #[test]
    fn what_is_not_in_the_table_goes_nowhere() {
        for path in [
            "",
            "//",
            "/api",
            "/api/v1/collector",
            "/api/v1/collector/",
            "/api/v1/collectors/x",
            "/api/v1/overview/",
            "/API/v1/overview",
            "/api/v1/../v1/overview",
            "/ws/v1/stream/",
            "/_gateway/",
            "/metrics2",
            "/api/v1/storage/../broker/streams",
            "/api/v1/storage/%2e%2E/x",
            "/api/v1/storage/.%2e",
            "/api/v1/storage/./x",
            "/api/v1/storage/x\\..\\y",
        ] {
            assert_eq!(Route::of(path).target, Target::Nowhere, "{path}");
        }
    }
}
