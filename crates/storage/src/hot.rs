//! The hot store: the latest of every kind, the last trades and the books, in memory, and a copy of
//! it in Redis if there is one.
//!
//! Questions are answered from memory: it is never behind, and there when Redis is not.

use book::{Effect, Follower, PRODUCER_SILENCE_MAX_NS};
use catalog::StreamKey;
use halves::Halves;
use hotstore::{Slot, Stamp};
use model::{Body, Book, BookType, Event, GapState, Kind, Level};
use std::collections::BTreeMap;
use std::sync::Arc;
use units::UnixNanos;

pub(crate) mod desk;
mod halves;
pub(crate) mod outlet;
#[cfg(test)]
mod tests;

/// Diffs kept of a book that is read from the cold store: twenty seconds of the busiest ones, and
/// what is stored lags behind the live lane by a few.
const RECENT_MAX: usize = 256;

/// Rounds without a word of a symbol after which it is forgotten: with a round an hour, twice as
/// long as the copy in Redis keeps it unless told otherwise.
const SILENT_ROUNDS_MAX: u32 = 48;

/// What is known of all symbols.
#[derive(Debug)]
pub(crate) struct Hot {
    trades_max: usize,
    symbols: BTreeMap<StreamKey, Symbol>,
    /// When the event was received that was taken last.
    newest: Option<i64>,
    /// Whether anything was taken in this round.
    heard: bool,
}

/// What is known of one symbol.
#[derive(Debug, Default)]
struct Symbol {
    latest: BTreeMap<Kind, Latest>,
    halves: Halves,
    /// The last trades by id, for each of the two kinds of them.
    trades: BTreeMap<Kind, BTreeMap<u64, Latest>>,
    book: Option<Follower>,
    /// Rounds since something was taken.
    silent: u32,
}

#[derive(Debug, Clone)]
struct Latest {
    /// Who said it on the live lane; `None` if it is from the cold store.
    producer: Option<Arc<str>>,
    recv_time: i64,
    json: Box<[u8]>,
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
        Self { trades_max, symbols: BTreeMap::new(), newest: None, heard: false }
    }

    /// Ends a round, and forgets what was silent for too many: contracts end every day. A round in
    /// which nobody said anything counts for nothing, so that an outage makes nothing be forgotten.
    pub(crate) fn end_round(&mut self) {
        if !std::mem::take(&mut self.heard) {
            return;
        }
        self.symbols.retain(|_, symbol| {
            symbol.silent += 1;
            symbol.silent <= SILENT_ROUNDS_MAX
        });
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
        (self.heard, symbol.silent) = (true, 0);
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
                let book = symbol.book.as_mut().filter(|_| breaks);
                let broke = book.is_some_and(|book| book.take_gap(gap.after_id, producer));
                let latest = symbol.take_latest(Kind::Gap, Latest::new(event, json, producer));
                [latest, broke.then_some((Slot::Book, 0))]
            }
            Body::Ticker(_) | Body::Mark(_) => [symbol.take_half(event, json, producer), None],
            Body::Bbo(_)
            | Body::Kline(_)
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

    /// Keeps what the live lane says of a book from here on, since it is about to be read from the
    /// cold store. Whether it is wanted: the live lane may have brought it already.
    pub(crate) fn expect_book(&mut self, key: &StreamKey) -> bool {
        let symbol = self.symbols.entry(key.clone()).or_default();
        let book = symbol.book.get_or_insert_with(|| Follower::new(0));
        if !book.is_in_step() {
            book.keep(RECENT_MAX);
        }
        !book.is_in_step()
    }

    /// Takes a book of the cold store. Whether the book is in step.
    pub(crate) fn seed_book(&mut self, key: &StreamKey, book: &Book, recv_time: UnixNanos) -> bool {
        let known = self.symbols.get_mut(key).and_then(|symbol| symbol.book.as_mut());
        let Some(known) = known else { return false };
        self.newest = self.newest.max(Some(recv_time.as_i64()));
        known.take_stored(book, recv_time)
    }

    /// Keeps no more of a book than what it is, and nothing of one that is not known.
    pub(crate) fn settle_book(&mut self, key: &StreamKey) {
        let Some(symbol) = self.symbols.get_mut(key) else { return };
        if let Some(book) = &mut symbol.book {
            book.keep(0);
        }
        if symbol.known_book().is_none() {
            symbol.book = None;
        }
        if symbol.latest.is_empty() && symbol.trades.is_empty() && symbol.book.is_none() {
            self.symbols.remove(key);
        }
    }

    /// The latest of a kind: `limit` trades, a book of so many levels, or one event.
    pub(crate) fn latest(&self, kind: Kind, key: &StreamKey, limit: usize) -> Option<Answer> {
        let symbol = self.symbols.get(key)?;
        match kind {
            Kind::Trade | Kind::AggTrade => trades(symbol.trades.get(&kind)?, limit),
            Kind::Book => symbol.known_book().map(|book| answer(book, key, limit)),
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
            if let Some(book) = symbol.known_book() {
                summary.books += 1;
                summary.books_unsynced += usize::from(!book.is_in_step());
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
    /// The book, if there is anything to say of it.
    fn known_book(&self) -> Option<&Follower> {
        self.book.as_ref().filter(|book| book.is_known())
    }

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

    /// Takes an event of a kind that some venues say in two halves: the latest has both.
    fn take_half(
        &mut self,
        event: &Event,
        json: &[u8],
        producer: Option<&Arc<str>>,
    ) -> Option<(Slot, u64)> {
        let (kind, latest) = (event.kind(), Latest::new(event, json, producer));
        if self.latest.get(&kind).is_some_and(|known| !latest.replaces(known)) {
            return None;
        }
        let latest = match self.halves.complete(event) {
            Some(whole) => {
                let mut json = Vec::new();
                wire::encode(&whole, &mut json);
                Latest::new(&whole, &json, producer)
            }
            None => latest,
        };
        self.take_latest(kind, latest)
    }

    /// Whether it changes what is said of the book.
    fn take_book(&mut self, event: &Event, producer: Option<&Arc<str>>) -> bool {
        let Body::Book(update) = &event.body else { return false };
        if self.book.is_none() && update.book_type == BookType::Diff {
            // Of what is not known there is nothing to say.
            return false;
        }
        match self.book.get_or_insert_with(|| Follower::new(0)).take(event, producer) {
            Effect::Snapshot | Effect::Follows | Effect::Broke(_) => true,
            Effect::Nothing => false,
        }
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

/// What is said of a book.
fn answer(book: &Follower, key: &StreamKey, depth: usize) -> Answer {
    let (bids, asks) = book.top(depth);
    let levels = |levels: Vec<Level>| -> Vec<[String; 2]> {
        levels.iter().map(|(price, qty)| [price.to_string(), qty.to_string()]).collect()
    };
    let recv_time = book.recv_time().as_i64();
    let data = serde_json::json!({
        "venue": key.venue.as_str(),
        "market": key.market.as_str(),
        "symbol": key.symbol.as_str(),
        "recv_time": recv_time,
        "last_id": book.last_id(),
        "synced": book.is_in_step(),
        "reason": book.unsynced(),
        "bids": levels(bids),
        "asks": levels(asks),
    });
    Answer { recv_time, data: data.to_string().into_bytes() }
}
