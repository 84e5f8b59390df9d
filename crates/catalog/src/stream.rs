//! Streams: what one instrument says in one kind, the unit that identities and pages go by.

use model::{InstrumentId, Market, NameError, Symbol, Venue};
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
