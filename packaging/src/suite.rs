//! What the suite consists of: the only place where a port, a user, an order or a limit is written.

/// Seconds a stop may take between two requests for more time: more than a daemon's drain of 45 s.
pub const STOP_SECONDS: u32 = 60;

/// The system group of all services; each service has a user of its own in it.
pub const GROUP: &str = "marketprism";

/// The configuration that every service reads; that of an instance is beside it.
pub const CONFIGURATION: &str = "/etc/marketprism/services.yaml";

/// Where the project is at home.
pub const DOCUMENTATION: &str = env!("CARGO_PKG_REPOSITORY");

/// The manual page of the suite as a whole.
pub(crate) const OVERVIEW: &str = "marketprism(7)";

/// Where operators read more, as `Documentation=` has it: a manual page first, which is on the host.
pub(crate) fn documentation(page: &str) -> String {
    format!("man:{page} {DOCUMENTATION}")
}

/// One process of the suite that systemd keeps running.
#[derive(Debug)]
pub struct Service {
    /// Short name, as in `marketprism-<name>.service`, the user and the directories.
    pub name: &'static str,
    /// What it is, after "MarketPrism" in `Description=`.
    pub summary: &'static str,
    /// What the package of it brings, after "This package brings": lines of at most 70 characters.
    pub brings: &'static str,
    /// Packages of Debian's that it needs beside its libraries.
    pub packages: &'static [&'static str],
    /// What runs in it.
    pub program: Program,
    /// TCP port on loopback that it listens on by default.
    pub port: u16,
    /// Services of the suite that start before it and stop after it.
    pub after: &'static [&'static str],
    /// Services of the suite that are started with it, though it never depends on their success.
    pub wants: &'static [&'static str],
    /// Units of the host that start before it where they exist; they are never pulled in.
    pub after_host: &'static [&'static str],
    /// Who it talks to.
    pub reach: Reach,
    /// The memory at which the kernel ends it.
    pub memory: Limit,
    /// The descriptors it may have open.
    pub descriptors: Limit,
    /// Seconds a start may take between two requests for more time.
    pub start_seconds: u32,
    /// What happens when starts go on failing.
    pub perseverance: Perseverance,
    /// Whether it holds data that is nowhere else yet.
    pub recorder: bool,
    /// The NATS users whose passwords it is given.
    pub bus_users: BusUsers,
    /// Secrets of databases that it is given where they exist.
    pub secrets: &'static [Secret],
    /// Whether further instances can run beside it, each with a configuration of its own,
    /// `/etc/marketprism/<name>-<instance>.yaml`.
    pub instances: bool,
    /// Whether systemd holds its listening socket, so that a restart refuses no connection.
    pub socket: bool,
}

/// What a service runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// One of our daemons, `/usr/bin/marketprism-<name>`, which speaks systemd's notify protocol.
    Daemon,
    /// Debian's nats-server, which does not, with a configuration rendered before each start.
    NatsServer,
}

/// Who a service talks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Hosts that only the operator knows: venues, clients, receivers of notifications.
    World,
    /// The other services, NATS and databases, which by default are on this host.
    Suite,
}

/// A number with its reason.
#[derive(Debug)]
pub struct Limit {
    /// As systemd reads it.
    pub value: &'static str,
    /// Why it is not lower or higher.
    pub because: &'static str,
}

/// What happens when starts go on failing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Perseverance {
    /// systemd starts it again for ever: while it is down, market data is lost.
    Endless,
    /// After [`STARTS_MAX`] starts within [`STARTS_MINUTES`] it is left failed, for a person to look at.
    Bounded,
}

/// Starts that a service with [`Perseverance::Bounded`] has.
pub const STARTS_MAX: u32 = 30;

/// Minutes over which starts are counted.
pub const STARTS_MINUTES: u32 = 10;

/// A secret of the operator's own, which is not made at install.
#[derive(Debug)]
pub struct Secret {
    /// The credential, after `marketprism.`.
    pub name: &'static str,
    /// What it is, as a sentence.
    pub meaning: &'static str,
    /// The setting that can name a file in its place.
    pub setting: &'static str,
}

/// The NATS users whose passwords a service is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BusUsers {
    /// Its own.
    Own,
    /// Those of all daemons, because it checks them.
    All,
}

impl Service {
    /// The name without a suffix: of the unit, the user and the runtime directory.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("marketprism-{}", self.name)
    }

    /// Its manual page.
    pub(crate) fn page(&self) -> String {
        format!("{}(8)", self.unit())
    }

    /// The program that is installed for it.
    #[must_use]
    pub fn binary(&self) -> String {
        format!("/usr/bin/marketprism-{}", self.name)
    }
}

/// Every service, in the order in which they start.
pub const SERVICES: &[Service] =
    &[MONITORING, NATS, BROKER, STORAGE, COLLECTOR, GATEWAY, SCHEDULER];

/// The six services that are written here, in the order in which they start.
pub fn daemons() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(|service| service.program == Program::Daemon)
}

const MONITORING: Service = Service {
    name: "monitoring",
    summary: "monitoring",
    brings: "the monitoring, which watches units over D-Bus and the\nmetrics of all services, and raises alerts",
    packages: &["procps"],
    program: Program::Daemon,
    port: 8083,
    after: &[],
    wants: &[],
    after_host: &[],
    reach: Reach::World,
    memory: Limit {
        value: "192M",
        because: "a few thousand series per peer and the alert history",
    },
    descriptors: Limit { value: "4096", because: "one connection per peer and client" },
    // Everything else starts behind it, so it may not hold a boot up for long.
    start_seconds: 15,
    perseverance: Perseverance::Bounded,
    recorder: false,
    bus_users: BusUsers::Own,
    secrets: &[],
    instances: false,
    socket: false,
};

const NATS: Service = Service {
    name: "nats",
    summary: "message bus (nats-server with JetStream)",
    brings: "the message bus",
    packages: &[],
    program: Program::NatsServer,
    port: 4230,
    after: &["monitoring"],
    wants: &[],
    after_host: &["network-online.target"],
    reach: Reach::Suite,
    memory: Limit {
        value: "1G",
        because: "JetStream's block caches, and a buffer per slow consumer",
    },
    descriptors: Limit { value: "65536", because: "clients, and one file per open stream block" },
    start_seconds: 30,
    perseverance: Perseverance::Endless,
    recorder: true,
    bus_users: BusUsers::All,
    secrets: &[],
    instances: false,
    socket: false,
};

const BROKER: Service = Service {
    name: "broker",
    summary: "message broker",
    brings: "the message broker, which runs a NATS server with JetStream\nof its own, keeps its streams as declared and removes what everybody has read",
    packages: &["nats-server", "procps"],
    program: Program::Daemon,
    port: 8085,
    after: &["monitoring", "nats"],
    wants: &["nats"],
    after_host: &["network-online.target", "nats-server.service"],
    reach: Reach::Suite,
    memory: Limit {
        value: "192M",
        because: "descriptions of streams and consumers, and 1 MiB of messages for each peek",
    },
    descriptors: Limit { value: "4096", because: "one connection to NATS and its HTTP clients" },
    // It waits up to 15 s for JetStream before it starts degraded.
    start_seconds: 30,
    perseverance: Perseverance::Endless,
    recorder: false,
    bus_users: BusUsers::Own,
    secrets: &[],
    instances: false,
    socket: false,
};

const STORAGE_SECRETS: &[Secret] = &[
    Secret {
        name: "clickhouse-storage",
        meaning: "The password of the ClickHouse user.",
        setting: "storage.clickhouse.password_file",
    },
    Secret {
        name: "clickhouse-sql",
        meaning: "The password of the ClickHouse user who may only read.",
        setting: "storage.clickhouse.sql.password_file",
    },
    Secret {
        name: "redis-storage",
        meaning: "The password of Redis.",
        setting: "storage.hot.redis.password_file",
    },
];

const STORAGE: Service = Service {
    name: "storage",
    summary: "data storage",
    brings: "the data storage, which keeps rows in an embedded Parquet\narchive and answers queries",
    packages: &["procps"],
    program: Program::Daemon,
    port: 8082,
    after: &["monitoring", "broker"],
    wants: &[],
    after_host: &["clickhouse-server.service", "redis-server.service", "valkey-server.service"],
    reach: Reach::Suite,
    memory: Limit {
        value: "2G",
        because: "384 MiB of blocks and cuts, the identity sets, a Parquet row group, queries",
    },
    descriptors: Limit { value: "16384", because: "segments and Parquet files under query" },
    start_seconds: 90,
    perseverance: Perseverance::Endless,
    recorder: true,
    bus_users: BusUsers::Own,
    secrets: STORAGE_SECRETS,
    instances: false,
    socket: false,
};

const COLLECTOR_SECRETS: &[Secret] = &[Secret {
    name: "proxy-collector",
    meaning: "The user and password of the proxy towards the venues.",
    setting: "collector.proxy_auth_file",
}];

const COLLECTOR: Service = Service {
    name: "collector",
    summary: "market data collector",
    brings: "the market data collector, which connects to venues,\nkeeps order books and records every gap",
    packages: &["ca-certificates", "procps"],
    program: Program::Daemon,
    port: 8081,
    after: &["monitoring", "broker", "storage"],
    wants: &[],
    after_host: &["network-online.target", "time-sync.target"],
    reach: Reach::World,
    memory: Limit {
        value: "1G",
        because: "64 MiB of unsent blocks and the books of all liquid instruments",
    },
    descriptors: Limit { value: "4096", because: "venue connections and spool segments" },
    start_seconds: 60,
    perseverance: Perseverance::Endless,
    recorder: true,
    bus_users: BusUsers::Own,
    secrets: COLLECTOR_SECRETS,
    instances: true,
    socket: false,
};

const GATEWAY: Service = Service {
    name: "gateway",
    summary: "API gateway",
    brings: "the API gateway, the one door to the other services, with\nAPI keys and limits",
    packages: &["procps"],
    program: Program::Daemon,
    port: 8080,
    after: &["monitoring", "broker", "storage"],
    wants: &[],
    after_host: &[],
    reach: Reach::World,
    memory: Limit {
        value: "512M",
        because: "1,024 connections, each with its header, body and stream buffers",
    },
    descriptors: Limit { value: "16384", because: "two per proxied connection, and WebSockets" },
    start_seconds: 30,
    perseverance: Perseverance::Bounded,
    recorder: false,
    bus_users: BusUsers::Own,
    secrets: &[],
    instances: false,
    socket: true,
};

const SCHEDULER: Service = Service {
    name: "scheduler",
    summary: "scheduler",
    brings: "the scheduler, which calls the other services at the times\nof a cron table",
    packages: &["procps", "tzdata"],
    program: Program::Daemon,
    port: 8084,
    after: &["monitoring", "broker", "storage"],
    wants: &[],
    after_host: &[],
    reach: Reach::Suite,
    memory: Limit { value: "128M", because: "the task table and a page of history" },
    descriptors: Limit { value: "4096", because: "one connection per running task and client" },
    start_seconds: 30,
    perseverance: Perseverance::Bounded,
    recorder: false,
    bus_users: BusUsers::Own,
    secrets: &[],
    instances: false,
    socket: false,
};
