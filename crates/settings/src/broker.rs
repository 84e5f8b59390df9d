//! Section `broker`: the NATS server and its streams.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Faults, Size};

/// Smallest stream: the largest block takes 0.9 MB.
const STREAM_MIN: Size = Size::mib(4);

/// A cluster works while more than half of a stream's servers do, so an even number adds a server
/// that may fail and no failure that is survived; more than five is more than NATS takes.
const REPLICAS: [u8; 3] = [1, 3, 5];

/// The NATS server and its streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// The suite's own NATS server, `marketprism-nats.service`.
    pub nats: Nats,
    /// How many servers of a cluster keep each stream: 1, 3 or 5.
    pub replicas: u8,
    /// How long a block that everybody has read is kept for replay.
    #[serde(with = "crate::duration")]
    pub replay_window: Duration,
    /// Space on disk of each stream.
    pub streams: Streams,
    /// How long the start waits for NATS before it reports ready, though degraded.
    #[serde(with = "crate::duration")]
    pub ready_wait: Duration,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8085).into(),
            nats: Nats::default(),
            replicas: 1,
            replay_window: Duration::from_hours(1),
            streams: Streams::default(),
            ready_wait: Duration::from_secs(15),
        }
    }
}

/// The suite's own NATS server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// Address and port for clients.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Address and port of its monitoring interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub monitor: SocketAddr,
    /// The program.
    pub server: PathBuf,
    /// Space on disk of all streams together.
    pub max_file_store: Size,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 4230).into(),
            monitor: (Ipv4Addr::LOCALHOST, 8230).into(),
            server: PathBuf::from("/usr/sbin/nats-server"),
            max_file_store: Size::gib(8),
        }
    }
}

/// Space on disk of each stream; when one is full, collectors spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// Trades.
    pub trade: Size,
    /// Aggregated trades.
    pub agg_trade: Size,
    /// Book snapshots and updates.
    pub book: Size,
    /// Best bid and offer.
    pub bbo: Size,
    /// 24-hour tickers.
    pub ticker: Size,
    /// Closed candles.
    pub kline: Size,
    /// Mark and index prices.
    pub mark: Size,
    /// Funding of perpetuals.
    pub funding: Size,
    /// Open interest.
    pub open_interest: Size,
    /// Liquidations.
    pub liquidation: Size,
    /// Long/short ratios.
    pub long_short_ratio: Size,
    /// Volatility indexes.
    pub volatility_index: Size,
    /// Gap records.
    pub gap: Size,
    /// States of the feeds.
    pub status: Size,
    /// Rows that could not be stored; when it is full, storage waits.
    pub dead_letter: Size,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            trade: Size::gib(1),
            agg_trade: Size::gib(1),
            book: Size::gib(3),
            bbo: Size::gib(1),
            ticker: Size::mib(512),
            kline: Size::mib(256),
            mark: Size::mib(256),
            funding: Size::mib(64),
            open_interest: Size::mib(64),
            liquidation: Size::mib(64),
            long_short_ratio: Size::mib(64),
            volatility_index: Size::mib(64),
            gap: Size::mib(64),
            status: Size::mib(64),
            dead_letter: Size::mib(64),
        }
    }
}

impl Streams {
    /// Every stream by the name of its kind, that of the dead letters last.
    #[must_use]
    pub fn all(&self) -> [(&'static str, Size); 15] {
        [
            ("trade", self.trade),
            ("agg_trade", self.agg_trade),
            ("book", self.book),
            ("bbo", self.bbo),
            ("ticker", self.ticker),
            ("kline", self.kline),
            ("mark", self.mark),
            ("funding", self.funding),
            ("open_interest", self.open_interest),
            ("liquidation", self.liquidation),
            ("long_short_ratio", self.long_short_ratio),
            ("volatility_index", self.volatility_index),
            ("gap", self.gap),
            ("status", self.status),
            ("dead_letter", self.dead_letter),
        ]
    }
}

impl Broker {
    pub(crate) fn check(&self, faults: &mut Faults) {
        if self.ready_wait > Duration::from_secs(20) {
            faults.add("broker.ready_wait", "must not be longer than 20s");
        }
        if !REPLICAS.contains(&self.replicas) {
            faults.add("broker.replicas", "must be 1, 3 or 5");
        }
        for (name, size) in self.streams.all() {
            faults.nonzero(&format!("broker.streams.{name}"), size.bytes());
        }
        let total = self.streams.all().iter().map(|(_, size)| size.bytes()).sum::<u64>();
        if total > self.nats.max_file_store.bytes() {
            let message = format!(
                "is less than the streams of `broker.streams` together, {}",
                Size::new(total),
            );
            faults.add("broker.nats.max_file_store", message);
        }
        for (name, size) in self.streams.all() {
            if !size.is_empty() && size < STREAM_MIN {
                let message = format!("must be at least {STREAM_MIN}, the room of a few blocks");
                faults.add(&format!("broker.streams.{name}"), message);
            }
        }
        if !self.nats.monitor.ip().is_loopback() {
            faults.add("broker.nats.monitor", "must be on loopback: it has no authentication");
        }
        if self.nats.listen == self.nats.monitor {
            faults.add("broker.nats.monitor", "must not be the address of `broker.nats.listen`");
        }
    }
}
