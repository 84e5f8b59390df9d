//! The markets, and what each of them has.

use crate::candle::INTERVALS;
use model::{Kind, Market, QtyUnit};
use std::fmt;

/// One of the venue's markets, as a type: the adapter's constants follow from it.
pub trait Segment: fmt::Debug + Clone + Default + Send + Sync + 'static {
    /// Our word for it.
    const MARKET: Market;
    /// The kinds of event that it has.
    const KINDS: &'static [Kind];
    /// The lengths of candles, of a market that has any.
    const INTERVALS: &'static [&'static str] = &[];
}

/// The markets as types without values of interest.
pub mod marker {
    /// Perpetual futures.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Perp;
    /// Dated futures.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Future;
    /// Options.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Option;
    /// Spot pairs.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Spot;
    /// Indices.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Index;
}

impl Segment for marker::Perp {
    const MARKET: Market = Market::Perp;
    const INTERVALS: &'static [&'static str] = INTERVALS;
    const KINDS: &'static [Kind] = &[
        Kind::Trade,
        Kind::Book,
        Kind::Bbo,
        Kind::Ticker,
        Kind::Kline,
        Kind::Mark,
        Kind::Funding,
        Kind::OpenInterest,
    ];
}

impl Segment for marker::Future {
    const MARKET: Market = Market::Future;
    const INTERVALS: &'static [&'static str] = INTERVALS;
    const KINDS: &'static [Kind] = &[
        Kind::Trade,
        Kind::Book,
        Kind::Bbo,
        Kind::Ticker,
        Kind::Kline,
        Kind::Mark,
        Kind::OpenInterest,
    ];
}

impl Segment for marker::Option {
    const MARKET: Market = Market::Option;
    const KINDS: &'static [Kind] =
        &[Kind::Trade, Kind::Book, Kind::Bbo, Kind::Ticker, Kind::Mark, Kind::OpenInterest];
}

impl Segment for marker::Spot {
    const MARKET: Market = Market::Spot;
    const INTERVALS: &'static [&'static str] = INTERVALS;
    const KINDS: &'static [Kind] = &[Kind::Trade, Kind::Book, Kind::Bbo, Kind::Ticker, Kind::Kline];
}

impl Segment for marker::Index {
    const MARKET: Market = Market::Index;
    const KINDS: &'static [Kind] = &[Kind::VolatilityIndex];
}

/// The unit of an instrument's quantities, by the venue's naming rule: a linear contract is named
/// after its pair (`BTC_USDC-PERPETUAL`), an inverse one after its base alone (`BTC-PERPETUAL`).
///
/// An inverse future is counted in US dollars. An option is counted in base units, also where it
/// is paid in them.
///
/// Source: <https://docs.deribit.com/#naming>.
pub(crate) fn qty_unit(market: Market, name: &str) -> QtyUnit {
    match market {
        Market::Perp | Market::Future if !name.contains('_') => QtyUnit::Quote,
        Market::Perp | Market::Future | Market::Spot | Market::Option | Market::Index => {
            QtyUnit::Base
        }
    }
}
