//! What the HTTP interfaces are described with: OpenAPI 3.1.
//!
//! Each service derives its part from its handlers and types; a [`Document`] is made of it, filled
//! with what is the same everywhere, and merged at the gateway. Names, decimals and events, which
//! several services speak of, are described here once, from [`model`]; a type such as [`Venue`]
//! stands for its description where a field is a plain text.

mod document;
mod event;
mod shared;

pub use document::{Document, Operation};
pub use event::member_names;
pub use shared::{
    BboRow, BookRow, Cause, DecimalText, Event, FundingRow, GapEvent, GapRow, GapState, Kind,
    KlineRow, LiquidationRow, LongShortRatioRow, MarkRow, Market, Nanos, OpenInterestRow, Symbol,
    TickerRow, TimeText, TradeRow, Venue, VolatilityIndexRow,
};
