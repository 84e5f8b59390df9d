//! Section `collector.venues`: the markets, one key each.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use model::{Market, Venue};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Endpoint, Faults};

/// What is recorded of one market of a venue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VenueMarket {
    /// Whether this market is recorded.
    pub enabled: bool,
    /// The symbols: `BASE-QUOTE`, or the venue's own names of what ends one day.
    pub symbols: Vec<String>,
    /// Patterns of more symbols: `*` stands for any characters, `?` for one.
    pub r#match: Vec<String>,
    /// So many more with the largest volumes of 24 hours, of those that match.
    pub top: Option<u32>,
    /// Those more that end within this time, of those that match.
    #[serde(with = "crate::duration::optional")]
    pub expires_within: Option<Duration>,
    /// Patterns of what is not recorded, whatever the other keys say.
    pub exclude: Vec<String>,
    /// The kinds of data.
    pub kinds: Vec<String>,
    /// The intervals of the candles, in the venue's notation.
    pub kline_intervals: Vec<String>,
    /// Base address of the REST interface.
    pub rest_url: Endpoint,
    /// Base address of the WebSocket streams.
    pub stream_url: Endpoint,
    /// Certificate authority to trust instead of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Proxy towards the venue, in place of `collector.proxy`: `http://host:port` or
    /// `socks5://host:port`.
    pub proxy: Option<Endpoint>,
    /// File that holds `user:password` for this proxy.
    pub proxy_auth_file: Option<PathBuf>,
    /// Levels per side that a book is kept to, 1 to 5000, and that its snapshots are asked for.
    pub depth: u32,
    /// Streams on one connection, 1 to 1024.
    pub streams_per_connection: usize,
}

/// What a file says of a market; the rest has the market's own defaults.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    #[serde(deserialize_with = "given")]
    enabled: Option<bool>,
    #[serde(deserialize_with = "given")]
    symbols: Option<Vec<String>>,
    #[serde(deserialize_with = "given")]
    r#match: Option<Vec<String>>,
    #[serde(deserialize_with = "given")]
    top: Option<Option<u32>>,
    #[serde(deserialize_with = "given_duration")]
    expires_within: Option<Option<Duration>>,
    #[serde(deserialize_with = "given")]
    exclude: Option<Vec<String>>,
    #[serde(deserialize_with = "given")]
    kinds: Option<Vec<String>>,
    #[serde(deserialize_with = "given")]
    kline_intervals: Option<Vec<String>>,
    #[serde(deserialize_with = "given")]
    rest_url: Option<Endpoint>,
    #[serde(deserialize_with = "given")]
    stream_url: Option<Endpoint>,
    #[serde(deserialize_with = "given")]
    ca_file: Option<Option<PathBuf>>,
    #[serde(deserialize_with = "given")]
    proxy: Option<Option<Endpoint>>,
    #[serde(deserialize_with = "given")]
    proxy_auth_file: Option<Option<PathBuf>>,
    #[serde(deserialize_with = "given")]
    depth: Option<u32>,
    #[serde(deserialize_with = "given")]
    streams_per_connection: Option<usize>,
}

/// Reads a value that is there, so that `null` is none of a text or a number.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// As [`given`], for a time.
fn given_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<Duration>>, D::Error> {
    crate::duration::optional::deserialize(from).map(Some)
}

impl Given {
    fn over(self, default: VenueMarket) -> VenueMarket {
        VenueMarket {
            enabled: self.enabled.unwrap_or(default.enabled),
            symbols: self.symbols.unwrap_or(default.symbols),
            r#match: self.r#match.unwrap_or(default.r#match),
            top: self.top.unwrap_or(default.top),
            expires_within: self.expires_within.unwrap_or(default.expires_within),
            exclude: self.exclude.unwrap_or(default.exclude),
            kinds: self.kinds.unwrap_or(default.kinds),
            kline_intervals: self.kline_intervals.unwrap_or(default.kline_intervals),
            rest_url: self.rest_url.unwrap_or(default.rest_url),
            stream_url: self.stream_url.unwrap_or(default.stream_url),
            ca_file: self.ca_file.unwrap_or(default.ca_file),
            proxy: self.proxy.unwrap_or(default.proxy),
            proxy_auth_file: self.proxy_auth_file.unwrap_or(default.proxy_auth_file),
            depth: self.depth.unwrap_or(default.depth),
            streams_per_connection: self
                .streams_per_connection
                .unwrap_or(default.streams_per_connection),
        }
    }
}

/// Makes the section of a venue: a struct with a field per market, each with defaults of its own.
macro_rules! venue {
    ($(#[$doc:meta])* $name:ident { $($(#[$market_doc:meta])* $market:ident: $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name { $($(#[$market_doc])* pub $market: VenueMarket,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($market: $default,)* }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Default, Deserialize)]
                #[serde(default, deny_unknown_fields)]
                struct Markets { $($market: Given,)* }
                let markets = Markets::deserialize(deserializer)?;
                Ok(Self { $($market: markets.$market.over($default),)* })
            }
        }
    };
}

const BINANCE_SPOT: [&str; 2] = ["https://api.binance.com", "wss://stream.binance.com:9443"];
const BINANCE_USDM: [&str; 2] = ["https://fapi.binance.com", "wss://fstream.binance.com"];
const OKX: [&str; 2] = ["https://www.okx.com", "wss://ws.okx.com:8443"];
const DERIBIT: [&str; 2] = ["https://www.deribit.com", "wss://www.deribit.com"];

/// What every market trades in that has a book.
const TRADED: &[&str] = &["trade", "book", "bbo", "ticker", "kline"];

venue! {
    /// The markets of Binance.
    Binance {
        /// The spot market.
        spot: VenueMarket {
            enabled: true,
            ..market(BINANCE_SPOT, &["BTC-USDT"], TRADED)
        },
        /// The perpetuals margined in dollars (USD-M).
        perp: market(BINANCE_USDM, &["BTC-USDT"], &[
            "agg_trade", "book", "bbo", "ticker", "kline", "mark", "funding", "open_interest",
            "liquidation", "long_short_ratio",
        ]),
        /// The dated futures margined in dollars (USD-M).
        future: market(BINANCE_USDM, &[], &[
            "agg_trade", "book", "bbo", "ticker", "kline", "mark", "open_interest", "liquidation",
        ]),
    }
}

venue! {
    /// The markets of OKX.
    Okx {
        /// The spot market.
        spot: market(OKX, &["BTC-USDT"], TRADED),
        /// The perpetual swaps.
        perp: market(OKX, &["BTC-USDT"], &[
            "trade", "book", "bbo", "ticker", "kline", "mark", "funding", "open_interest",
            "liquidation", "long_short_ratio",
        ]),
        /// The dated futures.
        future: market(OKX, &[], &[
            "trade", "book", "bbo", "ticker", "kline", "mark", "open_interest", "liquidation",
        ]),
        /// The options.
        option: market(OKX, &[], &["trade", "book", "bbo", "ticker", "mark", "open_interest"]),
    }
}

venue! {
    /// The markets of Deribit.
    Deribit {
        /// The spot pairs.
        spot: market(DERIBIT, &["BTC-USDC"], TRADED),
        /// The perpetuals.
        perp: market(DERIBIT, &["BTC-USD"], &[
            "trade", "book", "bbo", "ticker", "kline", "mark", "funding", "open_interest",
        ]),
        /// The dated futures.
        future: market(DERIBIT, &[], &[
            "trade", "book", "bbo", "ticker", "kline", "mark", "open_interest",
        ]),
        /// The options.
        option: market(DERIBIT, &[], &["trade", "book", "bbo", "ticker", "mark", "open_interest"]),
        /// The indices.
        index: market(DERIBIT, &["btc_usd", "eth_usd"], &["volatility_index"]),
    }
}

/// The venues.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Venues {
    /// Binance.
    pub binance: Binance,
    /// OKX.
    pub okx: Okx,
    /// Deribit.
    pub deribit: Deribit,
}

impl Venues {
    /// Every market with its settings, in the order of the file. Its section is
    /// `collector.venues.<venue>.<market>`.
    pub fn markets(&self) -> impl Iterator<Item = (Venue, Market, &VenueMarket)> {
        let Self { binance, okx, deribit } = self;
        [
            (Venue::Binance, Market::Spot, &binance.spot),
            (Venue::Binance, Market::Perp, &binance.perp),
            (Venue::Binance, Market::Future, &binance.future),
            (Venue::Okx, Market::Spot, &okx.spot),
            (Venue::Okx, Market::Perp, &okx.perp),
            (Venue::Okx, Market::Future, &okx.future),
            (Venue::Okx, Market::Option, &okx.option),
            (Venue::Deribit, Market::Spot, &deribit.spot),
            (Venue::Deribit, Market::Perp, &deribit.perp),
            (Venue::Deribit, Market::Future, &deribit.future),
            (Venue::Deribit, Market::Option, &deribit.option),
            (Venue::Deribit, Market::Index, &deribit.index),
        ]
        .into_iter()
    }

    pub(crate) fn check(&self, faults: &mut Faults) {
        for (venue, market, settings) in self.markets() {
            settings.check(market, &format!("collector.venues.{venue}.{market}"), faults);
        }
    }
}

/// The defaults of a market that is not recorded unless somebody says so.
fn market([rest, stream]: [&str; 2], symbols: &[&str], kinds: &[&str]) -> VenueMarket {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    VenueMarket {
        enabled: false,
        symbols: owned(symbols),
        r#match: Vec::new(),
        top: None,
        expires_within: None,
        exclude: Vec::new(),
        kinds: owned(kinds),
        kline_intervals: owned(&["1m"]),
        rest_url: Endpoint::fixed(rest),
        stream_url: Endpoint::fixed(stream),
        ca_file: None,
        proxy: None,
        proxy_auth_file: None,
        depth: 1000,
        streams_per_connection: 512,
    }
}

impl VenueMarket {
    fn check(&self, market: Market, section: &str, faults: &mut Faults) {
        let key = |name: &str| format!("{section}.{name}");
        faults.scheme(&key("rest_url"), &self.rest_url, &["http", "https"]);
        faults.scheme(&key("stream_url"), &self.stream_url, &["ws", "wss"]);
        faults.proxy(section, self.proxy.as_ref(), self.proxy_auth_file.is_some());
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
        self.check_selection(market, section, faults);
    }

    fn check_selection(&self, market: Market, section: &str, faults: &mut Faults) {
        let key = |name: &str| format!("{section}.{name}");
        for (name, patterns) in [("match", &self.r#match), ("exclude", &self.exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                let rest = pattern.replace(['*', '?'], "");
                let message = match model::Symbol::new(&rest) {
                    Err(error) if !rest.is_empty() => error.to_string(),
                    Err(_) if pattern.is_empty() => "is empty: it matches nothing".to_owned(),
                    Ok(_) | Err(_) => continue,
                };
                faults.add(&format!("{section}.{name}[{index}]"), message);
            }
        }
        if self.top == Some(0) {
            faults.add(&key("top"), "must be at least 1");
        }
        if let Some(within) = self.expires_within {
            faults.positive(&key("expires_within"), within);
            if !matches!(market, Market::Future | Market::Option) {
                faults.add(&key("expires_within"), "is for what ends one day: future and option");
            }
        }
        let is_open = self.top.is_some() || self.expires_within.is_some();
        if self.enabled && self.symbols.is_empty() && self.r#match.is_empty() && !is_open {
            faults.add(&key("symbols"), "is empty although the market is enabled");
        }
    }
}
