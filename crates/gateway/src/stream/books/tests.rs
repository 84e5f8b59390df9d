//! Ring 1: which updates follow, by the rules of each venue.

use model::{Market, Symbol, Venue};

use super::*;

/// Five seconds and a bit, in nanoseconds.
const SILENCE: i64 = 5_000_000_001;

struct Bench {
    book: LiveBook,
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
        Bench { book: LiveBook::new(instrument), producer: Arc::from("a"), recv_time: 1 }
    }

    /// A bench with a book in step at this id.
    fn at(id: u64) -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.snapshot(id), Effect::Snapshot);
        bench
    }

    fn take(&mut self, body: Book, origin: Option<Origin>) -> Effect {
        let event = Event {
            instrument: self.book.instrument(),
            venue_time: None,
            recv_time: UnixNanos::new(self.recv_time),
            origin,
            body: Body::Book(body),
        };
        self.book.take(event, Some(&self.producer))
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
    Book { book_type: BookType::Diff, first_id, last_id, prev_id, bids, asks }
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
