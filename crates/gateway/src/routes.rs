//! The route table: every path that passes the gateway, and where it goes.

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
    /// `/`: the status page, or the page that asks for a key.
    Home,
    /// The gateway's own state.
    Status,
    /// The backends as the gateway sees them.
    Services,
    /// What passed the gateway.
    Stats,
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
    /// Position in [`TABLE`]; the statistics are kept by it.
    pub(crate) index: usize,
}

/// Number of lines in [`TABLE`].
pub(crate) const ROUTES: usize = 15;

/// The table. Its order does not matter: no two patterns match the same path, except the last,
/// which stands for every path that none of the others matches.
pub(crate) static TABLE: [Route; ROUTES] = [
    route(0, "/", Target::Home),
    route(1, "/_gateway/status", Target::Status),
    route(2, "/_gateway/services", Target::Services),
    route(3, "/_gateway/stats", Target::Stats),
    route(4, "/api/v1/collector/*", Target::Backend(Backend::Collector)),
    route(5, "/api/v1/orderbook/*", Target::Backend(Backend::Collector)),
    route(6, "/api/v1/storage/*", Target::Backend(Backend::Storage)),
    route(7, "/api/v1/overview", Target::Backend(Backend::Monitoring)),
    route(8, "/api/v1/services", Target::Backend(Backend::Monitoring)),
    route(9, "/api/v1/services/*", Target::Backend(Backend::Monitoring)),
    route(10, "/api/v1/alerts", Target::Backend(Backend::Monitoring)),
    route(11, "/api/v1/alerts/*", Target::Backend(Backend::Monitoring)),
    route(12, "/api/v1/scheduler/*", Target::Backend(Backend::Scheduler)),
    route(13, "/api/v1/broker/*", Target::Backend(Backend::Broker)),
    route(14, "none", Target::Nowhere),
];

const fn route(index: usize, pattern: &'static str, target: Target) -> Route {
    Route { pattern, target, index }
}

impl Route {
    /// Finds the line for a path.
    pub(crate) fn of(path: &str) -> &'static Route {
        TABLE.iter().find(|route| route.matches(path)).unwrap_or(&TABLE[ROUTES - 1])
    }

    fn matches(&self, path: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => self.pattern == path,
        }
    }
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
            "/ws/v1/stream",
            "/_gateway/",
            "/metrics2",
        ] {
            assert_eq!(Route::of(path).target, Target::Nowhere, "{path}");
        }
    }
}
