//! Binance's dialect.
//!
//! [`Spot`] reads the spot market's streams and REST answers.
//! The frames that come by the thousand (trades, book diffs, best bid and offer) are read by a
//! scanner that expects the keys in the order in which Binance writes them; whatever it does not
//! recognise is left to a general JSON parser, and the two never disagree.
//!
//! Sources: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>,
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints>.

mod scan;
mod spot;

pub use spot::Spot;
