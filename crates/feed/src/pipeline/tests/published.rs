//! Ring 1: whatever happens to a stream on its way, the published book is one that the venue had or
//! says that it is out of step, and nothing is missing without a record of it.
//!
//! A venue is made up, of one instrument, and speaks in the words of the three that number their
//! books differently. Beside the pipeline somebody reads what is published and knows nothing else.

use super::*;
use model::{Book, Gap};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use venue_binance::Perp;
use venue_okx::Spot as Okx;
use words::{Change, Dialect, Given, Levels, Side};

mod words;

/// The id of the book that the venue begins with.
const BEGIN: u64 = 100;

/// Who reads what is published, and nothing else.
#[derive(Default)]
struct Reader {
    /// The book and its id while it is in step.
    book: Option<(u64, Levels)>,
    /// The id of the first book.
    first: Option<u64>,
    changes: BTreeSet<u64>,
    trades: Vec<u64>,
    /// Ids behind the first and up to the second that a newer book has in it: of gap records that
    /// are healed, and of snapshots that came while the book was in step.
    healed: Vec<(u64, u64)>,
    /// The newest records of gaps of trades.
    gaps: BTreeMap<Arc<str>, Gap>,
}

impl Reader {
    fn read(&mut self, event: &Event) {
        match &event.body {
            Body::Book(book) if book.book_type == BookType::Snapshot => self.begin(book),
            Body::Book(book) => {
                let (id, levels) = self.book.as_mut().expect("an update belongs on a book");
                levels.apply(&book.bids, &book.asks);
                *id = book.last_id;
                self.changes.insert(book.last_id);
            }
            Body::Gap(gap) if gap.of == Kind::Book => {
                if gap.state == GapState::Open {
                    self.book = None;
                }
                if let (GapState::Healed, Some(ids)) = (gap.state, gap.after_id.zip(gap.before_id))
                {
                    self.healed.push(ids);
                }
            }
            Body::Gap(gap) => {
                self.gaps.insert(Arc::clone(&gap.gap_id), gap.clone());
            }
            Body::Trade(trade) | Body::AggTrade(trade) => self.trades.push(trade.seq),
            Body::Bbo(_)
            | Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Status(_) => panic!("nobody said {event:?}"),
        }
    }

    fn begin(&mut self, book: &Book) {
        let levels = Levels::of(&book.bids, &book.asks);
        match &self.book {
            Some((id, known)) if *id == book.last_id => assert_eq!(levels, *known),
            Some((id, _)) => {
                assert!(*id < book.last_id, "a book in step goes back to {}", book.last_id);
                self.healed.push((*id, book.last_id));
            }
            None => {}
        }
        self.first.get_or_insert(book.last_id);
        self.book = Some((book.last_id, levels));
    }
}

/// How a message travels.
#[derive(Debug, Clone, Copy)]
enum Way {
    Arrives,
    Lost,
    Twice,
    /// Behind the next one that arrives.
    Late,
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Update {
        way: Way,
        width: u64,
        is_bid: bool,
        price: u64,
        qty: u64,
    },
    Trade(Way),
    Disconnect,
    /// A snapshot that was asked for comes: the book as it was so many updates ago.
    Answer(usize),
    /// A snapshot that was asked for does not come.
    Fail,
    Wait(u64),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        16 => Just(Way::Arrives),
        1 => Just(Way::Lost),
        1 => Just(Way::Twice),
        1 => Just(Way::Late),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let update = (way(), 1_u64..4, any::<bool>(), 1_u64..=20, 0_u64..4);
    let update = update.prop_map(|(way, width, is_bid, price, qty)| Step::Update {
        way,
        width,
        is_bid,
        price,
        qty,
    });
    prop_oneof![
        20 => update,
        10 => way().prop_map(Step::Trade),
        1 => Just(Step::Disconnect),
        5 => (0_usize..6).prop_map(Step::Answer),
        1 => Just(Step::Fail),
        2 => (1_u64..12).prop_map(Step::Wait),
    ]
}

/// The venue, the way from it, the pipeline, and who reads what that publishes.
struct World<D> {
    pipeline: Pipeline<D>,
    instrument: Arc<InstrumentId>,
    now: UnixNanos,
    out: Vec<Output>,
    /// The books that the venue had, by their ids.
    books: BTreeMap<u64, Levels>,
    /// Snapshots that were asked for and have not come.
    owed: u32,
    late_change: Option<String>,
    /// The last trade.
    trade: u64,
    late_trade: Option<u64>,
    /// The trades that arrived, the first of them first.
    arrived: Vec<u64>,
    reader: Reader,
}

impl<D: Dialect> World<D> {
    fn new() -> Self {
        let mut pipeline = Pipeline::new(D::adapter(), Options::default());
        let slot = pipeline.adapter_mut().slot(D::NAME).unwrap();
        let instrument = Arc::clone(pipeline.adapter().instrument(slot));
        let begin = Levels { bids: Side::from([(10, 1)]), asks: Side::from([(110, 1)]) };
        Self {
            pipeline,
            instrument,
            now: UnixNanos::new(1_000_000_000_000),
            out: Vec::new(),
            books: BTreeMap::from([(BEGIN, begin)]),
            owed: u32::from(Self::begins_with_a_snapshot()),
            late_change: None,
            trade: 0,
            late_trade: None,
            arrived: Vec::new(),
            reader: Reader::default(),
        }
    }

    fn begins_with_a_snapshot() -> bool {
        matches!(D::SNAPSHOTS, Snapshots::Stream)
    }

    fn run(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.wait(Duration::from_millis(100));
            match step {
                Step::Update { way, width, is_bid, price, qty } => {
                    self.update(way, width, is_bid, price, qty);
                }
                Step::Trade(way) => self.next_trade(way),
                Step::Disconnect => self.disconnect(),
                Step::Answer(age) => self.answer(age),
                Step::Fail => self.fail(),
                Step::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            }
            self.look();
        }
        self.settle();
        self.assert_nothing_is_missing();
    }

    /// The venue's book changes, and it says so.
    fn update(&mut self, way: Way, width: u64, is_bid: bool, price: u64, qty: u64) {
        let (prev, mut levels) =
            self.books.last_key_value().map(|(id, b)| (*id, b.clone())).unwrap();
        let (first, last) = match D::RULE {
            book::Rule::Contiguous => (prev + 1, prev + width),
            book::Rule::Linked => (prev + width, prev + 2 * width),
            book::Rule::Chained => (prev + width, prev + width),
        };
        let price = if is_bid { price } else { price + 100 };
        let change = Change { first, last, prev, is_bid, price, qty };
        let side = if is_bid { &mut levels.bids } else { &mut levels.asks };
        match qty {
            0 => side.remove(&price),
            qty => side.insert(price, qty),
        };
        self.books.insert(last, levels);
        let frame = D::change(&change);
        match way {
            Way::Lost => {}
            Way::Late => self.late_change = Some(frame),
            Way::Arrives | Way::Twice => {
                self.frame(&frame);
                if matches!(way, Way::Twice) {
                    self.frame(&frame);
                }
                if let Some(late) = self.late_change.take() {
                    self.frame(&late);
                }
            }
        }
    }

    fn next_trade(&mut self, way: Way) {
        self.trade += 1;
        let id = self.trade;
        match way {
            Way::Lost => {}
            Way::Late => self.late_trade = Some(id),
            Way::Arrives | Way::Twice => {
                self.arrive(id);
                if matches!(way, Way::Twice) {
                    self.arrive(id);
                }
                if let Some(late) = self.late_trade.take() {
                    self.arrive(late);
                }
            }
        }
    }

    fn arrive(&mut self, id: u64) {
        self.arrived.push(id);
        self.frame(&D::trade(id));
    }

    fn frame(&mut self, frame: &str) {
        self.pipeline.handle_frame(self.now, frame.as_bytes(), &mut self.out).unwrap();
    }

    /// What is on its way when a connection ends never arrives.
    fn disconnect(&mut self) {
        (self.late_change, self.late_trade) = (None, None);
        self.pipeline.handle_disconnect([&*self.instrument], self.now, &mut self.out);
        if Self::begins_with_a_snapshot() {
            self.owed = 1;
        }
    }

    fn answer(&mut self, age: usize) {
        let Some(owed) = self.owed.checked_sub(1) else { return };
        self.owed = owed;
        // What the stream brings is in its place: only an answer beside it can be old.
        let age = if Self::begins_with_a_snapshot() { 0 } else { age.min(self.books.len() - 1) };
        let (id, levels) = self.books.iter().rev().nth(age).unwrap();
        match D::snapshot(*id, levels) {
            Given::Frame(frame) => self.frame(&frame),
            Given::Answer { path, body } => {
                let body = body.as_bytes();
                self.pipeline.handle_rest(self.now, path, body, &mut self.out).unwrap();
            }
        }
    }

    fn fail(&mut self) {
        let Some(owed) = self.owed.checked_sub(1) else { return };
        self.owed = owed;
        self.pipeline.handle_snapshot_failure(&self.instrument, self.now, &mut self.out);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.pipeline.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.pipeline.handle_timeout(self.now, &mut self.out);
            self.look();
        }
        self.now = end;
    }

    /// Reads what is published and compares it with the venue.
    fn look(&mut self) {
        for Output { event, .. } in self.out.drain(..) {
            self.reader.read(&event);
        }
        while self.pipeline.next_command().is_some() {
            self.owed += 1;
        }
        let view = self.pipeline.book(&self.instrument, usize::MAX, self.now);
        match view.as_ref().and_then(|view| view.last_id.map(|id| (id, view))) {
            Some((id, view)) => {
                let levels = Levels::of(&view.bids, &view.asks);
                assert_eq!(levels, self.books[&id], "the book at {id}");
                assert_eq!(self.reader.book, Some((id, levels)), "as published");
            }
            None => {
                assert_eq!(self.reader.book, None, "out of step, and nobody said so");
                assert!(
                    view.as_ref().is_none_or(|view| view.bids.is_empty() && view.asks.is_empty())
                );
            }
        }
    }

    /// A whole stream and fresh answers bring every book back into step.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.wait(Duration::from_secs(61));
            self.update(Way::Arrives, 1, true, 1, 1);
            self.look();
            self.answer(0);
            self.look();
        }
        self.update(Way::Arrives, 1, true, 1, 2);
        self.next_trade(Way::Arrives);
        self.look();
        self.wait(Duration::from_secs(2));
        let last = self.books.last_key_value().map(|(id, levels)| (*id, levels.clone()));
        assert_eq!(self.reader.book, last, "in step at the end");
    }

    fn assert_nothing_is_missing(&self) {
        let Reader { first, changes, healed, trades, gaps, .. } = &self.reader;
        let first = first.expect("there was a book");
        for id in self.books.keys().filter(|id| **id > first) {
            let within = |(after, before): &(u64, u64)| after < id && id <= before;
            let is_there = changes.contains(id) || healed.iter().any(within);
            assert!(is_there, "nobody says what became of update {id}: {healed:?}");
        }
        // What was before the first trade that came is not known to be missing.
        let first = self.arrived[0];
        let arrived: BTreeSet<u64> =
            self.arrived.iter().copied().filter(|id| *id >= first).collect();
        let published: BTreeSet<u64> = trades.iter().copied().collect();
        assert_eq!(published, arrived, "the trades");
        assert_eq!(trades.len(), published.len(), "each of them once");
        for id in (first..=self.trade).filter(|id| !arrived.contains(id)) {
            let says = |gap: &Gap| {
                let within = gap.after_id.is_some_and(|after| after < id)
                    && gap.before_id.is_some_and(|before| id < before);
                within && gap.state != GapState::Healed
            };
            assert!(gaps.values().any(says), "nobody says that trade {id} is missing: {gaps:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_book_of_contiguous_ids_is_the_venues_or_says_that_it_is_not(
        steps in vec(step(), 0..250),
    ) {
        World::<Spot>::new().run(steps);
    }

    #[test]
    fn a_book_of_linked_updates_is_the_venues_or_says_that_it_is_not(
        steps in vec(step(), 0..250),
    ) {
        World::<Perp>::new().run(steps);
    }

    #[test]
    fn a_book_of_chained_updates_is_the_venues_or_says_that_it_is_not(
        steps in vec(step(), 0..250),
    ) {
        World::<Okx>::new().run(steps);
    }
}
