use super::*;
use model::{Book, Cause, Gap, InstrumentId, Market, Side, Trade, Venue};
use units::{Price, Qty, UnixNanos};

fn event(recv_time: i64, body: Body) -> Event {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: model::Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    let recv_time = UnixNanos::new(recv_time);
    Event { instrument, venue_time: None, recv_time, origin: None, body }
}

fn level(price: i128, qty: i128) -> Level {
    (Price::from_raw(price * 10_i128.pow(18)), Qty::from_raw(qty * 10_i128.pow(18)))
}

fn book(book_type: BookType, first: u64, last_id: u64, bid: Level) -> Body {
    let first_id = (book_type == BookType::Diff).then_some(first);
    let (bids, asks) = (vec![bid], vec![level(101, 1)]);
    Body::Book(Book { book_type, first_id, last_id, prev_id: None, part: 0, bids, asks })
}

fn trade(seq: u64) -> Body {
    Body::Trade(Trade {
        seq,
        trade_id: Arc::from("x"),
        price: Price::ZERO,
        qty: Qty::ZERO,
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    })
}

fn bbo(id: u64) -> Body {
    let price = Price::from_raw(1);
    let qty = Qty::from_raw(1);
    Body::Bbo(model::Bbo { id, bid_price: price, bid_qty: qty, ask_price: price, ask_qty: qty })
}

const SILENCE: i64 = PRODUCER_SILENCE_MAX_NS.cast_signed();

/// Runs events of producers and says what the book looks like.
struct Script {
    hot: Hot,
    now: i64,
}

impl Script {
    fn new() -> Self {
        Self { hot: Hot::new(3), now: 0 }
    }

    fn take(&mut self, producer: &str, body: Body) {
        self.take_from(Some(&Arc::from(producer)), body);
    }

    /// Takes an event of a producer, or of the store.
    fn take_from(&mut self, producer: Option<&Arc<str>>, body: Body) {
        self.now += 1;
        let mut json = Vec::new();
        let event = event(self.now, body);
        wire::encode(&event, &mut json);
        self.hot.apply(&event, &json, producer);
    }

    fn latest(&self, kind: Kind, limit: usize) -> serde_json::Value {
        let key = StreamKey::from(&*event(0, trade(1)).instrument);
        let answer = self.hot.latest(kind, &key, limit).unwrap();
        serde_json::from_slice(&answer.data).unwrap()
    }

    fn book(&self) -> (u64, bool, String) {
        let book = self.latest(Kind::Book, 5);
        let best = book["bids"][0][0].as_str().unwrap().to_owned();
        (book["last_id"].as_u64().unwrap(), book["synced"].as_bool().unwrap(), best)
    }
}

use BookType::{Diff, Snapshot};

#[test]
fn a_jump_in_the_sequence_marks_the_book_until_the_next_snapshot() {
    let mut script = Script::new();
    script.take("a", book(Snapshot, 0, 10, level(90, 1)));
    script.take("a", book(Diff, 11, 12, level(91, 1)));
    assert_eq!(script.book(), (12, true, "91".to_owned()));
    script.take("a", book(Diff, 5, 9, level(99, 1)));
    assert_eq!(script.book(), (12, true, "91".to_owned()), "an old diff is covered");
    script.take("a", book(Diff, 14, 15, level(92, 1)));
    assert_eq!(script.book(), (12, false, "91".to_owned()));
    script.take("a", book(Diff, 16, 16, level(93, 1)));
    assert_eq!(script.book(), (12, false, "91".to_owned()));
    script.take("a", book(Snapshot, 0, 20, level(94, 1)));
    assert_eq!(script.book(), (20, true, "94".to_owned()));
    assert_eq!(script.hot.summary().books_unsynced, 0);
}

#[test]
fn a_book_follows_one_producer_until_its_chain_breaks() {
    let mut script = Script::new();
    script.take("a", book(Snapshot, 0, 10, level(90, 1)));
    script.take("b", book(Snapshot, 0, 50, level(95, 1)));
    script.take("b", book(Diff, 11, 11, level(96, 1)));
    assert_eq!(script.book(), (10, true, "90".to_owned()));
    let gap = Gap {
        gap_id: Arc::from("g"),
        version: 1,
        of: Kind::Book,
        after_id: Some(10),
        before_id: None,
        since: None,
        until: None,
        cause: Cause::Sequence,
        state: GapState::Open,
    };
    script.take("a", Body::Gap(gap));
    assert!(!script.book().1);
    script.take("b", book(Snapshot, 0, 51, level(95, 1)));
    script.take("b", book(Diff, 52, 52, level(96, 1)));
    assert_eq!(script.book(), (52, true, "96".to_owned()));
}

#[test]
fn a_silent_producer_is_left_for_one_that_speaks() {
    let mut script = Script::new();
    script.take("a", book(Snapshot, 0, 10, level(90, 1)));
    script.now += SILENCE;
    script.take("b", book(Snapshot, 0, 5, level(95, 1)));
    assert_eq!(script.book(), (5, true, "95".to_owned()));
}

#[test]
fn a_clock_that_is_set_back_hides_nothing_that_comes_later() {
    let mut script = Script::new();
    script.now = 100 * SILENCE;
    script.take("a", bbo(1));
    script.take("a", book(Snapshot, 0, 10, level(90, 1)));
    script.now = 0;
    script.take("a", bbo(2));
    script.take("a", book(Snapshot, 0, 12, level(91, 1)));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 2);
    assert_eq!(script.book(), (12, true, "91".to_owned()));
    assert_eq!(script.hot.summary().newest, Some(2), "the last one says how far it is");
    // Another producer takes over, and its clock is further back still.
    script.now = -2 * SILENCE;
    script.take("b", bbo(3));
    script.take("b", book(Snapshot, 0, 13, level(92, 1)));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 3);
    assert_eq!(script.book(), (13, true, "92".to_owned()));
    // Of two that speak at the same time the newest wins.
    script.now -= SILENCE / 2;
    script.take("a", bbo(4));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 3);
}

#[test]
fn what_the_store_has_never_replaces_what_is_live_and_newer() {
    let mut script = Script::new();
    script.now = 100;
    script.take_from(None, bbo(1));
    script.now = 50;
    script.take_from(None, bbo(2));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 1, "an older row of the store");
    script.take("a", bbo(3));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 3, "live, with a clock set back");
    script.now = 10;
    script.take_from(None, bbo(4));
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 3);
}

/// A diff of a venue that links its updates.
fn linked(first_id: Option<u64>, prev: u64, last_id: u64, bid: Level) -> Body {
    let (bids, asks) = (vec![bid], Vec::new());
    let prev_id = Some(prev);
    Body::Book(Book { book_type: Diff, first_id, last_id, prev_id, part: 0, bids, asks })
}

#[test]
fn the_first_update_of_binance_usd_m_may_straddle_the_snapshot() {
    let mut script = Script::new();
    script.take("a", book(Snapshot, 0, 100, level(90, 1)));
    script.take("a", linked(Some(95), 94, 105, level(91, 1)));
    assert_eq!(script.book(), (105, true, "91".to_owned()));
    script.take("a", linked(Some(110), 105, 112, level(92, 1)));
    assert_eq!(script.book(), (112, true, "92".to_owned()));
    script.take("a", linked(Some(111), 110, 115, level(93, 1)));
    assert_eq!(script.book(), (112, false, "92".to_owned()), "only the first one");
}

#[test]
fn okx_may_begin_to_count_anew() {
    let mut script = Script::new();
    script.take("a", book(Snapshot, 0, 100, level(90, 1)));
    script.take("a", linked(None, 100, 3, level(91, 1)));
    assert_eq!(script.book(), (3, true, "91".to_owned()));
    script.take("a", linked(None, 3, 3, level(92, 1)));
    assert_eq!(script.book(), (3, true, "91".to_owned()), "nothing happened");
    script.take("a", linked(None, 3, 7, level(92, 1)));
    assert_eq!(script.book(), (7, true, "92".to_owned()));
}

#[test]
fn a_book_of_the_store_is_in_step_once_it_meets_what_was_said_since() {
    let mut script = Script::new();
    let key = StreamKey::from(&*event(0, trade(1)).instrument);
    let seed = |script: &mut Script, last_id| {
        let Body::Book(stored) = book(Snapshot, 0, last_id, level(90, 1)) else { unreachable!() };
        script.hot.seed_book(&key, &stored, UnixNanos::new(1))
    };
    assert!(!seed(&mut script, 10), "nobody waits for it");
    assert!(script.hot.expect_book(&key));
    script.take("a", book(Diff, 14, 15, level(91, 1)));
    assert!(script.hot.latest(Kind::Book, &key, 5).is_none(), "nothing is known yet");
    assert_eq!(script.hot.summary().books, 0);
    assert!(!seed(&mut script, 12), "13 is missing");
    assert!(!script.book().1);
    assert!(seed(&mut script, 13));
    assert_eq!(script.book(), (15, true, "91".to_owned()));
    assert!(!script.hot.expect_book(&key), "it needs none");
    assert_eq!(script.hot.summary().newest, Some(script.now));
}

#[test]
fn a_book_that_nothing_is_known_of_is_forgotten() {
    let mut script = Script::new();
    let key = StreamKey::from(&*event(0, trade(1)).instrument);
    assert!(script.hot.expect_book(&key));
    script.hot.settle_book(&key);
    assert_eq!(script.hot.summary(), Summary::default());
    script.take("a", bbo(1));
    assert!(script.hot.expect_book(&key));
    script.hot.settle_book(&key);
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 1);
    script.take("a", book(Snapshot, 0, 10, level(90, 1)));
    script.hot.settle_book(&key);
    assert_eq!(script.book(), (10, true, "90".to_owned()));
}

#[test]
fn a_symbol_of_which_nothing_comes_while_others_speak_is_forgotten() {
    let mut script = Script::new();
    script.take("a", bbo(1));
    let mut other = event(1, bbo(2));
    let instrument = Arc::make_mut(&mut other.instrument);
    instrument.symbol = model::Symbol::new("ETH-USDT").unwrap();
    let key = StreamKey::from(&*event(0, trade(1)).instrument);
    let speak = |hot: &mut Hot, rounds: u32| {
        for _ in 0..rounds {
            hot.apply(&other, b"{}", Some(&Arc::from("a")));
            hot.end_round();
        }
    };
    speak(&mut script.hot, SILENT_ROUNDS_MAX - 1);
    script.take("a", bbo(3));
    speak(&mut script.hot, SILENT_ROUNDS_MAX);
    (0..SILENT_ROUNDS_MAX).for_each(|_| script.hot.end_round());
    assert_eq!(script.latest(Kind::Bbo, 1)["id"], 3, "an outage is no silence of its own");
    speak(&mut script.hot, 1);
    assert!(script.hot.latest(Kind::Bbo, &key, 1).is_none());
    assert_eq!(script.hot.summary().symbols, 1);
}

#[test]
fn the_last_trades_are_kept_in_order_and_once() {
    let mut script = Script::new();
    for seq in [1, 2, 4, 4, 3] {
        script.take("a", trade(seq));
    }
    let seqs = |value: serde_json::Value| -> Vec<u64> {
        value.as_array().unwrap().iter().map(|trade| trade["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(script.latest(Kind::Trade, 10)), [4, 3, 2]);
    assert_eq!(seqs(script.latest(Kind::Trade, 1)), [4]);
    assert_eq!(script.hot.summary().trades, 3);
}
