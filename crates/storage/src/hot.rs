//! The hot store: the latest of every kind, the last trades and the books, in memory, and a copy of
//! it in Redis if there is one.
//!
//! Questions are answered from memory: it is never behind, and there when Redis is not.

use book::OrderBook;
use catalog::StreamKey;
use hotstore::{Slot, Stamp};
use model::{Body, BookType, Event, GapState, Kind, Level, Origin};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) mod desk;
pub(crate) mod outlet;
#[cfg(test)]
mod tests;

/// A producer that said nothing for so long is no longer followed, if another one speaks. What two
/// of them say at the same time is never so far apart: the later one was stamped by a clock that
/// has been set back since.
const PRODUCER_SILENCE_MAX_NS: u64 = 5_000_000_000;

/// What is known of all symbols.
#[derive(Debug)]
pub(crate) struct Hot {
    trades_max: usize,
    symbols: BTreeMap<StreamKey, Symbol>,
    /// When the event was received that was taken last.
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
    /// Who said it on the live lane; `None` if it is from the cold store.
    producer: Option<Arc<str>>,
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

/// What an event has changed: places in Redis, and the lowest id where there are several.
pub(crate) type Changed = [Option<(Slot, u64)>; 2];

/// How much the hot store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) symbols: usize,
    pub(crate) trades: usize,
    pub(crate) books: usize,
    pub(crate) books_unsynced: usize,
    pub(crate) newest: Option<i64>,
    /// How the copy in Redis is doing; `None` if there is none.
    pub(crate) redis: Option<outlet::Summary>,
}

impl Hot {
    pub(crate) const fn new(trades_max: usize) -> Self {
        Self { trades_max, symbols: BTreeMap::new(), newest: None }
    }

    /// Takes an event of the live lane, or of the store when `producer` is `None`.
    pub(crate) fn apply(
        &mut self,
        event: &Event,
        json: &[u8],
        producer: Option<&Arc<str>>,
    ) -> Changed {
        let key = StreamKey::from(&*event.instrument);
        let recv_time = Some(event.recv_time.as_i64());
        self.newest = if producer.is_some() { recv_time } else { self.newest.max(recv_time) };
        let symbol = self.symbols.entry(key).or_default();
        match &event.body {
            Body::Trade(trade) | Body::AggTrade(trade) => {
                let latest = Latest::new(event, json, producer);
                symbol.take_trade(event.kind(), trade.seq, latest, self.trades_max)
            }
            Body::Book(_) => {
                let changed = symbol.take_book(event, producer);
                [changed.then_some((Slot::Book, 0)), None]
            }
            Body::Gap(gap) => {
                let breaks = (gap.of, gap.state) == (Kind::Book, GapState::Open);
                let followed = |book: &&mut LiveBook| book.producer.as_ref() == producer;
                let book = symbol.book.as_mut().filter(|_| breaks).filter(followed).map(|book| {
                    book.unsynced = Some("the collector reported a gap");
                    (Slot::Book, 0)
                });
                [symbol.take_latest(Kind::Gap, Latest::new(event, json, producer)), book]
            }
            Body::Bbo(_)
            | Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Status(_) => {
                [symbol.take_latest(event.kind(), Latest::new(event, json, producer)), None]
            }
        }
    }

    /// The latest of a kind: `limit` trades, a book of so many levels, or one event.
    pub(crate) fn latest(&self, kind: Kind, key: &StreamKey, limit: usize) -> Option<Answer> {
        let symbol = self.symbols.get(key)?;
        match kind {
            Kind::Trade | Kind::AggTrade => trades(symbol.trades.get(&kind)?, limit),
            Kind::Book => symbol.book.as_ref().map(|book| book.answer(key, limit)),
            Kind::Bbo
            | Kind::Ticker
            | Kind::Kline
            | Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status => {
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
    fn take_trade(&mut self, kind: Kind, seq: u64, trade: Latest, max: usize) -> Changed {
        let trades = self.trades.entry(kind).or_default();
        trades.insert(seq, trade);
        if trades.len() > max && trades.pop_first().is_some_and(|(oldest, _)| oldest == seq) {
            return [None, None];
        }
        let latest = trades.last_key_value().is_some_and(|(last, _)| *last == seq);
        [Some((Slot::Trades(kind), seq)), latest.then_some((Slot::Latest(kind), 0))]
    }

    fn take_latest(&mut self, kind: Kind, event: Latest) -> Option<(Slot, u64)> {
        if self.latest.get(&kind).is_some_and(|latest| !event.replaces(latest)) {
            return None;
        }
        self.latest.insert(kind, event);
        Some((Slot::Latest(kind), 0))
    }

    /// Whether it changes what is said of the book.
    fn take_book(&mut self, event: &Event, producer: Option<&Arc<str>>) -> bool {
        let Body::Book(update) = &event.body else { return false };
        let recv_time = event.recv_time.as_i64();
        if update.book_type == BookType::Snapshot {
            let accepted = self.book.as_ref().is_none_or(|book| book.accepts(event, producer));
            if accepted {
                let mut book = OrderBook::new();
                book.replace(&update.bids, &update.asks);
                let (producer, last_id) = (producer.cloned(), update.last_id);
                self.book = Some(LiveBook { producer, book, last_id, recv_time, unsynced: None });
            }
            return accepted;
        }
        let Some(book) = &mut self.book else { return false };
        if book.unsynced.is_some() || book.producer.as_ref() != producer {
            return false;
        }
        let prune = event.origin == Some(Origin::Prune);
        if update.last_id < book.last_id || (update.last_id == book.last_id && !prune) {
            // Covered by the snapshot.
            return false;
        }
        let follows = match (update.prev_id, update.first_id) {
            _ if prune => update.last_id == book.last_id,
            (Some(prev), _) => prev == book.last_id,
            (None, Some(first)) => first <= book.last_id.saturating_add(1),
            (None, None) => false,
        };
        if !follows {
            book.unsynced = Some("updates are missing");
            return true;
        }
        book.book.apply(&update.bids, &update.asks);
        (book.last_id, book.recv_time) = (update.last_id, recv_time);
        if book.book.is_crossed() {
            book.unsynced = Some("the book is crossed");
        }
        true
    }
}

impl Latest {
    fn new(event: &Event, json: &[u8], producer: Option<&Arc<str>>) -> Self {
        let recv_time = event.recv_time.as_i64();
        Self { producer: producer.cloned(), recv_time, json: json.into() }
    }

    const fn stamp(&self) -> Stamp {
        Stamp { recv_time: self.recv_time, live: self.producer.is_some() }
    }

    /// Whether it is newer than what is there.
    ///
    /// What one producer says on the live lane comes in order, whatever its clock does; only what
    /// came on different ways is judged by when it was received.
    fn replaces(&self, latest: &Self) -> bool {
        let later = self.recv_time >= latest.recv_time;
        match (&self.producer, &latest.producer) {
            (Some(this), Some(that)) if this != that => {
                later || self.recv_time.abs_diff(latest.recv_time) > PRODUCER_SILENCE_MAX_NS
            }
            (Some(_), _) => true,
            (None, _) => later,
        }
    }
}

impl LiveBook {
    /// Whether a snapshot replaces the book: always one of the producer that is followed, another
    /// one's only after a break or a silence.
    fn accepts(&self, event: &Event, producer: Option<&Arc<str>>) -> bool {
        let recv_time = event.recv_time.as_i64();
        if self.producer.as_ref() == producer {
            // Live messages come in order; rows of the store may not.
            producer.is_some() || recv_time >= self.recv_time
        } else {
            let apart = recv_time.abs_diff(self.recv_time) > PRODUCER_SILENCE_MAX_NS;
            // A book from the store is older than what is live, whatever its stamp says.
            producer.is_some() && (self.producer.is_none() || self.unsynced.is_some() || apart)
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
            "recv_time": self.recv_time,
            "last_id": self.last_id,
            "synced": self.unsynced.is_none(),
            "reason": self.unsynced,
            "bids": levels(bids),
            "asks": levels(asks),
        });
        Answer { recv_time: self.recv_time, data: data.to_string().into_bytes() }
    }
}
