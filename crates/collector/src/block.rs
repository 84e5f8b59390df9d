//! Blocks of the durable lane, and the note that says what is inside.

use bytes::Bytes;
use model::{
    Body, BookType, Event, Gap, InstrumentId, Kind, Market, NameError, Origin, Symbol, Venue,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use units::UnixNanos;
use wire::BlockId;

/// A run of ids without a hole, of one instrument.
///
/// In blocks of gap records it is the run that the record says is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The kind whose ids these are.
    pub(crate) kind: Kind,
    pub(crate) instrument: Arc<InstrumentId>,
    /// First and last id, inclusive; `None` for kinds without ids.
    pub(crate) ids: Option<(u64, u64)>,
    /// When the first and the last event were received.
    pub(crate) times: (UnixNanos, UnixNanos),
    /// Whether these are trades that a backfill fetched: their gap is on record.
    pub(crate) rest: bool,
    /// The record of a gap of trades or of a book, in blocks of gap records.
    pub(crate) gap: Option<Arc<Gap>>,
}

impl Run {
    /// What one event is of its stream.
    pub(crate) fn of(event: &Event) -> Self {
        let (kind, ids) = match &event.body {
            Body::Trade(trade) | Body::AggTrade(trade) => (event.kind(), Some(trade.ids())),
            Body::Book(book) if book.book_type == BookType::Diff => {
                // Where each diff names the one before, no id between the two is missing.
                let first = match book.prev_id {
                    Some(prev) => prev.saturating_add(1),
                    None => book.first_id.unwrap_or(book.last_id),
                };
                (Kind::Book, Some((first.min(book.last_id), book.last_id)))
            }
            Body::Book(book) => (Kind::Book, Some((book.last_id, book.last_id))),
            Body::Bbo(bbo) => (Kind::Bbo, Some((bbo.id, bbo.id))),
            Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Status(_) => (event.kind(), None),
            Body::Gap(gap) => {
                let missing = gap.after_id.zip(gap.before_id);
                let missing = missing
                    .map(|(after, before)| (after.saturating_add(1), before.saturating_sub(1)));
                (gap.of, missing.filter(|(first, last)| first <= last))
            }
        };
        let times = (event.recv_time, event.recv_time);
        let gap = if let Body::Gap(gap) = &event.body
            && (is_trade(gap.of) || gap.of == Kind::Book)
        {
            Some(Arc::new(gap.clone()))
        } else {
            None
        };
        let rest = event.origin == Some(Origin::Rest) && is_trade(event.kind());
        Self { kind, instrument: Arc::clone(&event.instrument), ids, times, rest, gap }
    }

    /// Whether `next` continues this run, so that both are one.
    pub(crate) fn takes(&self, next: &Self) -> bool {
        let continues = match (self.ids, next.ids) {
            // The venue skips ids of best prices by rule: any two belong together.
            (Some((start, _)), Some((first, _))) if self.kind == Kind::Bbo => first >= start,
            (Some((start, last)), Some((first, _))) => {
                first >= start && first <= last.saturating_add(1)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let alike = self.rest == next.rest && self.gap.is_none() && next.gap.is_none();
        continues && alike && self.kind == next.kind && self.instrument == next.instrument
    }

    pub(crate) fn extend(&mut self, next: &Self) {
        if let (Some((_, last)), Some((_, end))) = (&mut self.ids, next.ids) {
            *last = (*last).max(end);
        }
        self.times.1 = self.times.1.max(next.times.1);
    }
}

/// Adds a run to others, as part of the last one of its stream if it continues that.
pub(crate) fn join(runs: &mut Vec<Run>, run: Run) {
    // Events of few instruments alternate: the run to extend is almost always near the end.
    let same = |known: &&mut Run| known.instrument == run.instrument && known.kind == run.kind;
    match runs.iter_mut().rev().find(same) {
        Some(known) if known.takes(&run) => known.extend(&run),
        Some(_) | None => runs.push(run),
    }
}

/// A block: events of one subject, under an id that never changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: BlockId,
    pub(crate) runs: Vec<Run>,
    pub(crate) payload: Bytes,
}

/// What the spool keeps beside a block: enough to publish it, and to say what is lost with it.
#[derive(Serialize, Deserialize)]
struct Note<'a> {
    id: String,
    #[serde(borrow)]
    runs: Vec<RunNote<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RunNote<'a> {
    kind: &'a str,
    symbol: std::borrow::Cow<'a, str>,
    instrument: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<(u64, u64)>,
    since: i64,
    until: i64,
    #[serde(default)]
    rest: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    gap: Option<GapNote<'a>>,
}

/// What a [`RunNote`] does not say of a gap record.
#[derive(Serialize, Deserialize)]
pub(crate) struct GapNote<'a> {
    id: std::borrow::Cow<'a, str>,
    version: u32,
    after: Option<u64>,
    before: Option<u64>,
    since: Option<i64>,
    until: Option<i64>,
    cause: &'a str,
    state: &'a str,
}

impl<'a> GapNote<'a> {
    pub(crate) fn of(gap: &'a Gap) -> Self {
        Self {
            id: (&*gap.gap_id).into(),
            version: gap.version,
            after: gap.after_id,
            before: gap.before_id,
            since: gap.since.map(UnixNanos::as_i64),
            until: gap.until.map(UnixNanos::as_i64),
            cause: gap.cause.as_str(),
            state: gap.state.as_str(),
        }
    }

    pub(crate) fn read(&self, of: Kind) -> Result<Gap, NameError> {
        Ok(Gap {
            gap_id: Arc::from(&*self.id),
            version: self.version,
            of,
            after_id: self.after,
            before_id: self.before,
            since: self.since.map(UnixNanos::new),
            until: self.until.map(UnixNanos::new),
            cause: self.cause.parse()?,
            state: self.state.parse()?,
        })
    }
}

/// A note that does not read back, though its checksum was right: another version wrote it.
#[derive(Debug, thiserror::Error)]
#[error("a block in the spool is not of this version")]
pub(crate) struct ForeignNote;

impl Block {
    /// When the oldest event of the stream in it was received; `None` if all were fetched, whose
    /// receipt says nothing of how late they are.
    pub(crate) fn oldest(&self) -> Option<UnixNanos> {
        self.runs.iter().filter(|run| !run.rest).map(|run| run.times.0).min()
    }

    /// Writes the note of this block.
    pub(crate) fn note(&self) -> Vec<u8> {
        let runs = self.runs.iter().map(|run| RunNote {
            kind: run.kind.as_str(),
            symbol: run.instrument.symbol.as_str().into(),
            instrument: (&*run.instrument.name).into(),
            ids: run.ids,
            since: run.times.0.as_i64(),
            until: run.times.1.as_i64(),
            rest: run.rest,
            gap: run.gap.as_deref().map(GapNote::of),
        });
        let note = Note { id: self.id.msg_id(), runs: runs.collect() };
        serde_json::to_vec(&note).expect("numbers and text are always JSON")
    }

    /// Puts a block together again from what the spool kept.
    pub(crate) fn restore(note: &[u8], payload: Vec<u8>) -> Result<Self, ForeignNote> {
        let (id, runs) = read_note(note)?;
        Ok(Self { id, runs, payload: Bytes::from(payload) })
    }
}

/// Reads what [`Block::note`] wrote.
pub(crate) fn read_note(note: &[u8]) -> Result<(BlockId, Vec<Run>), ForeignNote> {
    let note: Note<'_> = serde_json::from_slice(note).map_err(|_| ForeignNote)?;
    let id = BlockId::parse(&note.id).map_err(|_| ForeignNote)?;
    let (venue, market) = (id.subject.venue, id.subject.market);
    let runs = note.runs.iter().map(|run| read_run(run, venue, market).ok_or(ForeignNote));
    let runs = runs.collect::<Result<_, _>>()?;
    Ok((id, runs))
}

fn read_run(run: &RunNote<'_>, venue: Venue, market: Market) -> Option<Run> {
    let symbol = Symbol::new(&run.symbol).ok()?;
    let name = Arc::from(&*run.instrument);
    let kind = run.kind.parse().ok()?;
    let gap = run.gap.as_ref().map(|gap| gap.read(kind).map(Arc::new)).transpose().ok()?;
    Some(Run {
        kind,
        instrument: Arc::new(InstrumentId { venue, market, symbol, name }),
        ids: run.ids,
        times: (UnixNanos::new(run.since), UnixNanos::new(run.until)),
        rest: run.rest,
        gap,
    })
}

/// Whether a kind's missing events can be fetched by their ids.
pub(crate) const fn is_trade(kind: Kind) -> bool {
    matches!(kind, Kind::Trade | Kind::AggTrade)
}

/// How dear a subject is, when the spool or the memory is full: the lowest goes first.
///
/// Gap records come last of all: they are small, and without them a loss would be silent.
pub(crate) const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Gap => 3,
        Kind::Trade | Kind::AggTrade | Kind::Liquidation => 2,
        Kind::Kline
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Status => 1,
        Kind::Book | Kind::Bbo | Kind::Ticker | Kind::Mark => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::Book;

    pub(crate) fn instrument(symbol: &str) -> Arc<InstrumentId> {
        Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol: Symbol::new(symbol).unwrap(),
            name: symbol.replace('-', "").into(),
        })
    }

    pub(crate) fn run(kind: Kind, first: u64, last: u64) -> Run {
        Run {
            kind,
            instrument: instrument("BTC-USDT"),
            ids: Some((first, last)),
            times: (UnixNanos::new(1), UnixNanos::new(2)),
            rest: false,
            gap: None,
        }
    }

    pub(crate) fn gap(after: u64, before: u64) -> Gap {
        Gap {
            gap_id: format!("binance.spot.BTC-USDT.trade.{after}").into(),
            version: 1,
            of: Kind::Trade,
            after_id: Some(after),
            before_id: Some(before),
            since: Some(UnixNanos::new(1)),
            until: None,
            cause: model::Cause::Sequence,
            state: model::GapState::Open,
        }
    }

    #[test]
    fn linked_diffs_are_one_run_though_their_ids_have_holes() {
        let diff = |first, last, prev| {
            let (bids, asks) = (Vec::new(), Vec::new());
            let (first_id, last_id) = (Some(first), last);
            let book = Book {
                book_type: BookType::Diff,
                first_id,
                last_id,
                prev_id: prev,
                part: 0,
                bids,
                asks,
            };
            let (instrument, recv_time) = (instrument("BTC-USDT"), UnixNanos::new(1));
            let body = Body::Book(book);
            Run::of(&Event { instrument, venue_time: None, recv_time, origin: None, body })
        };
        let mut runs = Vec::new();
        for (first, last, prev) in [(10, 20, 5), (30, 40, 20), (60, 60, 41)] {
            join(&mut runs, diff(first, last, Some(prev)));
        }
        let ids: Vec<_> = runs.iter().map(|run| run.ids).collect();
        assert_eq!(ids, [Some((6, 40)), Some((42, 60))]);
        // The ids begin anew.
        assert_eq!(diff(3, 3, Some(60)).ids, Some((3, 3)));
        assert_eq!(diff(3, 4, None).ids, Some((3, 4)));
    }

    #[test]
    fn what_was_fetched_and_gap_records_are_runs_of_their_own() {
        let fetched = Run { rest: true, ..run(Kind::Trade, 10, 12) };
        assert!(!run(Kind::Trade, 5, 9).takes(&fetched));
        assert!(fetched.takes(&Run { rest: true, ..run(Kind::Trade, 13, 13) }));
        let record = |first, last| {
            let gap = Some(Arc::new(gap(first - 1, last + 1)));
            Run { gap, ..run(Kind::Trade, first, last) }
        };
        assert!(!record(5, 9).takes(&record(10, 12)));
    }

    #[test]
    fn a_block_comes_back_from_its_note() {
        let block = Block {
            id: BlockId::parse("collector/17/trade.binance.spot/3").unwrap(),
            runs: vec![
                run(Kind::Trade, 5, 9),
                Run { ids: None, instrument: instrument("币安-USDT"), ..run(Kind::Ticker, 0, 0) },
                Run { rest: true, ..run(Kind::AggTrade, 5, 9) },
                Run { gap: Some(Arc::new(gap(4, 10))), ..run(Kind::Trade, 5, 9) },
            ],
            payload: Bytes::from_static(b"{}\n{}"),
        };
        let restored = Block::restore(&block.note(), block.payload.to_vec()).unwrap();
        assert_eq!(restored, block);
        assert!(Block::restore(b"{}", Vec::new()).is_err());
    }

    #[test]
    fn a_block_is_as_old_as_its_oldest_event_of_the_stream() {
        let at = |time, rest| {
            let times = (UnixNanos::new(time), UnixNanos::new(time + 9));
            Run { times, rest, ..run(Kind::Trade, 5, 9) }
        };
        let oldest = |runs| {
            let id = BlockId::parse("collector/17/trade.binance.spot/3").unwrap();
            Block { id, runs, payload: Bytes::new() }.oldest()
        };
        assert_eq!(oldest(vec![at(30, false), at(20, false)]), Some(UnixNanos::new(20)));
        assert_eq!(oldest(vec![at(30, false), at(20, true)]), Some(UnixNanos::new(30)));
        assert_eq!(oldest(vec![at(20, true)]), None);
    }

    #[test]
    fn a_run_takes_what_follows_without_a_hole() {
        let mut whole = run(Kind::Trade, 5, 9);
        assert!(whole.takes(&run(Kind::Trade, 10, 12)));
        assert!(whole.takes(&run(Kind::Trade, 9, 9)));
        assert!(!whole.takes(&run(Kind::Trade, 11, 11)));
        assert!(!whole.takes(&run(Kind::Trade, 4, 4)));
        assert!(!whole.takes(&run(Kind::AggTrade, 10, 10)));
        whole.extend(&run(Kind::Trade, 10, 12));
        assert_eq!(whole.ids, Some((5, 12)));
    }
}
