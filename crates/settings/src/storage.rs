//! Section `storage`: how market data is kept and served.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults, Size};

/// How market data is kept and served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Where rows are kept: `archive`, `clickhouse`, or `auto`, which is ClickHouse if it is
    /// configured and else the archive.
    pub warehouse: Warehouse,
    /// The embedded Parquet archive.
    pub archive: Archive,
    /// A ClickHouse server.
    pub clickhouse: ClickHouse,
    /// How the stream is cut into inserts.
    pub cut: Cut,
    /// What is kept at hand for fast answers.
    pub hot: Hot,
    /// How long rows are kept, by kind.
    pub retention: Retention,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8082).into(),
            warehouse: Warehouse::Auto,
            archive: Archive::default(),
            clickhouse: ClickHouse::default(),
            cut: Cut::default(),
            hot: Hot::default(),
            retention: Retention::default(),
        }
    }
}

/// Where rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warehouse {
    /// ClickHouse if it is configured, else the archive.
    Auto,
    /// The embedded Parquet archive.
    Archive,
    /// A ClickHouse server.
    #[serde(rename = "clickhouse")]
    ClickHouse,
}

/// The embedded Parquet archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    /// Age at which an open segment is rolled into Parquet.
    #[serde(with = "crate::duration")]
    pub roll_interval: Duration,
    /// Size at which an open segment is rolled into Parquet.
    pub roll_bytes: Size,
}

impl Default for Archive {
    fn default() -> Self {
        Self { roll_interval: Duration::from_mins(10), roll_bytes: Size::mib(64) }
    }
}

/// A ClickHouse server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouse {
    /// Address of its HTTP interface: `http://` or `https://`. Not set: there is none.
    pub url: Option<Endpoint>,
    /// Certification authority to trust with `https://` instead of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The database, which is made if it is missing.
    pub database: String,
    /// The user, who must be allowed to make tables in the database.
    pub user: String,
    /// File that holds the user's password.
    ///
    /// Not set: the systemd credential `marketprism.clickhouse-storage`, and without that no
    /// password.
    pub password_file: Option<PathBuf>,
    /// How long a connection may take, and a TLS handshake after it.
    #[serde(with = "crate::duration")]
    pub connect_timeout: Duration,
    /// How long an insert or a query may take.
    #[serde(with = "crate::duration")]
    pub request_timeout: Duration,
    /// The cluster that the server belongs to.
    pub cluster: Cluster,
    /// Statements of others, as a user who may only read.
    pub sql: Sql,
}

/// Statements of others, as a user who may only read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sql {
    /// The user, who may do nothing but `SELECT` from the database. Not set: no statements.
    pub user: Option<String>,
    /// File that holds the user's password.
    ///
    /// Not set: the systemd credential `marketprism.clickhouse-sql`, and without that no password.
    pub password_file: Option<PathBuf>,
    /// How many run at a time.
    pub at_once: usize,
    /// How long one may run.
    #[serde(with = "crate::duration")]
    pub execution_max: Duration,
    /// Memory of the server that one may take.
    pub memory_max: Size,
    /// Rows of an answer, which is cut off there and says so.
    pub rows_max: usize,
    /// Bytes of an answer, which is cut off there and says so.
    pub bytes_max: Size,
    /// How many statements a key may send in an hour.
    pub statements_per_hour: u32,
    /// How long those of a key may run in an hour, together.
    #[serde(with = "crate::duration")]
    pub execution_per_hour: Duration,
}

impl Sql {
    /// Bytes of an answer at most: the command `marketprism sql` reads no more, and storage has one
    /// in memory as a whole.
    pub const BYTES_MAX: Size = Size::mib(32);
}

impl Default for Sql {
    fn default() -> Self {
        Self {
            user: None,
            password_file: None,
            at_once: 2,
            execution_max: Duration::from_secs(30),
            memory_max: Size::gib(1),
            rows_max: 100_000,
            bytes_max: Size::mib(16),
            statements_per_hour: 600,
            execution_per_hour: Duration::from_mins(10),
        }
    }
}

/// A cluster of ClickHouse servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Its name in the servers' `remote_servers`. Not set: the server stands alone.
    pub name: Option<String>,
    /// What the names of the tables end with through which the rows of all shards are written and
    /// read.
    pub distributed_suffix: String,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { name: None, distributed_suffix: "_all".to_owned() }
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            database: "marketprism".to_owned(),
            user: "default".to_owned(),
            password_file: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_mins(1),
            cluster: Cluster::default(),
            sql: Sql::default(),
        }
    }
}

/// How the stream is cut into inserts; whichever limit comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// Rows of one insert.
    pub rows_max: usize,
    /// Bytes of the blocks in hand and the cuts made of them, all kinds together.
    pub bytes_max: Size,
    /// How long a started cut waits for more; with ClickHouse at least 1 s.
    #[serde(with = "crate::duration")]
    pub linger: Duration,
}

impl Default for Cut {
    fn default() -> Self {
        Self { rows_max: 500_000, bytes_max: Size::mib(384), linger: Duration::from_millis(20) }
    }
}

/// What is kept at hand for fast answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hot {
    /// Latest trades kept per symbol.
    pub trades: usize,
    /// A Redis server, from which other programs read the same.
    pub redis: Redis,
}

impl Default for Hot {
    fn default() -> Self {
        Self { trades: 1000, redis: Redis::default() }
    }
}

/// A Redis server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// Its address: `redis://` or `rediss://`, with a user and a database where there are any, such
    /// as `redis://127.0.0.1:6379/0`. Not set: there is none.
    pub url: Option<Endpoint>,
    /// File that holds the password.
    ///
    /// Not set: the systemd credential `marketprism.redis-storage`, and without that no password.
    pub password_file: Option<PathBuf>,
    /// How long a connection or an answer may take.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// How long a value stays that is not renewed.
    #[serde(with = "crate::duration")]
    pub ttl: Duration,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            password_file: None,
            timeout: Duration::from_secs(1),
            ttl: Duration::from_hours(24),
        }
    }
}

/// How long rows are kept, by kind; zero keeps them for ever.
///
/// Whole days go, in UTC, and only when the cleanup is called for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Trades.
    #[serde(with = "crate::duration")]
    pub trade: Duration,
    /// Aggregate trades.
    #[serde(with = "crate::duration")]
    pub agg_trade: Duration,
    /// Book snapshots and diffs.
    #[serde(with = "crate::duration")]
    pub book: Duration,
    /// Best bids and offers.
    #[serde(with = "crate::duration")]
    pub bbo: Duration,
    /// Tickers.
    #[serde(with = "crate::duration")]
    pub ticker: Duration,
    /// Candles.
    #[serde(with = "crate::duration")]
    pub kline: Duration,
    /// Mark and index prices.
    #[serde(with = "crate::duration")]
    pub mark: Duration,
    /// Funding of perpetuals.
    #[serde(with = "crate::duration")]
    pub funding: Duration,
    /// Open interest.
    #[serde(with = "crate::duration")]
    pub open_interest: Duration,
    /// Liquidations.
    #[serde(with = "crate::duration")]
    pub liquidation: Duration,
    /// Long/short ratios.
    #[serde(with = "crate::duration")]
    pub long_short_ratio: Duration,
    /// Volatility indexes.
    #[serde(with = "crate::duration")]
    pub volatility_index: Duration,
    /// Gap records.
    #[serde(with = "crate::duration")]
    pub gap: Duration,
    /// Changes of connections' states.
    #[serde(with = "crate::duration")]
    pub status: Duration,
}

impl Storage {
    pub(crate) fn check(&self, faults: &mut Faults) {
        faults.positive("storage.archive.roll_interval", self.archive.roll_interval);
        faults.nonzero("storage.archive.roll_bytes", self.archive.roll_bytes.bytes());
        faults.nonzero("storage.cut.rows_max", self.cut.rows_max as u64);
        faults.nonzero("storage.cut.bytes_max", self.cut.bytes_max.bytes());
        faults.nonzero("storage.hot.trades", self.hot.trades as u64);
        self.clickhouse.check(faults);
        self.hot.redis.check(faults);
    }
}

impl ClickHouse {
    fn check(&self, faults: &mut Faults) {
        if let Some(url) = &self.url {
            faults.scheme("storage.clickhouse.url", url, &["http", "https"]);
        }
        let is_plain = self.url.as_ref().is_some_and(|url| url.url().scheme() == "http");
        if self.ca_file.is_some() && is_plain {
            let message = "has no effect: `storage.clickhouse.url` is not https://";
            faults.add("storage.clickhouse.ca_file", message);
        }
        let is_part = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && is_part(text)
        };
        if !is_name(&self.database) {
            let message = "must be a name of letters, digits and _, such as `marketprism`";
            faults.add("storage.clickhouse.database", message);
        }
        if self.cluster.name.as_deref().is_some_and(|name| !is_name(name)) {
            let message = "must be a name of letters, digits and _";
            faults.add("storage.clickhouse.cluster.name", message);
        }
        let suffix = &self.cluster.distributed_suffix;
        if suffix.is_empty() || !is_part(suffix) {
            let message = "must be letters, digits and _, such as `_all`";
            faults.add("storage.clickhouse.cluster.distributed_suffix", message);
        }
        faults.positive("storage.clickhouse.connect_timeout", self.connect_timeout);
        faults.positive("storage.clickhouse.request_timeout", self.request_timeout);
        self.sql.check(faults);
        if self.sql.user.as_ref() == Some(&self.user) {
            let message = "must be a user of its own, who may only read: `storage.clickhouse.user` \
                           is the one who writes";
            faults.add("storage.clickhouse.sql.user", message);
        }
    }
}

impl Sql {
    fn check(&self, faults: &mut Faults) {
        let key = |name: &str| format!("storage.clickhouse.sql.{name}");
        // The server counts it in seconds.
        if self.execution_max < Duration::from_secs(1) {
            faults.add(&key("execution_max"), "must be at least 1s");
        }
        if self.bytes_max > Self::BYTES_MAX {
            faults.add(&key("bytes_max"), "must be at most 32MiB");
        }
        for (name, number) in [
            ("at_once", self.at_once as u64),
            ("memory_max", self.memory_max.bytes()),
            ("rows_max", self.rows_max as u64),
            ("bytes_max", self.bytes_max.bytes()),
            ("statements_per_hour", self.statements_per_hour.into()),
        ] {
            faults.nonzero(&key(name), number);
        }
        faults.positive(&key("execution_per_hour"), self.execution_per_hour);
    }
}

impl Redis {
    fn check(&self, faults: &mut Faults) {
        if let Some(url) = &self.url {
            faults.scheme("storage.hot.redis.url", url, &["redis", "rediss"]);
        }
        faults.positive("storage.hot.redis.timeout", self.timeout);
        // Redis counts in seconds.
        if self.ttl < Duration::from_secs(1) {
            faults.add("storage.hot.redis.ttl", "must be at least 1s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_others_run_as_another_user_within_limits() {
        let said = |change: fn(&mut ClickHouse)| {
            let (mut settings, mut faults) = (ClickHouse::default(), Faults::default());
            change(&mut settings);
            settings.check(&mut faults);
            faults.into_vec().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said(|settings| settings.sql.user = Some("reader".to_owned())), [""; 0]);
        let same = said(|settings| settings.sql.user = Some(settings.user.clone()));
        assert!(same.len() == 1 && same[0].contains("sql.user"), "{same:?}");
        let short = said(|settings| settings.sql.execution_max = Duration::from_millis(999));
        assert!(short.len() == 1 && short[0].contains("at least 1s"), "{short:?}");
        let large = said(|settings| settings.sql.bytes_max = Size::gib(1));
        assert!(large.len() == 1 && large[0].contains("at most 32MiB"), "{large:?}");
        let none = said(|settings| settings.sql.statements_per_hour = 0);
        assert!(none.len() == 1 && none[0].contains("statements_per_hour"), "{none:?}");
    }
}
