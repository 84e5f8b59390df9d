//! The markets of a run, and what the collector is told of them.

use crate::site::INSTRUMENTS;
use sim::arguments::Symbols;
use sim::dialect::{self, MarketId};
use std::net::SocketAddr;

/// How much is traded, instead of two instruments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Volume {
    /// Six markets of three venues with 2,400 instruments, each at the rate of its venue.
    Full,
}

/// The markets under full load, and how many instruments each has: about as many as it lists.
const FULL: [(&str, usize); 6] = [
    ("binance/spot", 400),
    ("binance/perp", 500),
    ("okx/spot", 400),
    ("okx/perp", 300),
    ("deribit/perp", 20),
    ("deribit/option", 780),
];

/// Levels of each book under full load: snapshots of more would cost Binance's request weight of
/// several minutes.
const FULL_DEPTH: u32 = 100;

/// The candles of the two instruments: those of which a short run has whole ones.
const CANDLES: &str = "1s, 1m";

/// A market that is simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Market {
    /// Which.
    pub id: MarketId,
    /// Its instruments.
    pub symbols: Symbols,
}

impl Market {
    /// Binance's spot market with [`INSTRUMENTS`].
    #[must_use]
    pub fn pair() -> Self {
        let names = INSTRUMENTS.map(|(name, _)| name.to_owned()).to_vec();
        Self { id: dialect::binance_spot().market(), symbols: Symbols::Named(names) }
    }

    /// Those of a full load, Binance's spot market first.
    ///
    /// # Errors
    ///
    /// One that cannot be simulated.
    pub fn full() -> anyhow::Result<Vec<Self>> {
        let market = |(id, count): &(&str, usize)| -> anyhow::Result<Self> {
            let id = id.parse().map_err(anyhow::Error::msg)?;
            Ok(Self { id, symbols: Symbols::Count(*count) })
        };
        FULL.iter().map(market).collect()
    }

    /// Events per second at the rate of its venue.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands at most, and never less than none"
    )]
    pub fn rate(&self) -> u64 {
        self.symbols.rate(&*dialect::of(self.id)) as u64
    }

    /// The name that its files have.
    #[must_use]
    pub fn file(&self) -> String {
        self.id.to_string().replace('/', "-")
    }

    /// What `--symbols` of `marketprism-sim serve` takes.
    #[must_use]
    pub fn argument(&self) -> String {
        match &self.symbols {
            Symbols::Named(names) => names.join(","),
            Symbols::Count(count) => count.to_string(),
        }
    }
}

/// The section `collector.venues`: markets, each with the addresses of its REST interface and of
/// its streams. Those of one venue stand together.
#[must_use]
pub fn section(markets: &[Market], doors: &[(SocketAddr, SocketAddr)]) -> String {
    let mut text = String::new();
    let mut venue = None;
    for (Market { id, symbols }, (rest, stream)) in markets.iter().zip(doors) {
        let of = id.venue;
        if venue.replace(of) != Some(of) {
            text += &format!("    {of}:\n");
        }
        let dialect = dialect::of(*id);
        let names = symbols.names(&*dialect);
        let names: Vec<String> = names.iter().map(|name| dialect.symbol(name)).collect();
        let more = match symbols {
            Symbols::Named(_) => format!("        kline_intervals: [{CANDLES}]\n"),
            Symbols::Count(_) => format!("        depth: {FULL_DEPTH}\n"),
        };
        text += &format!(
            "      {market}:\n        enabled: true\n        symbols: [{names}]\n{more}\
             \x20       rest_url: http://{rest}\n        stream_url: ws://{stream}\n",
            market = id.market,
            names = names.join(", "),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_load_begins_with_the_market_that_is_watched() {
        let markets = Market::full().unwrap();
        assert_eq!(markets[0].id, Market::pair().id);
        let names = markets[0].symbols.names(&*dialect::binance_spot());
        assert_eq!(names[..2], INSTRUMENTS.map(|(name, _)| name.to_owned()));
        let rates: Vec<u64> = markets.iter().map(Market::rate).collect();
        assert_eq!(rates, [3_200, 4_000, 1_600, 1_200, 40, 1_560]);
    }

    /// The lines that begin so far to the right.
    fn lines<'a>(text: &'a str, indent: &str) -> Vec<&'a str> {
        let begins =
            |line: &&str| line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with(' '));
        text.lines().filter(begins).collect()
    }

    #[test]
    fn markets_of_one_venue_stand_in_one_section() {
        let markets = Market::full().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let text = section(&markets, &[(address, address); 6]);
        assert_eq!(lines(&text, "    "), ["    binance:", "    okx:", "    deribit:"]);
        assert_eq!(lines(&text, "      ").len(), 6);
        assert!(text.contains("symbols: [BTC-USDT, ETH-USDT, S2-USDT, "), "{text}");
        assert!(text.contains("symbols: [BTC-29MAR30-20000-C, BTC-29MAR30-20000-P, "), "{text}");
        assert!(!text.contains("kline_intervals"), "{text}");
        let pair = section(&[Market::pair()], &[(address, address)]);
        assert!(pair.contains("\n        kline_intervals: [1s, 1m]\n"), "{pair}");
    }
}
