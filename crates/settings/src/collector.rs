//! Section `collector`: what is recorded, and from where.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults, Size};

/// What is recorded, and from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collector {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Name of this producer in the headers of the durable lane.
    ///
    /// Two collectors of one bus must not share it. Letters, digits, `-` and `_`.
    pub name: String,
    /// Space on disk for what the bus has not acknowledged.
    pub spool_max: Size,
    /// Memory for what the bus has not acknowledged, before the spool takes over.
    pub memory_max: Size,
    /// What is fetched again when it was missed.
    pub backfill: Backfill,
    /// The venues.
    pub venues: Venues,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            name: "collector".to_owned(),
            spool_max: Size::gib(1),
            memory_max: Size::mib(64),
            backfill: Backfill::default(),
            venues: Venues::default(),
        }
    }
}

/// What is fetched again when it was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backfill {
    /// Whether missing trades are fetched by their ids.
    pub enabled: bool,
    /// How much of the request weight that the collector uses of a venue is for it at most, 1 to 50
    /// percent.
    pub weight_percent: u32,
}

impl Default for Backfill {
    fn default() -> Self {
        Self { enabled: true, weight_percent: 20 }
    }
}

/// The venues.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Venues {
    /// Binance.
    pub binance: Binance,
}

/// The markets of Binance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Binance {
    /// The spot market.
    pub spot: BinanceSpot,
}

/// What is recorded of Binance's spot market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinanceSpot {
    /// Whether this market is recorded.
    pub enabled: bool,
    /// The symbols, as `BASE-QUOTE`.
    pub symbols: Vec<String>,
    /// The kinds of data: `trade`, `agg_trade`, `book`, `bbo`, `ticker`, `kline`.
    pub kinds: Vec<String>,
    /// The intervals of the candles, in the venue's notation.
    pub kline_intervals: Vec<String>,
    /// Base address of the REST interface.
    pub rest_url: Endpoint,
    /// Base address of the WebSocket streams.
    pub stream_url: Endpoint,
    /// Certificate authority to trust instead of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Levels per side of the snapshots a book is synchronised from, 1 to 5000.
    pub depth: u32,
    /// Streams on one connection, 1 to 1024.
    pub streams_per_connection: usize,
}

impl Default for BinanceSpot {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            enabled: true,
            symbols: owned(&["BTC-USDT"]),
            kinds: owned(&["trade", "book", "bbo", "ticker", "kline"]),
            kline_intervals: owned(&["1m"]),
            rest_url: Endpoint::fixed("https://api.binance.com"),
            stream_url: Endpoint::fixed("wss://stream.binance.com:9443"),
            ca_file: None,
            depth: 1000,
            streams_per_connection: 512,
        }
    }
}

impl Collector {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            faults.add("collector.name", "must be 1 to 64 letters, digits, `-` or `_`");
        }
        faults.nonzero("collector.spool_max", self.spool_max.bytes());
        faults.nonzero("collector.memory_max", self.memory_max.bytes());
        if !(1..=50).contains(&self.backfill.weight_percent) {
            faults.add("collector.backfill.weight_percent", "must be from 1 to 50");
        }
        self.venues.binance.spot.check("collector.venues.binance.spot", faults);
    }
}

impl BinanceSpot {
    fn check(&self, section: &str, faults: &mut Faults) {
        let key = |name: &str| format!("{section}.{name}");
        faults.scheme(&key("rest_url"), &self.rest_url, &["http", "https"]);
        faults.scheme(&key("stream_url"), &self.stream_url, &["ws", "wss"]);
        if !(1..=5000).contains(&self.depth) {
            faults.add(&key("depth"), "must be from 1 to 5000");
        }
        if !(1..=1024).contains(&self.streams_per_connection) {
            faults.add(&key("streams_per_connection"), "must be from 1 to 1024");
        }
        let mut seen = BTreeSet::new();
        for (index, symbol) in self.symbols.iter().enumerate() {
            let at = format!("{section}.symbols[{index}]");
            if let Err(error) = model::Symbol::new(symbol) {
                faults.add(&at, error.to_string());
            } else if !seen.insert(symbol) {
                faults.add(&at, format!("names `{symbol}` a second time"));
            }
        }
        for (index, kind) in self.kinds.iter().enumerate() {
            if let Err(error) = kind.parse::<model::Kind>() {
                faults.add(&format!("{section}.kinds[{index}]"), error.to_string());
            }
        }
        if self.enabled && self.symbols.is_empty() {
            faults.add(&key("symbols"), "is empty although the market is enabled");
        }
    }
}
