//! What the suite talks about: venues, markets, symbols, instruments, and the events they emit.
//!
//! Plain data: nothing here is serialised by derive, reads a clock or does I/O.
//! The event encoding is `wire`'s, rows are the stores'.

mod derivative;
mod event;
mod gap;
mod instrument;
mod name;

pub use derivative::{
    Funding, Greeks, Liquidated, Liquidation, LongShortRatio, Mark, OpenInterest, RatioType,
    VolatilityIndex,
};
pub use event::{
    Bbo, Body, Book, BookType, Cause, Connection, Event, GapState, Identity, Kind, Kline, Level,
    Origin, Side, Status, Ticker, Trade,
};
pub use gap::Gap;
pub use instrument::{Instrument, InstrumentId, Listing, OptionSide, QtyUnit};
pub use name::{Market, NameError, Symbol, Venue};
