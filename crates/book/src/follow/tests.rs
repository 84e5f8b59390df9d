//! Ring 1: which updates follow, by the rules of each venue, and beside a model.

use super::*;
use model::{InstrumentId, Market, Symbol, Venue};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A little more than is waited for a producer, in nanoseconds.
const SILENCE: i64 = PRODUCER_SILENCE_MAX_NS.cast_signed() + 1;

struct Bench {
    book: Follower,
    instrument: Arc<InstrumentId>,
    producer: Arc<str>,
    recv_time: i64,
}

impl Bench {
    fn new() -> Bench {
        let instrument = Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Perp,
            symbol: Symbol::new("BTC-USDT").unwrap(),
            name: Arc::from("BTCUSDT"),
        });
        Bench { book: Follower::new(512), instrument, producer: Arc::from("a"), recv_time: 1 }
    }

    /// A bench with a book in step at this id.
    fn at(id: u64) -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.snapshot(id), Effect::Snapshot);
        bench
    }

    fn take(&mut self, body: Book, origin: Option<Origin>) -> Effect {
        let event = Event {
            instrument: Arc::clone(&self.instrument),
            venue_time: None,
            recv_time: UnixNanos::new(self.recv_time),
            origin,
            body: Body::Book(body),
        };
        self.book.take(&event, Some(&self.producer))
    }

    fn snapshot(&mut self, last_id: u64) -> Effect {
        self.take(snapshot(last_id), None)
    }

    /// A diff with a first id, or of one that names the one before it, or both.
    fn diff(&mut self, first: Option<u64>, prev: Option<u64>, last: u64) -> Effect {
        self.take(diff(first, prev, last), None)
    }
}

fn snapshot(last_id: u64) -> Book {
    Book { book_type: BookType::Snapshot, ..diff(None, None, last_id) }
}

fn diff(first_id: Option<u64>, prev_id: Option<u64>, last_id: u64) -> Book {
    let level = ("1".parse().unwrap(), "1".parse().unwrap());
    let (bids, asks) = (vec![level], Vec::new());
    Book { book_type: BookType::Diff, first_id, last_id, prev_id, part: 0, bids, asks }
}

const MISSING: Effect = Effect::Broke("updates are missing");

#[test]
fn without_links_ids_have_no_holes() {
    let mut bench = Bench::at(100);
    assert_eq!(bench.diff(Some(90), None, 100), Effect::Nothing, "the snapshot covers it");
    assert_eq!(bench.diff(Some(95), None, 105), Effect::Follows, "it straddles the snapshot");
    assert_eq!(bench.diff(Some(106), None, 106), Effect::Follows);
    assert_eq!(bench.diff(Some(108), None, 109), MISSING);
}

#[test]
fn the_first_linked_update_after_a_snapshot_may_straddle_it_and_the_others_must_link() {
    let mut bench = Bench::at(100);
    assert_eq!(bench.diff(Some(80), Some(79), 90), Effect::Nothing);
    assert_eq!(bench.diff(Some(95), Some(90), 105), Effect::Follows, "Binance USD-M");
    assert_eq!(bench.diff(Some(110), Some(105), 112), Effect::Follows, "ids have holes");
    assert_eq!(bench.diff(Some(113), Some(111), 115), MISSING);
    let mut bench = Bench::at(100);
    assert_eq!(bench.diff(Some(120), Some(110), 125), MISSING, "it begins behind the snapshot");
}

#[test]
fn a_chain_may_begin_to_count_anew() {
    let mut bench = Bench::at(100);
    assert_eq!(bench.diff(None, Some(100), 130), Effect::Follows);
    assert_eq!(bench.diff(None, Some(130), 130), Effect::Nothing, "nothing happened");
    assert_eq!(bench.diff(None, Some(130), 3), Effect::Follows, "OKX after a maintenance");
    assert_eq!(bench.diff(None, Some(3), 4), Effect::Follows);
    assert_eq!(bench.diff(None, Some(7), 8), MISSING);
}

#[test]
fn what_was_pruned_stands_at_the_id_before_it() {
    let mut bench = Bench::at(100);
    let prune = |id| diff(None, None, id);
    assert_eq!(bench.take(prune(100), Some(Origin::Prune)), Effect::Follows);
    assert_eq!(bench.diff(Some(95), Some(90), 105), Effect::Follows, "still the first update");
    assert_eq!(bench.take(prune(104), Some(Origin::Prune)), Effect::Nothing);
    assert_eq!(bench.take(prune(106), Some(Origin::Prune)), MISSING);
}

#[test]
fn a_further_part_adds_its_levels_at_the_id_of_the_first() {
    let part = |prev_id, last_id, part: u32| {
        let level = (units::Price::from_raw(i128::from(part) + 1), "1".parse().unwrap());
        Book { part, bids: vec![level], ..diff(None, prev_id, last_id) }
    };
    let mut bench = Bench::at(100);
    assert_eq!(bench.take(part(None, 100, 1), None), Effect::Follows, "of the snapshot");
    assert_eq!(bench.take(part(None, 100, 2), None), Effect::Follows);
    assert_eq!(bench.book.snapshot().bids.len(), 3);
    assert_eq!(bench.diff(Some(95), Some(90), 105), Effect::Follows, "still the first update");
    assert_eq!(bench.take(part(Some(90), 105, 1), None), Effect::Follows, "of the diff");
    assert_eq!(bench.take(part(None, 100, 3), None), Effect::Nothing, "late, and covered");
    assert_eq!(bench.take(part(Some(105), 110, 1), None), MISSING, "the first part was lost");
}

#[test]
fn a_book_out_of_step_takes_the_answer_and_what_came_meanwhile() {
    let mut bench = Bench::new();
    for id in 1..=9 {
        assert_eq!(bench.diff(Some(id), None, id), Effect::Nothing);
    }
    assert!(bench.book.take_answer(&snapshot(5), UnixNanos::new(2)));
    assert_eq!(bench.diff(Some(10), None, 10), Effect::Follows);
    assert_eq!(bench.diff(Some(12), None, 12), MISSING);
    assert!(!bench.book.take_answer(&snapshot(10), UnixNanos::new(3)), "from before the loss");
    assert!(bench.book.take_answer(&snapshot(11), UnixNanos::new(3)));
    assert_eq!(bench.diff(Some(13), None, 13), Effect::Follows);
}

#[test]
fn another_collector_is_followed_once_the_first_is_silent() {
    let mut bench = Bench::at(100);
    bench.producer = Arc::from("b");
    assert_eq!(bench.diff(Some(101), None, 101), Effect::Nothing);
    bench.recv_time += SILENCE;
    let took_over = Effect::Broke("another collector speaks");
    assert_eq!(bench.diff(Some(102), None, 102), took_over);
    assert_eq!(bench.diff(Some(103), None, 103), Effect::Nothing);
    assert!(bench.book.take_answer(&snapshot(101), UnixNanos::new(bench.recv_time)));
    assert_eq!(bench.diff(Some(104), None, 104), Effect::Follows);
}

#[test]
fn a_collector_that_takes_over_is_followed_at_once() {
    let mut bench = Bench::at(100);
    bench.producer = Arc::from("b");
    assert_eq!(bench.snapshot(110), Effect::Nothing, "the first one may speak still");
    assert_eq!(bench.take(snapshot(120), Some(Origin::Takeover)), Effect::Snapshot);
    assert_eq!(bench.diff(Some(121), None, 122), Effect::Follows);
    bench.producer = Arc::from("a");
    assert_eq!(bench.diff(Some(101), None, 125), Effect::Nothing);
    assert_eq!(bench.take(snapshot(122), Some(Origin::Takeover)), Effect::Snapshot, "back again");
}

#[test]
fn the_word_of_a_gap_ends_the_step_unless_it_is_old_or_another_s() {
    let mut bench = Bench::at(100);
    let (this, other): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
    assert!(!bench.book.take_gap(Some(99), Some(&this)), "a snapshot has come since");
    assert!(!bench.book.take_gap(Some(100), Some(&other)));
    assert!(bench.book.take_gap(Some(100), Some(&this)));
    assert!(!bench.book.is_in_step());
    assert!(!bench.book.take_gap(Some(100), Some(&this)), "once");
    assert_eq!(bench.snapshot(140), Effect::Snapshot);
}

#[test]
#[expect(clippy::cognitive_complexity, reason = "a test tells its story in one place")]
fn what_is_stored_waits_for_a_diff_that_shows_that_nothing_is_missing() {
    let mut bench = Bench::new();
    assert!(!bench.book.take_stored(&snapshot(5), UnixNanos::new(1)), "nothing is shown yet");
    assert!(bench.book.is_known());
    assert_eq!(bench.diff(Some(6), None, 7), Effect::Follows);
    assert!(bench.book.is_in_step());

    let mut bench = Bench::new();
    assert!(!bench.book.take_stored(&snapshot(5), UnixNanos::new(1)));
    assert_eq!(bench.diff(Some(4), None, 5), Effect::Follows, "it is covered, hence all is there");
    assert_eq!(bench.diff(Some(6), None, 6), Effect::Follows);

    let mut bench = Bench::new();
    assert!(!bench.book.take_stored(&snapshot(5), UnixNanos::new(1)));
    assert_eq!(bench.diff(Some(7), None, 7), MISSING);
    assert_eq!(bench.diff(Some(8), None, 8), Effect::Nothing);
    assert!(!bench.book.take_stored(&snapshot(5), UnixNanos::new(2)), "6 is still missing");
    assert_eq!(bench.book.unsynced(), Some("updates are missing"));
    assert!(bench.book.take_stored(&snapshot(6), UnixNanos::new(3)), "what came is shown");
    assert_eq!(bench.book.last_id(), 8);
    assert_eq!(bench.diff(Some(9), None, 9), Effect::Follows);
    assert!(bench.book.take_stored(&snapshot(6), UnixNanos::new(4)), "in step it stays as it is");
    assert_eq!(bench.book.last_id(), 9);
}

#[test]
fn what_is_stored_is_of_no_use_once_the_venue_counts_anew() {
    let mut bench = Bench::new();
    bench.recv_time = 1 + SILENCE;
    assert_eq!(bench.diff(None, Some(3), 4), Effect::Nothing);
    assert!(!bench.book.take_stored(&snapshot(100), UnixNanos::new(1)));
    assert!(!bench.book.is_known());

    let mut bench = Bench::new();
    assert!(!bench.book.take_stored(&snapshot(100), UnixNanos::new(1)));
    bench.recv_time = 1 + SILENCE;
    assert_eq!(bench.diff(None, Some(3), 4), MISSING);

    let mut bench = Bench::new();
    assert!(!bench.book.take_stored(&snapshot(100), UnixNanos::new(1)));
    bench.recv_time = 1 + SILENCE;
    assert_eq!(bench.diff(None, Some(100), 4), Effect::Follows, "it is the next one");
}

#[test]
fn no_more_diffs_are_kept_than_was_said() {
    let mut bench = Bench::new();
    bench.book.keep(2);
    for id in 1..=4 {
        assert_eq!(bench.diff(Some(id), None, id), Effect::Nothing);
    }
    assert!(!bench.book.take_answer(&snapshot(1), UnixNanos::new(2)), "2 is gone");
    assert!(bench.book.take_answer(&snapshot(2), UnixNanos::new(2)));
    let mut bench = Bench::new();
    bench.book.keep(0);
    assert_eq!(bench.diff(Some(4), None, 4), Effect::Nothing);
    assert!(bench.book.take_answer(&snapshot(1), UnixNanos::new(2)), "nothing contradicts it");
}

/// How a venue names what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Ids without holes (Binance spot).
    Contiguous,
    /// Ids with holes, each update with its first one and the last of the update before
    /// (Binance USD-M).
    Linked,
    /// Ids with holes and the one of the update before (OKX, Deribit).
    Chained,
}

/// What becomes of the next thing that the venue says.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Repeated,
    /// A snapshot comes first, of the state that many changes ago, this one counted.
    Snapshot(usize),
    /// The venue begins to count anew with it, if it does so.
    Anew,
    /// The word of a gap comes.
    Gap,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        2 => Just(Fate::Repeated),
        2 => (0_usize..5).prop_map(Fate::Snapshot),
        1 => Just(Fate::Anew),
        1 => Just(Fate::Gap),
    ]
}

/// An update: changes of the venue's book, numbered from 1 as they happen.
#[derive(Debug, Clone)]
struct Said {
    first: usize,
    last: usize,
    update: Book,
}

/// A venue that sets one price with each change, and all that it ever said.
struct VenueModel {
    naming: Naming,
    /// The id of each change; of the state before the first one as well.
    ids: Vec<u64>,
    levels: Vec<Level>,
    /// Where updates end; snapshots of a chained stream are taken there.
    ends: Vec<usize>,
    /// Where it will begin to count anew: lower each time, and no id comes twice.
    anew: u64,
}

impl VenueModel {
    fn new(naming: Naming) -> Self {
        let (ids, levels, ends) = (vec![10_000_000], Vec::new(), vec![0]);
        Self { naming, ids, levels, ends, anew: 9_990_000 }
    }

    /// The book after so many changes, rebuilt from the first one.
    fn book_at(&self, changes: usize) -> Vec<Level> {
        let mut book = BTreeMap::new();
        for (price, qty) in &self.levels[..changes] {
            book.insert(*price, *qty);
        }
        book.into_iter().rev().filter(|(_, qty)| *qty != units::Qty::ZERO).collect()
    }

    /// Makes an update of so many changes.
    fn say(&mut self, changes: &[(u8, u8)], anew: bool) -> Said {
        let first = self.ids.len();
        let before = *self.ids.last().unwrap();
        let stride = if self.naming == Naming::Contiguous { 1 } else { 3 };
        let mut id = if anew { self.anew } else { before };
        self.anew -= if anew { 10_000 } else { 0 };
        for (price, qty) in changes {
            id += stride;
            self.ids.push(id);
            let price = units::Price::from_raw((i128::from(*price) + 1) * 10_i128.pow(18));
            self.levels.push((price, units::Qty::from_raw(i128::from(*qty))));
        }
        let last = self.ids.len() - 1;
        self.ends.push(last);
        let has_first = self.naming != Naming::Chained;
        let has_prev = self.naming != Naming::Contiguous;
        let update = Book {
            book_type: BookType::Diff,
            first_id: has_first.then(|| self.ids[first]),
            last_id: self.ids[last],
            prev_id: has_prev.then_some(before),
            part: 0,
            bids: self.levels[first - 1..].to_vec(),
            asks: Vec::new(),
        };
        Said { first, last, update }
    }

    /// A snapshot of so long ago, and of which state it is.
    fn snapshot(&self, ago: usize) -> (usize, Book) {
        let back = |len: usize| len.saturating_sub(ago + 1);
        let at = match self.naming {
            Naming::Contiguous | Naming::Linked => back(self.ids.len()),
            Naming::Chained => self.ends[back(self.ends.len())],
        };
        let bids = self.book_at(at);
        (at, Book { bids, asks: Vec::new(), ..snapshot(self.ids[at]) })
    }
}

/// The reader that knows what the ids only hint at: the state it is in, or that it is in none.
#[derive(Debug, Default)]
struct Naive {
    state: Option<usize>,
    /// Whether nothing has followed the latest snapshot yet.
    is_fresh: bool,
}

impl Naive {
    fn take(&mut self, said: &Said) -> Option<bool> {
        let state = self.state?;
        if said.last <= state {
            return Some(false);
        }
        let follows = said.first == state + 1 || (self.is_fresh && said.first <= state);
        self.state = follows.then_some(said.last);
        self.is_fresh = false;
        Some(true)
    }
}

/// A follower beside the reader that knows.
struct Trial {
    market: VenueModel,
    bench: Bench,
    naive: Naive,
}

impl Trial {
    fn step(&mut self, fate: Fate, changes: &[(u8, u8)]) {
        // That it begins anew shows only to a reader who lacks nothing.
        let said_all = self.market.ids.len();
        let is_up_to_date = self.naive.state.is_none_or(|state| state + 1 == said_all);
        let may_begin_anew = self.market.naming == Naming::Chained && is_up_to_date;
        let said = self.market.say(changes, matches!(fate, Fate::Anew) && may_begin_anew);
        let times = match fate {
            Fate::Snapshot(ago) => {
                self.take_snapshot(ago);
                1
            }
            Fate::Gap => {
                let producer = Arc::clone(&self.bench.producer);
                let breaks = self.bench.book.take_gap(None, Some(&producer));
                assert_eq!(breaks, self.naive.state.take().is_some());
                1
            }
            Fate::Lost => 0,
            Fate::Repeated => 2,
            Fate::Arrives | Fate::Anew => 1,
        };
        for _ in 0..times {
            self.take(&said);
        }
        self.compare();
    }

    fn take_snapshot(&mut self, ago: usize) {
        // Ids of before and after a new count cannot be compared.
        let ago = if self.market.naming == Naming::Chained { ago.min(1) } else { ago };
        let (state, body) = self.market.snapshot(ago);
        assert_eq!(self.bench.take(body, None), Effect::Snapshot);
        self.naive = Naive { state: Some(state), is_fresh: true };
    }

    fn take(&mut self, said: &Said) {
        let effect = self.bench.take(said.update.clone(), None);
        let expected = match (self.naive.take(said), self.naive.state) {
            (None | Some(false), _) => Effect::Nothing,
            (Some(true), Some(_)) => Effect::Follows,
            (Some(true), None) => MISSING,
        };
        assert_eq!(effect, expected, "{said:?}");
    }

    fn compare(&self) {
        let book = &self.bench.book;
        assert_eq!(book.is_in_step(), self.naive.state.is_some());
        if let Some(state) = self.naive.state {
            assert_eq!(book.last_id(), self.market.ids[state]);
            assert_eq!(book.snapshot().bids, self.market.book_at(state));
        }
    }
}

fn naming() -> impl Strategy<Value = Naming> {
    prop_oneof![Just(Naming::Contiguous), Just(Naming::Linked), Just(Naming::Chained)]
}

/// The changes of one update: prices and quantities.
fn changes() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0_u8..6, 0_u8..3), 1..4)
}

proptest! {
    #[test]
    fn a_follower_is_in_step_exactly_when_nothing_is_missing_and_its_book_is_the_venue_s(
        naming in naming(),
        script in proptest::collection::vec((fate(), changes()), 0..120),
    ) {
        let (market, bench) = (VenueModel::new(naming), Bench::new());
        let mut trial = Trial { market, bench, naive: Naive::default() };
        trial.bench.book.keep(0);
        for (fate, changes) in script {
            trial.step(fate, &changes);
        }
    }

    #[test]
    fn what_is_stored_and_what_was_kept_are_the_venue_s_book_or_none(
        naming in naming(),
        said in proptest::collection::vec(changes(), 1..40),
        stored in 0_usize..40,
        kept_from in 0_usize..40,
    ) {
        let mut market = VenueModel::new(naming);
        let said: Vec<Said> = said.iter().map(|changes| market.say(changes, false)).collect();
        let (stored, kept_from) = (stored.min(said.len()), kept_from.min(said.len()));
        let mut bench = Bench::new();
        for said in &said[kept_from..] {
            prop_assert_eq!(bench.take(said.update.clone(), None), Effect::Nothing);
        }
        let at = market.ends[stored];
        let body = Book { bids: market.book_at(at), asks: Vec::new(), ..snapshot(market.ids[at]) };
        let in_step = bench.book.take_stored(&body, UnixNanos::new(1));
        // With nothing kept, what comes next has to show it.
        prop_assert_eq!(in_step, kept_from <= stored && kept_from < said.len());
        if in_step {
            let state = market.ends.last().copied().unwrap();
            prop_assert_eq!(bench.book.snapshot().bids, market.book_at(state));
        }
        let next = market.say(&[(1, 1)], false);
        bench.take(next.update, None);
        let all_is_there = kept_from <= stored;
        prop_assert_eq!(bench.book.is_in_step(), all_is_there);
    }
}
