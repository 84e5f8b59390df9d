//! Ring 2: whole recordings through the pipeline. They lie outside the tree; the variable
//! `MARKETPRISM_FRAMES` names their folder, and without it these tests say so and pass.

#![expect(clippy::wildcard_enum_match_arm, reason = "a recording has more kinds than a test")]

mod contracts;

use super::*;
use crate::{Counts, Options};
use model::{Body, Book, BookType, Cause, GapState, InstrumentId, Kind, Level, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;
use units::{Price, Qty, UnixNanos};
use venue_binance::Spot;

const SPOT: &str = "binance-spot-btcusdt-20240808.tsv.gz";

fn frames() -> Option<PathBuf> {
    let folder = std::env::var_os("MARKETPRISM_FRAMES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MARKETPRISM_FRAMES is not set");
    }
    folder
}

fn recording(name: &str) -> Option<Vec<u8>> {
    let file = std::fs::File::open(frames()?.join("recordings").join(name)).unwrap();
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    Some(text)
}

fn records(text: &[u8]) -> Vec<Record<'_>> {
    venue::recording::lines(text).map(|line| Record::parse(line).unwrap()).collect()
}

struct Run<A = Spot> {
    pipeline: Pipeline<A>,
    out: Vec<Output>,
}

impl Run {
    fn of(records: &[Record<'_>]) -> Self {
        Self::with(Spot::new(), records)
    }

    fn count(counts: impl Iterator<Item = (Kind, u64)>, wanted: Kind) -> u64 {
        counts.filter(|(kind, _)| *kind == wanted).map(|(_, count)| count).sum()
    }
}

impl<A: Adapter> Run<A> {
    fn with(adapter: A, records: &[Record<'_>]) -> Self {
        let mut run =
            Self { pipeline: Pipeline::new(adapter, Options::default()), out: Vec::new() };
        for record in records {
            replay(&mut run.pipeline, record, &mut run.out).unwrap();
        }
        let end = records.last().unwrap().recv_time;
        run.pipeline.finish(end, &mut run.out);
        run
    }

    fn counts(&self) -> &Counts {
        self.pipeline.counts()
    }

    fn instrument(&self) -> &InstrumentId {
        &self.out[0].event.instrument
    }

    /// The ids of the events of a kind, in the order in which they came out.
    fn seqs(&self, kind: Kind) -> Vec<u64> {
        let events = self.out.iter().map(|output| &output.event);
        events.filter(|event| event.kind() == kind).map(|event| event.identity().major).collect()
    }

    fn gaps(&self) -> Vec<&model::Gap> {
        let bodies = self.out.iter().map(|output| &output.event.body);
        bodies.filter_map(|body| if let Body::Gap(gap) = body { Some(gap) } else { None }).collect()
    }

    /// Follows the book events as a consumer of the durable lane would, and checks the chain.
    /// Returns how often the best bid and offer of the book equalled that of a bookTicker.
    fn follow_books(&self) -> Followed {
        let mut followed = Followed::default();
        for Output { event, lanes } in &self.out {
            match &event.body {
                Body::Book(book) if lanes.durable() => followed.book(book, event.origin),
                Body::Bbo(bbo) => {
                    followed.bbos.insert(
                        bbo.id,
                        ((bbo.bid_price, bbo.bid_qty), (bbo.ask_price, bbo.ask_qty)),
                    );
                }
                Body::Gap(gap) if gap.of == Kind::Book && gap.state == GapState::Open => {
                    followed.last = None;
                }
                _ => {}
            }
        }
        followed
    }
}

/// The reference: two maps and the rules of the venue's page, written apart from the code under
/// test.
#[derive(Default)]
struct Followed {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
    last: Option<u64>,
    tops: BTreeMap<u64, (Level, Level)>,
    bbos: BTreeMap<u64, (Level, Level)>,
    diffs: u64,
    snapshots: u64,
}

impl Followed {
    fn book(&mut self, book: &Book, origin: Option<Origin>) {
        match (book.book_type, origin) {
            (BookType::Snapshot, _) => {
                self.bids.clear();
                self.asks.clear();
                self.snapshots += 1;
            }
            (BookType::Diff, Some(Origin::Prune)) => assert_eq!(self.last, Some(book.last_id)),
            (BookType::Diff, _) => {
                let last = self.last.expect("no diff while the book is not in step");
                let first = book.first_id.unwrap();
                let linked = book.prev_id.is_some_and(|prev| prev == last || first <= last);
                let contiguous = book.prev_id.is_none() && first <= last + 1;
                assert!(linked || contiguous, "{first} after {last}");
                assert!(last < book.last_id || (linked && last == book.last_id));
                self.diffs += 1;
            }
        }
        for (side, levels) in [(&mut self.bids, &book.bids), (&mut self.asks, &book.asks)] {
            for (price, qty) in levels {
                match qty.is_zero() {
                    true => side.remove(price),
                    false => side.insert(*price, *qty),
                };
            }
        }
        self.last = Some(book.last_id);
        if let (Some(bid), Some(ask)) = (self.bids.last_key_value(), self.asks.first_key_value()) {
            self.tops.insert(book.last_id, ((*bid.0, *bid.1), (*ask.0, *ask.1)));
        }
    }

    /// Compares at every update id that a book event shares with a bookTicker.
    fn agreements(&self) -> (usize, usize) {
        let shared = self.tops.iter().filter_map(|(id, top)| Some((top, self.bbos.get(id)?)));
        let equal = shared.clone().filter(|(top, bbo)| top == bbo).count();
        (shared.count(), equal)
    }
}

/// The number behind a text, of every frame that has it.
fn ids(text: &[u8], prefix: &str) -> Vec<u64> {
    let records = records(text);
    let frames = records.iter().filter(|record| record.source == Source::Ws).map(frame_text);
    let number = |tail: &str| tail.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse();
    frames.filter_map(|frame| Some(number(frame.split_once(prefix)?.1).unwrap())).collect()
}

/// The positions of the records from the stream that have a text.
fn numbers(text: &[u8], part: &str) -> Vec<usize> {
    let records = records(text);
    let has =
        |at: &usize| records[*at].source == Source::Ws && frame_text(&records[*at]).contains(part);
    (0..records.len()).filter(has).collect()
}

fn frame_text<'a>(record: &Record<'a>) -> &'a str {
    std::str::from_utf8(record.frame).unwrap()
}

#[test]
fn every_trade_and_best_offer_comes_out_once_and_the_book_is_the_known_one() {
    let Some(text) = recording(SPOT) else { return };
    let run = Run::of(&records(&text));

    assert_eq!(run.seqs(Kind::Trade), ids(&text, r#"BTCUSDT","t":"#));
    assert_eq!(run.seqs(Kind::Bbo), ids(&text, r#""data":{"u":"#));
    assert_eq!(run.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0);
    assert_eq!(run.gaps(), Vec::<&model::Gap>::new());
    assert_eq!((run.counts().syncs, run.counts().breaks), (1, 0));

    let followed = run.follow_books();
    assert_eq!(followed.agreements(), (1072, 1072));

    is_the_known_book(&run, "spot_btcusdt");
}

/// Compares the book at the end of a recording with one that was computed apart from this code.
fn is_the_known_book<A: Adapter>(run: &Run<A>, name: &str) {
    let known = std::fs::read(frames().unwrap().join("recordings/final-books.json")).unwrap();
    let known: serde_json::Value = serde_json::from_slice(&known).unwrap();
    let known = &known[name];
    let view = run.pipeline.book(run.instrument(), 5, UnixNanos::new(i64::MAX)).unwrap();
    assert!(view.synced);
    assert_eq!(view.last_id, known["last_u"].as_u64());
    for (levels, key) in [(&view.bids, "top5_bids"), (&view.asks, "top5_asks")] {
        let expected: Vec<Level> = known[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|level| {
                let text = |at: usize| level[at].as_str().unwrap();
                (text(0).parse().unwrap(), text(1).parse().unwrap())
            })
            .collect();
        assert_eq!(levels, &expected, "{key}");
    }
}

#[test]
fn the_first_diff_after_the_snapshot_straddles_its_id() {
    let Some(text) = recording(SPOT) else { return };
    let run = Run::of(&records(&text));
    let mut books = run.out.iter().filter_map(|output| match &output.event.body {
        Body::Book(book) => Some(book),
        _ => None,
    });
    let (snapshot, first) = (books.next().unwrap(), books.next().unwrap());
    assert_eq!((snapshot.book_type, snapshot.last_id), (BookType::Snapshot, 50_093_239_218));
    assert_eq!((first.first_id, first.last_id), (Some(50_093_239_208), 50_093_239_224));
}

#[test]
fn without_a_snapshot_the_book_never_claims_to_be_in_step() {
    let Some(text) = recording("binance-spot-btcusdt-20230405-nosnapshot.tsv.gz") else { return };
    let mut pipeline = Pipeline::new(Spot::new(), Options::default());
    let mut out = Vec::new();
    for record in records(&text) {
        replay(&mut pipeline, &record, &mut out).unwrap();
        let view = pipeline.book(&out[0].event.instrument, 1, record.recv_time).unwrap();
        assert!(!view.synced && view.bids.is_empty() && view.last_id.is_none());
    }
    assert!(out.iter().all(|output| output.event.kind() != Kind::Book));
    let read = pipeline.counts().frames().find(|(name, _)| *name == "book").unwrap().1;
    assert_eq!(usize::try_from(read).unwrap(), ids(&text, r#""U":"#).len());
}

#[test]
fn ten_symbols_share_one_connection_and_every_snapshot_fits() {
    let Some(text) = recording("binance-spot-10symbols-20210405.tsv.gz") else { return };
    let run = Run::of(&records(&text));
    let symbols: BTreeSet<_> = run.out.iter().map(|o| o.event.instrument.symbol.clone()).collect();
    assert_eq!(symbols.len(), 10);
    assert_eq!((run.counts().syncs, run.counts().breaks), (10, 0));
    assert_eq!(Run::count(run.counts().gaps(), Kind::AggTrade), 0);
}

/// A venue that knows its own book: it answers every request for a snapshot from the whole stream,
/// whatever became of the stream on its way to us.
struct Venue {
    book: book::OrderBook,
    last_id: u64,
    known: bool,
}

impl Venue {
    /// Applies what the venue sent, by a pipeline that nothing is kept from.
    fn sent(&mut self, out: &[Output]) {
        for output in out {
            if let Body::Book(book) = &output.event.body {
                match book.book_type {
                    BookType::Snapshot => self.book.replace(&book.bids, &book.asks),
                    BookType::Diff => self.book.apply(&book.bids, &book.asks),
                }
                (self.last_id, self.known) = (book.last_id, true);
            }
        }
    }

    fn answer(&self) -> String {
        let side = |levels: &mut dyn Iterator<Item = Level>| {
            levels.map(|(p, q)| format!(r#"["{p}","{q}"]"#)).collect::<Vec<_>>().join(",")
        };
        let (bids, asks) = (side(&mut self.book.bids()), side(&mut self.book.asks()));
        format!(r#"{{"lastUpdateId":{},"bids":[{bids}],"asks":[{asks}]}}"#, self.last_id)
    }
}

/// Runs the recording with its records reordered, and each delivered as often as `copies` says,
/// while the venue answers requests.
fn run_with_faults(
    text: &[u8],
    copies: impl Fn(usize, Record<'_>) -> usize,
    reorder: impl FnOnce(&mut Vec<usize>),
) -> Run {
    let records = records(text);
    let mut arrivals: Vec<usize> = (0..records.len()).collect();
    reorder(&mut arrivals);
    let options =
        || Options { durable_snapshot_interval: std::time::Duration::MAX, ..Options::default() };
    let mut whole = Run { pipeline: Pipeline::new(Spot::new(), options()), out: Vec::new() };
    let mut run = Run { pipeline: Pipeline::new(Spot::new(), options()), out: Vec::new() };
    let mut venue = Venue { book: book::OrderBook::new(), last_id: 0, known: false };
    for (number, arrives) in arrivals.into_iter().enumerate() {
        let mut out = Vec::new();
        replay(&mut whole.pipeline, &records[number], &mut out).unwrap();
        venue.sent(&out);
        let record = records[arrives];
        let now = records[number].recv_time;
        if run.pipeline.poll_timeout().is_some_and(|due| due <= now) {
            run.pipeline.handle_timeout(now, &mut run.out);
        }
        for _ in 0..copies(arrives, record) {
            match record.source {
                Source::Ws => {
                    run.pipeline.handle_frame(now, record.frame, &mut run.out).unwrap();
                }
                Source::Get(path) => {
                    run.pipeline.handle_rest(now, path, record.frame, &mut run.out).unwrap();
                }
                Source::Sent | Source::Connect(_) => {}
            }
        }
        while let Some(Command::FetchSnapshot { request, .. }) = run.pipeline.next_command() {
            if venue.known {
                let answer = venue.answer();
                run.pipeline
                    .handle_rest(now, &request.path, answer.as_bytes(), &mut run.out)
                    .unwrap();
            }
        }
    }
    run.pipeline.finish(records.last().unwrap().recv_time, &mut run.out);
    run
}

#[test]
fn removed_frames_are_recorded_as_gaps_and_the_book_comes_back() {
    let Some(text) = recording(SPOT) else { return };
    let (diffs, trades) =
        (numbers(&text, r#""e":"depthUpdate""#), numbers(&text, r#""e":"trade""#));
    let gone: BTreeSet<usize> = [
        &diffs[1_000..1_003],
        &diffs[3_000..3_001],
        &diffs[5_000..5_020],
        &trades[500..501],
        &trades[9_000..9_050],
    ]
    .concat()
    .into_iter()
    .collect();
    let run = run_with_faults(&text, |number, _| usize::from(!gone.contains(&number)), |_| ());

    let all = ids(&text, r#"BTCUSDT","t":"#);
    let came: BTreeSet<_> = run.seqs(Kind::Trade).into_iter().collect();
    let of = |kind| run.gaps().into_iter().filter(move |gap| gap.of == kind);
    let ranges: Vec<_> =
        of(Kind::Trade).map(|gap| (gap.after_id.unwrap(), gap.before_id.unwrap())).collect();
    assert_eq!(ranges, [(all[499], all[501]), (all[8_999], all[9_050])]);
    assert!(of(Kind::Trade).all(|gap| gap.cause == Cause::Sequence && gap.state == GapState::Open));
    for id in all {
        let missing = ranges.iter().any(|(after, before)| (after + 1..*before).contains(&id));
        assert_eq!(came.contains(&id), !missing, "{id}");
    }

    assert_eq!(run.counts().breaks, 3);
    assert_eq!(Run::count(run.counts().healed(), Kind::Book), 3);
    let states: Vec<_> = of(Kind::Book).map(|gap| gap.state).collect();
    assert_eq!(states, [GapState::Open, GapState::Healed].repeat(3));
    assert!(of(Kind::Book).is_sorted_by_key(|gap| gap.version));
    let (first, last) = (ids(&text, r#""U":"#), ids(&text, r#","u":"#));
    let opened: Vec<_> = of(Kind::Book)
        .filter(|gap| gap.state == GapState::Open)
        .map(|gap| (gap.after_id, gap.before_id))
        .collect();
    let hole = |from: usize, to: usize| (Some(last[from - 1]), Some(first[to]));
    assert_eq!(opened, [hole(1_000, 1_003), hole(3_000, 3_001), hole(5_000, 5_020)]);
    the_book_is_right(&run, 1_000);
}

#[test]
fn repeated_frames_change_nothing() {
    let Some(text) = recording(SPOT) else { return };
    let run =
        run_with_faults(&text, |_, record| 1 + usize::from(record.source == Source::Ws), |_| ());
    let whole = run_with_faults(&text, |_, _| 1, |_| ());
    assert_eq!(run.out, whole.out);
    let repeated: u64 = run.counts().repeated().map(|(_, count)| count).sum();
    // Three diffs waited for the snapshot; in the buffer a repetition costs and counts nothing.
    assert_eq!(repeated + 3, whole.counts().frames().map(|(_, count)| count).sum::<u64>());
    the_book_is_right(&run, 1_072);
}

#[test]
fn swapped_trades_cost_nothing() {
    let Some(text) = recording(SPOT) else { return };
    let trades: BTreeSet<_> = numbers(&text, r#""e":"trade""#).into_iter().collect();
    let pairs = trades.iter().filter(|at| trades.contains(&(*at + 1))).step_by(999);
    let swap = |order: &mut Vec<usize>| pairs.for_each(|at| order.swap(*at, at + 1));
    let run = run_with_faults(&text, |_, _| 1, swap);
    assert_eq!(run.gaps(), Vec::<&model::Gap>::new());
    let mut seqs = run.seqs(Kind::Trade);
    assert_ne!(seqs, ids(&text, r#"BTCUSDT","t":"#));
    seqs.sort_unstable();
    assert_eq!(seqs, ids(&text, r#"BTCUSDT","t":"#));
    the_book_is_right(&run, 1_072);
}

#[test]
fn swapped_diffs_cost_one_resynchronisation() {
    let Some(text) = recording(SPOT) else { return };
    let diffs = numbers(&text, r#""e":"depthUpdate""#);
    let delay = |order: &mut Vec<usize>| {
        let late = order.remove(diffs[2_000]);
        order.insert(diffs[2_001], late);
    };
    let run = run_with_faults(&text, |_, _| 1, delay);
    assert_eq!((run.counts().breaks, run.counts().syncs), (1, 2));
    let (first, last) = (ids(&text, r#""U":"#), ids(&text, r#","u":"#));
    let gaps = run.gaps();
    let states: Vec<_> = gaps.iter().map(|gap| (gap.after_id, gap.state)).collect();
    let after = Some(last[1_999]);
    assert_eq!(states, [(after, GapState::Open), (after, GapState::Healed)]);
    assert_eq!(gaps[0].before_id, Some(first[2_001]));
    the_book_is_right(&run, 1_000);
}

/// The followed book agrees wherever it can be compared, and ends as the known one.
fn the_book_is_right(run: &Run, agreements_min: usize) {
    let (shared, equal) = run.follow_books().agreements();
    assert_eq!(shared, equal);
    assert!(shared >= agreements_min, "{shared}");
    let view = run.pipeline.book(run.instrument(), 1, UnixNanos::new(0)).unwrap();
    assert_eq!((view.synced, view.last_id), (true, Some(50_093_696_318)));
}
