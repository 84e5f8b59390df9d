//! Deribit's dialect: JSON-RPC 2.0 over one WebSocket.
//!
//! [`Deribit`] reads the streams and REST answers of one market; [`Perp`], [`Futures`],
//! [`Options`], [`Spot`] and [`Index`] are its five.
//! The frames that come by the thousand (books, trades, tickers, quotes) are read by a scanner
//! that knows no whitespace and no escapes; whatever it does not recognise is left to a general
//! JSON parser, and the two never disagree.
//!
//! Nothing here needs a key: streams of the interval `raw` are never asked for.
//!
//! Sources: <https://docs.deribit.com/subscriptions>, <https://docs.deribit.com/api-reference>,
//! read 2026-11.

mod adapter;
mod candle;
mod fast;
mod fields;
mod general;
mod market;
mod request;
mod rest;
mod scan;
#[cfg(test)]
mod tests;

pub use adapter::Deribit;
pub use market::{Segment, marker};

/// Perpetual futures.
pub type Perp = Deribit<marker::Perp>;
/// Dated futures.
pub type Futures = Deribit<marker::Future>;
/// Options.
pub type Options = Deribit<marker::Option>;
/// Spot pairs.
pub type Spot = Deribit<marker::Spot>;
/// Indices, of which the volatility indices are recorded.
pub type Index = Deribit<marker::Index>;
