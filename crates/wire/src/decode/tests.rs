//! Ring 1: every kind as it travels, and back.

use super::*;
use crate::encode;
use expect_test::expect;
use model::{InstrumentId, Market, Symbol, Venue};
use proptest::prelude::*;

fn instrument() -> Arc<InstrumentId> {
    Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    })
}

fn event(body: Body) -> Event {
    Event {
        instrument: instrument(),
        venue_time: Some(UnixNanos::new(1_723_161_255_342_000_000)),
        recv_time: UnixNanos::new(1_723_161_254_087_896_568),
        origin: None,
        body,
    }
}

fn json(event: &Event) -> String {
    let mut out = Vec::new();
    encode(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn p(text: &str) -> Price {
    text.parse().unwrap()
}

fn q(text: &str) -> Qty {
    text.parse().unwrap()
}

fn trade() -> Event {
    event(Body::Trade(Trade {
        seq: 3_735_683_259,
        trade_id: Arc::from("3735683259"),
        price: p("61837.63"),
        qty: q("0.02"),
        side: Side::Sell,
        id_range: None,
    }))
}

fn ticker() -> Event {
    event(Body::Ticker(Ticker {
        last_price: p("2"),
        open_price: Some(p("1")),
        high_price: None,
        low_price: Some(p("0.5")),
        volume: Some(q("7")),
        quote_volume: None,
        bid_price: None,
        bid_qty: Some(q("4")),
        ask_price: Some(p("3")),
        ask_qty: None,
    }))
}

fn samples() -> Vec<Event> {
    let mut bbo = event(Body::Bbo(Bbo {
        id: 5,
        bid_price: p("1"),
        bid_qty: q("2"),
        ask_price: p("1.5"),
        ask_qty: q("0.000000000000000001"),
    }));
    bbo.venue_time = None;
    let mut snapshot = event(Body::Book(Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: 9,
        prev_id: None,
        bids: vec![(p("1"), q("2")), (p("0.9"), q("3"))],
        asks: vec![],
    }));
    snapshot.origin = Some(Origin::Rest);
    vec![
        trade(),
        bbo,
        snapshot,
        event(Body::AggTrade(Trade {
            seq: 1,
            trade_id: Arc::from("1"),
            price: p("0"),
            qty: q("1"),
            side: Side::Buy,
            id_range: Some((3, 8)),
        })),
        ticker(),
        event(Body::Kline(Kline {
            interval: Arc::from("1m"),
            open_time: UnixNanos::new(60),
            close_time: UnixNanos::new(119),
            open: p("1"),
            high: p("4"),
            low: p("0.5"),
            close: p("2"),
            volume: q("10"),
            quote_volume: Some(q("20")),
            trades: Some(3),
            closed: true,
        })),
        event(Body::Gap(Gap {
            gap_id: Arc::from("g\"1\n"),
            version: 2,
            of: Kind::Trade,
            after_id: Some(4),
            before_id: Some(9),
            since: Some(UnixNanos::new(1)),
            until: None,
            cause: Cause::Restart,
            state: GapState::Open,
        })),
        event(Body::Status(Status {
            connection: Arc::from("binance-spot-0"),
            state: Connection::Disconnected,
            reason: Some(Arc::from("closed by \"venue\"")),
        })),
    ]
}

#[test]
fn a_trade_looks_like_this() {
    expect![[r#"{"v":1,"kind":"trade","venue":"binance","market":"spot","symbol":"BTC-USDT","instrument":"BTCUSDT","venue_time":1723161255342000000,"recv_time":1723161254087896568,"seq":3735683259,"trade_id":"3735683259","price":"61837.63","qty":"0.02","side":"sell"}"#]]
        .assert_eq(&json(&trade()));
}

#[test]
fn every_kind_reads_back() {
    let mut decoder = Decoder::new();
    let samples = samples();
    for sample in &samples {
        let text = json(sample);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        assert_eq!(decoder.decode(text.as_bytes()).unwrap(), *sample, "{text}");
    }
    let kinds: std::collections::BTreeSet<Kind> = samples.iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len(), "a sample for every kind");
}

#[test]
fn instruments_are_shared() {
    let mut decoder = Decoder::new();
    let text = json(&trade());
    let first = decoder.decode(text.as_bytes()).unwrap();
    let second = decoder.decode(text.as_bytes()).unwrap();
    assert!(Arc::ptr_eq(&first.instrument, &second.instrument));
}

#[test]
fn what_is_no_event_is_refused_with_its_reason() {
    let mut decoder = Decoder::new();
    let text = json(&trade());
    for (from, to, reason) in [
        ("\"v\":1", "\"v\":2", "event version 2 is not supported"),
        ("\"seq\":3735683259,", "", "field `seq` is missing"),
        ("61837.63", "abc", "field `price`: unexpected byte 0x61 at offset 0"),
        ("\"sell\"", "\"short\"", "unknown side `short`, expected one of buy, sell"),
    ] {
        let error = decoder.decode(text.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), reason);
    }
    assert!(decoder.decode(b"{").is_err());
}

#[test]
fn members_of_a_newer_writer_are_ignored() {
    let text = json(&trade()).replace("\"v\":1", "\"v\":1,\"new\":[{}]");
    assert_eq!(Decoder::new().decode(text.as_bytes()).unwrap(), trade());
}

#[test]
fn what_the_suite_writes_is_read_the_fast_way() {
    let mut interned = Interned::default();
    for sample in samples() {
        let fast = fast::decode(&mut interned, json(&sample).as_bytes());
        let is_fast = !matches!(sample.kind(), Kind::Kline | Kind::Gap | Kind::Status);
        assert_eq!(fast, is_fast.then_some(sample));
    }
}

#[test]
fn instruments_that_take_turns_stay_apart() {
    let mut decoder = Decoder::new();
    let symbols: Vec<String> = (0..3_000).map(|number| format!("S{number}-USDT")).collect();
    for symbol in symbols.iter().chain(&symbols) {
        let text = json(&trade()).replace("BTC-USDT", symbol).replace("BTCUSDT", symbol);
        let event = decoder.decode(text.as_bytes()).unwrap();
        assert_eq!(
            (event.instrument.symbol.as_str(), &*event.instrument.name),
            (&**symbol, &**symbol)
        );
    }
}

proptest! {
    /// One byte is another, or gone: whatever the fast way takes, the general one takes as the same.
    #[test]
    fn the_fast_way_and_the_general_one_agree(
        sample in 0..9_usize,
        at in 0..400_usize,
        byte in prop::sample::select(b"\"\\,:{}[] 0-x.e\xff\n".to_vec()),
        gone: bool,
    ) {
        let mut samples = samples();
        samples.push(event(Body::Book(Book {
            book_type: BookType::Diff,
            first_id: Some(7),
            last_id: 9,
            prev_id: Some(6),
            bids: vec![(p("1"), q("0"))],
            asks: vec![(p("1.25"), q("2")), (p("1.5"), q("0.1"))],
        })));
        let mut text = json(&samples[sample]).into_bytes();
        let at = at % text.len();
        if gone {
            text.remove(at);
        } else {
            text[at] = byte;
        }
        let fast = fast::decode(&mut Interned::default(), &text);
        let general = Decoder::new().decode_any(&text);
        if let Some(fast) = fast {
            prop_assert_eq!(fast, general.unwrap());
        } else {
            let whole = Decoder::new().decode(&text);
            prop_assert_eq!(whole.ok(), general.ok());
        }
    }

    #[test]
    fn any_trade_survives_the_trip(seq: u64, raw_price: i64, raw_qty: i64, id in "\\PC{0,20}") {
        let trade = event(Body::Trade(Trade {
            seq,
            trade_id: Arc::from(id.as_str()),
            price: Price::from_raw(i128::from(raw_price)),
            qty: Qty::from_raw(i128::from(raw_qty)),
            side: Side::Buy,
            id_range: None,
        }));
        prop_assert_eq!(Decoder::new().decode(json(&trade).as_bytes()).unwrap(), trade);
    }

    #[test]
    fn a_cut_event_is_refused(at in 0..200_usize) {
        let text = json(&trade());
        prop_assert!(Decoder::new().decode(&text.as_bytes()[..at]).is_err());
    }
}
