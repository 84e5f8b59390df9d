//! Books of captures whose frames have no sequence ids: their checksum is the only check.
//!
//! Until 2022, and on OKX's Japanese venue, a frame carries the CRC32 of the book's best 25 levels
//! as the venue has it after the frame. Numbers are given to such frames here, so that the rule of
//! chained updates judges them like any others:
//!
//! - A frame's id is the venue's time in microseconds, or one above the id before if that is more.
//!   It grows over reconnects and restarts, and is the same in every replay.
//! - A frame whose checksum agrees names the frame before it as its predecessor.
//! - A frame whose checksum does not agree, and every one after it until the next snapshot, names a
//!   predecessor that nobody has seen, one below itself.
//!
//! Source: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel>,
//! the section on the checksum.

#[cfg(test)]
mod tests;

use crate::fields::{TextLevel, out_of_range};
use crc32fast::Hasher;
use model::Level;
use std::collections::BTreeMap;
use units::{Price, UnixNanos};
use venue::{ParseError, Reject};

/// Levels a side that the checksum is over.
const CHECKED_LEVELS: usize = 25;

/// The books, by the venue's name of their instrument.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unnumbered {
    books: BTreeMap<Box<str>, TextBook>,
}

/// A frame to be numbered.
pub(crate) struct Frame<'a> {
    pub(crate) is_snapshot: bool,
    pub(crate) venue_time: UnixNanos,
    pub(crate) checksum: i64,
    pub(crate) bids: Side<'a>,
    pub(crate) asks: Side<'a>,
}

/// The levels of a side, as numbers and as they were written.
pub(crate) type Side<'a> = (&'a [Level], &'a [TextLevel<'a>]);

/// The id of a frame and that of the frame before it.
pub(crate) type Ids = (u64, Option<u64>);

/// A book whose numbers are kept as they were written: `1.50` has another checksum than `1.5`.
#[derive(Debug, Clone, Default)]
struct TextBook {
    bids: BTreeMap<Price, [Box<str>; 2]>,
    asks: BTreeMap<Price, [Box<str>; 2]>,
    last_id: u64,
    last_time: UnixNanos,
    /// Whether every frame since the last snapshot agreed.
    is_whole: bool,
}

impl Unnumbered {
    /// Whether there are none, as on OKX's main venue since it numbers its frames.
    pub(crate) fn is_empty(&self) -> bool {
        self.books.is_empty()
    }

    /// Forgets a book whose frames are numbered.
    pub(crate) fn forget(&mut self, name: &str) {
        self.books.remove(name);
    }

    /// Learns that a frame was lost that may have been an update of any book.
    pub(crate) fn distrust(&mut self) {
        self.books.values_mut().for_each(|book| book.is_whole = false);
    }

    /// Numbers a frame.
    ///
    /// # Errors
    ///
    /// [`Reject::Unverifiable`] for a snapshot that does not have its own checksum.
    pub(crate) fn number(&mut self, name: &str, frame: &Frame<'_>) -> Result<Ids, ParseError> {
        let micros = u64::try_from(frame.venue_time.as_i64() / 1_000)
            .map_err(|_| out_of_range("ts", frame.venue_time))?;
        let book = match self.books.get_mut(name) {
            Some(book) => book,
            None => self.books.entry(Box::from(name)).or_default(),
        };
        if frame.is_snapshot {
            book.bids.clear();
            book.asks.clear();
        }
        let bids_changed = apply(&mut book.bids, frame.bids);
        let changed = apply(&mut book.asks, frame.asks) || bids_changed;
        let checksum = book.checksum();
        let agrees = i64::from(checksum) == frame.checksum;
        let is_again = !changed && frame.venue_time == book.last_time;
        book.last_time = frame.venue_time;
        if frame.is_snapshot {
            book.is_whole = agrees;
            if !agrees {
                let detail =
                    format_args!("snapshot of {name} has {checksum}, not {}", frame.checksum);
                return Err(ParseError::new(Reject::Unverifiable, detail));
            }
            book.last_id = micros.max(book.last_id + 1);
            return Ok((book.last_id, None));
        }
        book.is_whole &= agrees;
        if !book.is_whole {
            book.last_id = micros.max(book.last_id + 2);
            return Ok((book.last_id, Some(book.last_id - 1)));
        }
        let before = book.last_id;
        if !is_again {
            book.last_id = micros.max(before + 1);
        }
        // A frame that came twice names itself as the one before: nothing happened.
        Ok((book.last_id, Some(before)))
    }
}

impl TextBook {
    /// The best levels of both sides in turn, `price:quantity` joined by colons.
    fn checksum(&self) -> i32 {
        let mut hasher = Hasher::new();
        let mut bids = self.bids.values().rev().take(CHECKED_LEVELS);
        let mut asks = self.asks.values().take(CHECKED_LEVELS);
        let mut is_first = true;
        let mut add = |level: &[Box<str>; 2]| {
            for text in level {
                if !std::mem::replace(&mut is_first, false) {
                    hasher.update(b":");
                }
                hasher.update(text.as_bytes());
            }
        };
        loop {
            match (bids.next(), asks.next()) {
                (None, None) => return hasher.finalize().cast_signed(),
                (bid, ask) => bid.into_iter().chain(ask).for_each(&mut add),
            }
        }
    }
}

/// Applies the levels of one side; says whether that changed anything.
fn apply(side: &mut BTreeMap<Price, [Box<str>; 2]>, (levels, texts): Side<'_>) -> bool {
    let mut changed = false;
    for ((price, qty), TextLevel { price: price_text, qty: qty_text }) in levels.iter().zip(texts) {
        changed |= if qty.is_zero() {
            side.remove(price).is_some()
        } else {
            let level = [&price_text.0, &qty_text.0].map(|text| Box::from(&**text));
            side.insert(*price, level.clone()) != Some(level)
        };
    }
    changed
}
