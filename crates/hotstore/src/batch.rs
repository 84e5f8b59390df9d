//! Values on their way to Redis.

use catalog::StreamKey;
use model::Kind;
use std::fmt::Display;

/// What all keys begin with.
const ROOT: &str = "marketprism";
/// Levels of a book, a side: what a screen shows; who needs more follows the bus.
pub const BOOK_LEVELS: usize = 20;
/// Trades of one symbol in a batch: a quarter of its size.
pub const TRADES_AT_A_TIME: usize = 1_000;
/// Keys in a batch: a pipeline of about a millisecond.
const KEYS_MAX: usize = 256;
/// A batch that has reached this size gets no further key.
const BYTES_MAX: usize = 1 << 20;

/// Values that are written with one pipeline.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) values: Vec<Value>,
    pub(crate) trades: Vec<Trades>,
    bytes: usize,
}

/// A value that the newest one replaces.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) key: String,
    pub(crate) stamp: Stamp,
    pub(crate) json: Vec<u8>,
}

/// By what a value is judged against the one in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was received, nanoseconds since the epoch; its JSON says the same.
    pub recv_time: i64,
    /// Whether it came on the live lane: then it also replaces a value that was received more than
    /// 5 s later, because no two live values are so far apart unless a clock has been set back.
    pub live: bool,
}

/// Trades of one symbol.
#[derive(Debug, Clone)]
pub(crate) struct Trades {
    pub(crate) key: String,
    pub(crate) rows: Vec<Trade>,
}

#[derive(Debug, Clone)]
pub(crate) struct Trade {
    pub(crate) seq: u64,
    pub(crate) recv_time: i64,
    pub(crate) json: Vec<u8>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the latest event of a kind.
    pub fn latest(&mut self, kind: Kind, key: &StreamKey, stamp: Stamp, json: &[u8]) {
        self.value(place(&format_args!("latest:{kind}"), key), stamp, json);
    }

    /// Adds the top of a book.
    pub fn book(&mut self, key: &StreamKey, stamp: Stamp, json: &[u8]) {
        self.value(place(&"book", key), stamp, json);
    }

    /// Adds trades of a kind and symbol, each with its `seq` and `recv_time`.
    pub fn trades<'a>(
        &mut self,
        kind: Kind,
        key: &StreamKey,
        rows: impl IntoIterator<Item = (u64, i64, &'a [u8])>,
    ) {
        let rows = rows.into_iter().map(|(seq, recv_time, json)| {
            self.bytes += json.len();
            Trade { seq, recv_time, json: json.to_vec() }
        });
        let rows: Vec<Trade> = rows.collect();
        if !rows.is_empty() {
            self.trades.push(Trades { key: place(&format_args!("trades:{kind}"), key), rows });
        }
    }

    /// Whether it should go before anything is added.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.values.len() + self.trades.len() >= KEYS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty() && self.trades.is_empty()
    }

    fn value(&mut self, key: String, stamp: Stamp, json: &[u8]) {
        self.bytes += json.len();
        self.values.push(Value { key, stamp, json: json.to_vec() });
    }
}

/// A symbol may have colons in it, so it comes last.
fn place(what: &impl Display, key: &StreamKey) -> String {
    format!("{ROOT}:{what}:{}:{}:{}", key.venue, key.market, key.symbol)
}

/// The key of a writer's mark.
pub(crate) fn mark_of(writer: u64) -> String {
    format!("{ROOT}:writer:{writer:016x}")
}
