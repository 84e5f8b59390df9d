//! The route table: every path that passes the gateway, and where it goes.

use http::Method;
use keyring::Scope;

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
    /// A collector beside the first, by its place in `gateway.backends.collectors`.
    Further(u8),
}

/// What the collectors beside the first are called, after the configuration's key.
const FURTHER: [&str; settings::Backends::COLLECTORS_MAX] = [
    "collectors[0]",
    "collectors[1]",
    "collectors[2]",
    "collectors[3]",
    "collectors[4]",
    "collectors[5]",
    "collectors[6]",
    "collectors[7]",
    "collectors[8]",
    "collectors[9]",
    "collectors[10]",
    "collectors[11]",
    "collectors[12]",
    "collectors[13]",
    "collectors[14]",
    "collectors[15]",
];

impl Backend {
    /// The services that routes lead to, in the order of the pages and of [`Backend::index`].
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
            Backend::Further(place) => FURTHER[usize::from(place)],
        }
    }

    /// Returns the backend at a position; after those of [`Backend::ALL`] come the further
    /// collectors, as many as there may be.
    pub(crate) fn at(index: usize) -> Option<Backend> {
        let named = Backend::ALL.get(index).copied();
        named.or_else(|| {
            let place =
                index.checked_sub(Backend::ALL.len()).filter(|place| *place < FURTHER.len())?;
            u8::try_from(place).ok().map(Backend::Further)
        })
    }

    /// Every backend that there may be.
    pub(crate) fn every() -> impl Iterator<Item = Backend> {
        (0..).map_while(Backend::at)
    }

    /// Returns the position among every one.
    #[must_use]
    pub(crate) fn index(self) -> usize {
        match self {
            Backend::Collector => 0,
            Backend::Storage => 1,
            Backend::Monitoring => 2,
            Backend::Scheduler => 3,
            Backend::Broker => 4,
            Backend::Further(place) => Backend::ALL.len() + usize::from(place),
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
    /// An end to the tokens of a login.
    Logout,
    /// Another service; the path is handed over unchanged.
    Backend(Backend),
    /// Nobody: 404.
    Nowhere,
}

impl Target {
    /// Whether it is the gateway's own state, which a client on this host sees without a key.
    pub(crate) fn is_own_state(self) -> bool {
        match self {
            Target::Status | Target::Services | Target::Stats => true,
            Target::Home
            | Target::Stream
            | Target::Login
            | Target::Refresh
            | Target::Logout
            | Target::Backend(_)
            | Target::Nowhere => false,
        }
    }
}

/// The scopes that a line wants, by what a request does.
#[derive(Clone, Copy, Debug)]
struct Needs {
    /// `GET` and `HEAD`.
    reading: Scope,
    /// `POST`.
    posting: Scope,
    /// Every other method.
    editing: Scope,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path, or a prefix that ends in `/*` and wants at least one more character.
    pub(crate) pattern: &'static str,
    pub(crate) target: Target,
    needs: Needs,
    /// Position in [`TABLE`]; the statistics are kept by it.
    pub(crate) index: usize,
}

/// Number of lines in [`TABLE`].
pub(crate) const ROUTES: usize = 25;

/// Where books are asked for; the collectors share them.
pub(crate) const BOOKS: &str = "/api/v1/orderbook/*";

/// Where statements in SQL are sent; each key has its share.
pub(crate) const SQL: &str = "/api/v1/storage/sql";

/// What most lines want.
const USUAL_SCOPES: Needs =
    Needs { reading: Scope::Read, posting: Scope::Write, editing: Scope::Write };

/// For what is asked with a `POST`, and changes nothing.
const ASKED: Needs = Needs { posting: Scope::Read, ..USUAL_SCOPES };

/// For what a service does to data that nobody can bring back, or to its very source.
const KEPT: Needs = Needs { posting: Scope::Admin, editing: Scope::Admin, ..USUAL_SCOPES };

/// For the gateway's own state.
const OWN: Needs = Needs { reading: Scope::Admin, ..KEPT };

/// The table. The first line that matches a path counts, so that a special one stands before the
/// general one; the last stands for every path that none of the others matches.
pub(crate) static TABLE: [Route; ROUTES] = [
    route(0, "/", Target::Home, USUAL_SCOPES),
    route(1, "/_gateway/status", Target::Status, OWN),
    route(2, "/_gateway/services", Target::Services, OWN),
    route(3, "/_gateway/stats", Target::Stats, OWN),
    route(4, "/api/v1/collector/*", Target::Backend(Backend::Collector), USUAL_SCOPES),
    route(5, BOOKS, Target::Backend(Backend::Collector), USUAL_SCOPES),
    // Deletes what is old.
    route(6, "/api/v1/storage/lifecycle/*", Target::Backend(Backend::Storage), KEPT),
    // A statement reads, whatever it is sent with.
    route(7, SQL, Target::Backend(Backend::Storage), ASKED),
    route(8, "/api/v1/storage/*", Target::Backend(Backend::Storage), USUAL_SCOPES),
    route(9, "/api/v1/overview", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    route(10, "/api/v1/services", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    route(11, "/api/v1/services/*", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    route(12, "/api/v1/alerts", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    route(13, "/api/v1/alerts/*", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    // A task asks any service for anything, as the scheduler; also to delete, so that running one
    // is as much.
    route(14, "/api/v1/scheduler/tasks", Target::Backend(Backend::Scheduler), KEPT),
    route(15, "/api/v1/scheduler/tasks/*", Target::Backend(Backend::Scheduler), KEPT),
    route(16, "/api/v1/scheduler/*", Target::Backend(Backend::Scheduler), USUAL_SCOPES),
    // What is published is stored as if a venue had said it.
    route(17, "/api/v1/broker/*", Target::Backend(Backend::Broker), KEPT),
    route(18, "/ws/v1/stream", Target::Stream, USUAL_SCOPES),
    route(19, "/api/v1/auth/login", Target::Login, USUAL_SCOPES),
    route(20, "/api/v1/auth/refresh", Target::Refresh, USUAL_SCOPES),
    route(21, "/api/v1/auth/logout", Target::Logout, USUAL_SCOPES),
    route(22, "/assets/*", Target::Home, USUAL_SCOPES),
    // Alertmanager's own, for `amtool` and Grafana.
    route(23, "/api/v2/*", Target::Backend(Backend::Monitoring), USUAL_SCOPES),
    route(24, "none", Target::Nowhere, USUAL_SCOPES),
];

const fn route(index: usize, pattern: &'static str, target: Target, needs: Needs) -> Route {
    Route { pattern, target, needs, index }
}

impl Route {
    /// Finds the line for a path.
    pub(crate) fn of(path: &str) -> &'static Route {
        let found = TABLE.iter().find(|route| route.matches(path));
        found.filter(|_| !has_dots(path)).unwrap_or(&TABLE[ROUTES - 1])
    }

    /// The scope that a request needs.
    pub(crate) fn scope(&self, method: &Method) -> Scope {
        if method == Method::GET || method == Method::HEAD {
            self.needs.reading
        } else if method == Method::POST {
            self.needs.posting
        } else {
            self.needs.editing
        }
    }

    /// The scope that a WebSocket needs beside that of the `GET` which asks for it.
    ///
    /// To a backend it may carry whatever a `POST` could, and nobody looks into it on the way.
    pub(crate) fn websocket_scope(&self) -> Scope {
        if matches!(self.target, Target::Backend(_)) {
            self.needs.posting
        } else {
            self.needs.reading
        }
    }

    /// Whether paths of this line may begin so.
    pub(crate) fn may_begin_with(&self, prefix: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(stem) => stem.starts_with(prefix) || prefix.starts_with(stem),
            None => self.pattern.starts_with(prefix),
        }
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
        assert!(Backend::every().take(Backend::ALL.len()).eq(Backend::ALL));
        let mut names = std::collections::BTreeSet::new();
        for (index, backend) in Backend::every().enumerate() {
            assert_eq!(backend.index(), index);
            assert!(names.insert(backend.name()), "{}", backend.name());
        }
        assert_eq!(names.len(), Backend::ALL.len() + settings::Backends::COLLECTORS_MAX);
    }

    #[test]
    fn what_cannot_be_undone_needs_admin() {
        use Scope::{Admin, Read, Write};
        for (path, reading, posting, editing) in [
            ("/_gateway/stats", Admin, Admin, Admin),
            ("/api/v1/broker/publish", Read, Admin, Admin),
            ("/api/v1/broker/dead-letters/redrive", Read, Admin, Admin),
            ("/api/v1/broker/dead-letters/discard", Read, Admin, Admin),
            ("/api/v1/storage/lifecycle/cleanup", Read, Admin, Admin),
            ("/api/v1/storage/cold/archive", Read, Write, Write),
            ("/api/v1/storage/sql", Read, Read, Write),
            ("/api/v1/storage/sql/x", Read, Write, Write),
            ("/api/v1/scheduler/tasks", Read, Admin, Admin),
            ("/api/v1/scheduler/tasks/x", Read, Admin, Admin),
            ("/api/v1/scheduler/tasks/x/run", Read, Admin, Admin),
            ("/api/v1/scheduler/backup", Read, Write, Write),
            ("/api/v1/collector/backfill", Read, Write, Write),
            ("/nowhere", Read, Write, Write),
        ] {
            let route = Route::of(path);
            for (methods, scope) in [
                (&[Method::GET, Method::HEAD][..], reading),
                (&[Method::POST][..], posting),
                (&[Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS][..], editing),
            ] {
                for method in methods {
                    assert_eq!(route.scope(method), scope, "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn a_websocket_of_a_backend_needs_what_a_post_does() {
        for (path, scope) in [
            ("/ws/v1/stream", Scope::Read),
            ("/_gateway/stats", Scope::Admin),
            ("/api/v1/collector/x", Scope::Write),
            ("/api/v1/storage/lifecycle/x", Scope::Admin),
            ("/api/v1/scheduler/tasks/x", Scope::Admin),
            ("/api/v1/broker/x", Scope::Admin),
        ] {
            assert_eq!(Route::of(path).websocket_scope(), scope, "{path}");
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
