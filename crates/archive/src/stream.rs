//! Streams: what one instrument says in one kind, the unit that identities and pages go by.

use model::{InstrumentId, Market, NameError, Symbol, Venue};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Names a stream within a table. Ordered as rows are: venue, market, symbol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// Where it trades.
    pub venue: Venue,
    /// The kind of market.
    pub market: Market,
    /// Our name for the instrument.
    pub symbol: Symbol,
}

impl From<&InstrumentId> for StreamKey {
    fn from(id: &InstrumentId) -> Self {
        Self { venue: id.venue, market: id.market, symbol: id.symbol.clone() }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.venue, self.market, self.symbol)
    }
}

impl FromStr for StreamKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self { venue: next().parse()?, market: next().parse()?, symbol: next().parse()? })
    }
}

/// Numbers the streams of a table; the numbers mean nothing outside the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    numbers: BTreeMap<StreamKey, u32>,
    keys: Vec<StreamKey>,
}

impl Streams {
    pub(crate) fn number(&self, key: &StreamKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(crate) fn add(&mut self, key: &StreamKey) -> u32 {
        if let Some(number) = self.number(key) {
            return number;
        }
        let number = u32::try_from(self.keys.len()).expect("a market has fewer than 2^32 symbols");
        self.numbers.insert(key.clone(), number);
        self.keys.push(key.clone());
        number
    }

    pub(crate) fn key(&self, number: u32) -> &StreamKey {
        &self.keys[usize::try_from(number).expect("32 bits fit")]
    }

    /// All streams, in key order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&StreamKey, u32)> {
        self.numbers.iter().map(|(key, number)| (key, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_text() {
        let key: StreamKey = "binance/spot/币安人生USDT".parse().unwrap();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("binance/spot".parse::<StreamKey>().is_err());
        assert!("binance/spot/A/B".parse::<StreamKey>().is_err());
    }
}
