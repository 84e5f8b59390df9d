//! Queries: pages of rows in the order of identity.
//!
//! A page goes by key, not by position: its cursor is the last row handed out, so rows that arrive
//! between two pages neither repeat nor skip a row that was there.

use crate::StreamKey;
use model::{Identity, Market, Symbol, Venue};
use std::fmt;
use std::str::FromStr;
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// Rows of the largest page.
pub const PAGE_ROWS_MAX: usize = 10_000;
/// A page ends early once it has this many bytes, whatever its limit: ten thousand book snapshots
/// would be gigabytes.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// Which way a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// From the lowest identity up.
    #[default]
    Ascending,
    /// From the highest identity down.
    Descending,
}

/// The last row of a page; the next page begins behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its stream.
    pub stream: StreamKey,
    /// Its identity.
    pub identity: Identity,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.identity.major, self.identity.minor, self.stream)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this archive")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (identity, stream) = text.split_once('/').ok_or(InvalidCursor)?;
        let (major, minor) = identity.split_once('.').ok_or(InvalidCursor)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidCursor);
        let identity = Identity { major: number(major)?, minor: number(minor)? };
        Ok(Self { stream: stream.parse().map_err(|_| InvalidCursor)?, identity })
    }
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of which streams. Several are handed out one after the other, in key order.
    pub filter: Filter,
    /// Not before this time.
    pub start: Option<UnixNanos>,
    /// Before this time.
    pub end: Option<UnixNanos>,
    /// In which order.
    pub order: Order,
    /// At most so many rows; between 1 and [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Behind this row.
    pub after: Option<Cursor>,
}

impl Query {
    /// Whether a row of this time is wanted.
    #[must_use]
    pub fn has_time(&self, time: UnixNanos) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time < end)
    }
}

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The events as JSON objects separated by commas: what came over the bus, with `stream_seq`
    /// as the last member.
    pub rows: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// Where the next page begins; `None` if there are no more rows at the moment.
    pub next: Option<Cursor>,
}

/// What was to be a row of a page is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row is no JSON object")]
pub struct NoObject;

impl Page {
    /// Adds a row: `write` appends the event's JSON object, and `stream_seq` becomes its last
    /// member.
    ///
    /// # Errors
    ///
    /// [`NoObject`] if what was written does not end like an object; the page is of no use then.
    pub fn push(
        &mut self,
        stream_seq: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NoObject> {
        if self.count > 0 {
            self.rows.push(b',');
        }
        write(&mut self.rows);
        // The object is open again, for one more member.
        if self.rows.pop() != Some(b'}') {
            return Err(NoObject);
        }
        self.rows.extend_from_slice(b",\"stream_seq\":");
        self.rows.extend_from_slice(itoa::Buffer::new().format(stream_seq).as_bytes());
        self.rows.push(b'}');
        self.count += 1;
        Ok(())
    }
}

/// The stream sequence of a row, which [`Page::push`] made its last member; `None` if it is no such
/// row.
#[must_use]
pub fn stream_seq(row: &[u8]) -> Option<u64> {
    let row = row.strip_suffix(b"}")?;
    let digits = row.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = row.split_at(row.len() - digits);
    before.ends_with(b",\"stream_seq\":").then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Which streams are meant; what is `None` is not restricted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this venue.
    pub venue: Option<Venue>,
    /// Only this kind of market.
    pub market: Option<Market>,
    /// Only this symbol.
    pub symbol: Option<Symbol>,
}

impl Filter {
    /// Whether a stream is meant.
    #[must_use]
    pub fn matches(&self, key: &StreamKey) -> bool {
        self.venue.is_none_or(|venue| venue == key.venue)
            && self.market.is_none_or(|market| market == key.market)
            && self.symbol.as_ref().is_none_or(|symbol| *symbol == key.symbol)
    }
}
