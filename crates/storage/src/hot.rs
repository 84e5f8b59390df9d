//! The hot store: the latest of every kind, the last trades and the books, in memory.

use archive::StreamKey;
use book::OrderBook;
use model::{Body, BookType, Event, GapState, Kind, Level, Origin};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) mod desk;
#[cfg(test)]
mod tests;

/// A producer that said nothing for so long is no longer followed, if another one speaks.
const PRODUCER_SILENCE_MAX_NS: i64 = 5_000_000_000;

/// What is known of all symbols.
#[derive(Debug)]
pub(crate) struct Hot {
    trades_max: usize,
    symbols: BTreeMap<StreamKey, Symbol>,
    /// When the newest event was received.
    newest: Option<i64>,
}

/// What is known of one symbol.
#[derive(Debug, Default)]
struct Symbol {
    latest: BTreeMap<Kind, Latest>,
    /// The last trades by id, for each of the two kinds of them.
    trades: BTreeMap<Kind, BTreeMap<u64, Latest>>,
    book: Option<LiveBook>,
}

#[derive(Debug, Clone)]
struct Latest {
    recv_time: i64,
    json: Box<[u8]>,
}

/// A book that follows one producer's diffs.
#[derive(Debug)]
struct LiveBook {
    producer: Option<Arc<str>>,
    book: OrderBook,
    last_id: u64,
    recv_time: i64,
    /// Why it waits for a snapshot; `None` if it is in step.
    unsynced: Option<&'static str>,
}

/// An answer and when the newest event in it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) recv_time: i64,
    /// JSON: an object, or an array of trades, the newest first.
    pub(crate) data: Vec<u8>,
}

/// How much the hot store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) symbols: usize,
    pub(crate) trades: usize,
    pub(crate) books: usize,
    pub(crate) books_unsynced: usize,
    pub(crate) newest: Option<i64>,
}

impl Hot {
    pub(crate) const fn new(trades_max: usize) -> Self {
        Self { trades_max, symbols: BTreeMap::new(), newest: None }
    }

    /// Takes an event of the live lane, or of the store when `producer` is `None`.
    pub(crate) fn apply(&mut self, event: &Event, json: &[u8], producer: Option<&Arc<str>>) {
        let key = StreamKey::from(&*event.instrument);
        let recv_time = event.recv_time.as_i64();
        self.newest = self.newest.max(Some(recv_time));
        let symbol = self.symbols.entry(key).or_default();
        let kind = event.kind();
        if let Body::Trade(trade) | Body::AggTrade(trade) = &event.body {
            let trades = symbol.trades.entry(kind).or_default();
            trades.insert(trade.seq, Latest { recv_time, json: json.into() });
            if trades.len() > self.trades_max {
                trades.pop_first();
            }
            return;
        }
        if let Body::Book(_) = &event.body {
            symbol.take_book(event, producer);
            return;
        }
        if let Body::Gap(gap) = &event.body
            && (gap.of, gap.state) == (Kind::Book, GapState::Open)
            && let Some(book) = &mut symbol.book
        {
            book.unsynced = Some("the collector reported a gap");
        }
        let latest = symbol.latest.entry(kind);
        let latest = latest.or_insert_with(|| Latest { recv_time, json: Box::default() });
        if latest.recv_time <= recv_time {
            *latest = Latest { recv_time, json: json.into() };
        }
    }

    /// The latest of a kind: `limit` trades, a book of so many levels, or one event.
    pub(crate) fn latest(&self, kind: Kind, key: &StreamKey, limit: usize) -> Option<Answer> {
        let symbol = self.symbols.get(key)?;
        match kind {
            Kind::Trade | Kind::AggTrade => trades(symbol.trades.get(&kind)?, limit),
            Kind::Book => symbol.book.as_ref().map(|book| book.answer(key, limit)),
            Kind::Bbo | Kind::Ticker | Kind::Kline | Kind::Gap | Kind::Status => {
                let latest = symbol.latest.get(&kind)?;
                Some(Answer { recv_time: latest.recv_time, data: latest.json.to_vec() })
            }
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut summary = Summary { newest: self.newest, ..Summary::default() };
        summary.symbols = self.symbols.len();
        for symbol in self.symbols.values() {
            summary.trades += symbol.trades.values().map(BTreeMap::len).sum::<usize>();
            if let Some(book) = &symbol.book {
                summary.books += 1;
                summary.books_unsynced += usize::from(book.unsynced.is_some());
            }
        }
        summary
    }
}

fn trades(trades: &BTreeMap<u64, Latest>, limit: usize) -> Option<Answer> {
    let recv_time = trades.values().map(|trade| trade.recv_time).max()?;
    let mut data = vec![b'['];
    for (i, trade) in trades.values().rev().take(limit).enumerate() {
        if i > 0 {
            data.push(b',');
        }
        data.extend_from_slice(&trade.json);
    }
    data.push(b']');
    Some(Answer { recv_time, data })
}

impl Symbol {
    fn take_book(&mut self, event: &Event, producer: Option<&Arc<str>>) {
        let Body::Book(update) = &event.body else { return };
        let recv_time = event.recv_time.as_i64();
        if update.book_type == BookType::Snapshot {
            if self.book.as_ref().is_none_or(|book| book.accepts(event, producer)) {
                let mut book = OrderBook::new();
                book.replace(&update.bids, &update.asks);
                let (producer, last_id) = (producer.cloned(), update.last_id);
                self.book = Some(LiveBook { producer, book, last_id, recv_time, unsynced: None });
            }
            return;
        }
        let Some(book) = &mut self.book else { return };
        if book.unsynced.is_some() || book.producer.as_ref() != producer {
            return;
        }
        let prune = event.origin == Some(Origin::Prune);
        if update.last_id < book.last_id || (update.last_id == book.last_id && !prune) {
            // Covered by the snapshot.
            return;
        }
        let follows = match (update.prev_id, update.first_id) {
            _ if prune => update.last_id == book.last_id,
            (Some(prev), _) => prev == book.last_id,
            (None, Some(first)) => first <= book.last_id.saturating_add(1),
            (None, None) => false,
        };
        if !follows {
            book.unsynced = Some("updates are missing");
            return;
        }
        book.book.apply(&update.bids, &update.asks);
        (book.last_id, book.recv_time) = (update.last_id, recv_time);
        if book.book.is_crossed() {
            book.unsynced = Some("the book is crossed");
        }
    }
}

impl LiveBook {
    /// Whether a snapshot replaces the book: always one of the producer that is followed, another
    /// one's only after a break or a silence.
    fn accepts(&self, event: &Event, producer: Option<&Arc<str>>) -> bool {
        let recv_time = event.recv_time.as_i64();
        let silent = recv_time.saturating_sub(self.recv_time) > PRODUCER_SILENCE_MAX_NS;
        if self.producer.as_ref() == producer {
            recv_time >= self.recv_time
        } else {
            self.unsynced.is_some() || silent
        }
    }

    fn answer(&self, key: &StreamKey, depth: usize) -> Answer {
        let (bids, asks) = self.book.top(depth);
        let levels = |levels: Vec<Level>| -> Vec<[String; 2]> {
            levels.iter().map(|(price, qty)| [price.to_string(), qty.to_string()]).collect()
        };
        let data = serde_json::json!({
            "venue": key.venue.as_str(),
            "market": key.market.as_str(),
            "symbol": key.symbol.as_str(),
            "last_id": self.last_id,
            "synced": self.unsynced.is_none(),
            "reason": self.unsynced,
            "bids": levels(bids),
            "asks": levels(asks),
        });
        Answer { recv_time: self.recv_time, data: data.to_string().into_bytes() }
    }
}
