//! Section `storage`: how market data is kept and served.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Faults, Size};

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

/// How the stream is cut into inserts; whichever limit comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// Rows of one insert.
    pub rows_max: usize,
    /// Bytes of one insert.
    pub bytes_max: Size,
    /// How long a started cut waits for more.
    #[serde(with = "crate::duration")]
    pub linger: Duration,
}

impl Default for Cut {
    fn default() -> Self {
        Self { rows_max: 500_000, bytes_max: Size::mib(64), linger: Duration::from_millis(20) }
    }
}

/// What is kept at hand for fast answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hot {
    /// Latest trades kept per symbol.
    pub trades: usize,
}

impl Default for Hot {
    fn default() -> Self {
        Self { trades: 1000 }
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
    }
}
