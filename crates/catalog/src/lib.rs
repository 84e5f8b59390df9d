//! What is asked of a store, and what it answers, whichever store it is.
//!
//! A [`StreamKey`] names what one instrument says in one kind. A [`Query`] asks for rows of streams
//! in the order of their identities and gets a [`Page`]; a [`Coverage`] says what is stored of a
//! stream, [`Ranges`] which ids are stored, and [`Holes`] which are missing between them. An
//! [`Extent`] says for which ids a row stands, a [`Tally`] how much a query would hand out.

mod coverage;
mod extent;
mod query;
mod stream;
mod tally;

pub use coverage::{ALL_DAYS, Coverage, Day, Days, HOLES_MAX, Holes, Ranges};
pub use extent::{Extent, mark_overlaps};
pub use query::{
    Cursor, Filter, InvalidCursor, NoObject, Order, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, Query,
    stream_seq,
};
pub use stream::StreamKey;
pub use tally::{Tallies, Tally};
