//! Binance's dialect.
//!
//! [`Spot`] reads the spot market's streams and REST answers, [`Usdm`] those of the contracts that
//! are margined in dollars; [`Perp`] and [`Future`] are its two markets.
//! The frames that come by the thousand (trades, book diffs, best bid and offer) are read by a
//! scanner that expects the keys in the order in which Binance writes them; whatever it does not
//! recognise is left to a general JSON parser, and the two never disagree.
//!
//! Sources: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>,
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints>,
//! <https://developers.binance.com/docs/derivatives/usds-margined-futures>.

mod fast;
mod frame;
mod json;
mod plan;
mod rest;
mod scan;
mod spot;
#[cfg(test)]
mod tests;
mod usdm;

pub use spot::Spot;
pub use usdm::{Contracts, Dated, Future, Perp, Perpetual, Usdm};
