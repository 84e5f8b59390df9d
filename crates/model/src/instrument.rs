//! What is traded.

use crate::name::names;
use crate::{Market, Symbol, Venue};
use std::fmt;
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};

/// Which instrument an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId {
    /// Where it trades.
    pub venue: Venue,
    /// The kind of market.
    pub market: Market,
    /// Our name for it.
    pub symbol: Symbol,
    /// The venue's own name, such as `BTCUSDT`.
    pub name: Arc<str>,
}

impl fmt::Display for InstrumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.venue, self.market, self.symbol)
    }
}

names! {
    /// In which unit an instrument's quantities are.
    QtyUnit, "quantity unit", "base, quote", {
        /// Base units: spot and linear contracts.
        Base = "base",
        /// Quote units: inverse contracts.
        Quote = "quote",
    }
}

names! {
    /// What an option gives the right to.
    OptionSide, "option side", "call, put", {
        /// To buy.
        Call = "call",
        /// To sell.
        Put = "put",
    }
}

names! {
    /// Where an instrument is between its listing and its end.
    Listing, "listing state", "pending, trading, halted, closed", {
        /// Announced, and not open yet.
        Pending = "pending",
        /// Open.
        Trading = "trading",
        /// Closed for the moment.
        Halted = "halted",
        /// Delivered, settled or delisted.
        Closed = "closed",
    }
}

/// What a venue says about one instrument. A fact the venue does not give is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// Its identity.
    pub id: Arc<InstrumentId>,
    /// The asset bought and sold, such as `BTC`.
    pub base: Arc<str>,
    /// The asset it is priced in, such as `USDT`.
    pub quote: Arc<str>,
    /// The smallest price step.
    pub tick_size: Option<Price>,
    /// The smallest quantity step.
    pub lot_size: Option<Qty>,
    /// Base or quote units per contract; `None` where quantities are no contracts.
    pub contract_size: Option<Qty>,
    /// The unit of the quantities we publish.
    pub qty_unit: QtyUnit,
    /// When it is delivered or exercised; `None` for spot and perpetuals.
    pub expiry: Option<UnixNanos>,
    /// The price that an option is exercised at.
    pub strike: Option<Price>,
    /// Which way an option goes.
    pub option_side: Option<OptionSide>,
    /// Whether it can be traded at the moment, and if not, why.
    pub listing: Listing,
    /// Hours from one funding of a perpetual to the next, where the venue says it beside its
    /// streams.
    pub funding_hours: Option<u32>,
}

impl Instrument {
    /// Whether it can be traded at the moment.
    #[must_use]
    pub fn is_trading(&self) -> bool {
        self.listing == Listing::Trading
    }
}
