//! What only contracts have: bodies of the kinds that spot markets do not send.

use crate::Side;
use crate::name::names;
use std::sync::Arc;
use units::{Notional, Price, Qty, Rate, UnixNanos};

names! {
    /// Which side of a trade was a position that the venue closed by force.
    Liquidated, "liquidated side", "maker, taker, both", {
        /// The resting order's.
        Maker = "maker",
        /// The taker's.
        Taker = "taker",
        /// Both.
        Both = "both",
    }
}

names! {
    /// Whose positions a long/short ratio counts, and how.
    RatioType, "ratio type", "top_position, top_account, all_account", {
        /// Positions of the traders with the largest margin balances, by size.
        TopPosition = "top_position",
        /// The same traders' accounts, by number.
        TopAccount = "top_account",
        /// All accounts, by number.
        AllAccount = "all_account",
    }
}

/// Mark and index price. Venues that publish the two apart give one event for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What positions are valued at.
    pub mark_price: Option<Price>,
    /// Price of the underlying index.
    pub index_price: Option<Price>,
}

/// The funding of a perpetual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Funding {
    /// What longs pay shorts per interval, as a share of the position; negative the other way.
    pub funding_rate: Rate,
    /// When it is paid next.
    pub next_funding_time: Option<UnixNanos>,
    /// Length of the interval that the rate is for.
    pub interval_hours: Option<u32>,
}

/// All contracts that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInterest {
    /// How many, in the instrument's unit.
    pub open_interest: Qty,
    /// Their value, in quote units.
    pub open_interest_value: Option<Notional>,
}

/// A position that the venue closed by force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liquidation {
    /// The side of the order that closed it: `sell` closes a long position.
    pub side: Side,
    /// The order's price; the bankruptcy price where the venue gives that.
    pub price: Price,
    /// The order's quantity.
    pub qty: Qty,
    /// What was paid on average.
    pub average_price: Option<Price>,
    /// How many with the same time, side, price and quantity came before it: venues give
    /// liquidations no id. Part of the identity.
    pub ordinal: u32,
}

/// How many traders, or how much of their positions, are on each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongShortRatio {
    /// Whose, and counted how.
    pub ratio_type: RatioType,
    /// The time that one figure is for, in the venue's words, such as `5m`.
    pub period: Arc<str>,
    /// The share that is long, from 0 to 1.
    pub long_ratio: Option<Rate>,
    /// The share that is short, from 0 to 1.
    pub short_ratio: Option<Rate>,
    /// Long divided by short.
    pub long_short_ratio: Rate,
}

/// A volatility index of a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolatilityIndex {
    /// Expected volatility of the next 30 days, in percent a year.
    pub value: Rate,
}

/// What the ticker of an option has beside prices: implied volatilities and greeks, as the venue
/// computes them. Without any of them a ticker has none of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Greeks {
    /// Implied volatility of the mark price, in percent a year.
    pub mark_iv: Option<Rate>,
    /// Implied volatility of the best bid, in percent a year.
    pub bid_iv: Option<Rate>,
    /// Implied volatility of the best ask, in percent a year.
    pub ask_iv: Option<Rate>,
    /// Change of the option's price with the underlying's.
    pub delta: Option<Rate>,
    /// Change of `delta` with the underlying's price.
    pub gamma: Option<Rate>,
    /// Change of the option's price with the volatility.
    pub vega: Option<Rate>,
    /// Change of the option's price with time.
    pub theta: Option<Rate>,
    /// Change of the option's price with the interest rate.
    pub rho: Option<Rate>,
    /// Price of the underlying that they are computed from.
    pub underlying_price: Option<Price>,
}

impl Greeks {
    /// These, or `None` if the venue gave none of them.
    #[must_use]
    pub fn given(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}
