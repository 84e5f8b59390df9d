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
        count: None,
        liquidation: None,
        block: false,
    }))
}

fn r(text: &str) -> Rate {
    Rate::parse_rounded(text.as_bytes()).unwrap()
}

/// The ticker of an option: greeks as the venue computes them, more places than there are.
fn greeks() -> Greeks {
    Greeks {
        mark_iv: Some(r("31.2")),
        bid_iv: None,
        ask_iv: Some(r("33.74")),
        delta: Some(r("-0.47736")),
        gamma: Some(r("2.8e-4")),
        vega: Some(r("18.436020000000000015")),
        theta: Some(r("-217.493470000000000000500001")),
        rho: Some(r("1.31068")),
        underlying_price: Some(p("76904.4")),
    }
}

fn contracts() -> Vec<Event> {
    let mark = |mark_price, index_price| event(Body::Mark(Mark { mark_price, index_price }));
    let liquidation = |average_price, ordinal| {
        let (side, price, qty) = (Side::Sell, p("82338.3"), q("0.19"));
        event(Body::Liquidation(Liquidation { side, price, qty, average_price, ordinal }))
    };
    let ratio = |ratio_type, share: Option<(&str, &str)>| {
        event(Body::LongShortRatio(LongShortRatio {
            ratio_type,
            period: Arc::from("5m"),
            long_ratio: share.map(|(long, _)| r(long)),
            short_ratio: share.map(|(_, short)| r(short)),
            long_short_ratio: r("1.25"),
        }))
    };
    let funding = |next_funding_time, interval_hours| {
        let funding_rate = r("-0.00000244");
        event(Body::Funding(Funding { funding_rate, next_funding_time, interval_hours }))
    };
    let interest = |open_interest_value| {
        event(Body::OpenInterest(OpenInterest {
            open_interest: q("797578130"),
            open_interest_value,
        }))
    };
    vec![
        mark(Some(p("83260.90826812")), Some(p("83301.32347826"))),
        mark(Some(p("0.009049")), None),
        mark(None, Some(p("83251.03"))),
        funding(Some(UnixNanos::new(1_790_784_000_000_000_000)), Some(8)),
        funding(None, None),
        interest(Some(Notional::parse(b"609736.12133").unwrap())),
        interest(None),
        liquidation(Some(p("82651.9")), 0),
        liquidation(None, 3),
        ratio(RatioType::TopPosition, Some(("0.5556", "0.4444"))),
        ratio(RatioType::TopAccount, None),
        ratio(RatioType::AllAccount, None),
        event(Body::VolatilityIndex(VolatilityIndex { value: r("129.36") })),
    ]
}

fn bare(last_price: Price) -> Ticker {
    Ticker {
        last_price: Some(last_price),
        open_price: None,
        high_price: None,
        low_price: None,
        volume: None,
        quote_volume: None,
        bid_price: None,
        bid_qty: None,
        ask_price: None,
        ask_qty: None,
        greeks: None,
    }
}

fn ticker() -> Event {
    event(Body::Ticker(Ticker {
        open_price: Some(p("1")),
        low_price: Some(p("0.5")),
        volume: Some(q("7")),
        bid_qty: Some(q("4")),
        ask_price: Some(p("3")),
        ..bare(p("2"))
    }))
}

/// The ticker of an option that never traded.
fn option_ticker() -> Event {
    let mut event = ticker();
    let Body::Ticker(body) = &mut event.body else { panic!("a ticker") };
    (body.last_price, body.greeks) = (None, greeks().given());
    event
}

fn samples() -> Vec<Event> {
    let mut samples = plain();
    samples.append(&mut contracts());
    samples
}

fn plain() -> Vec<Event> {
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
        part: 0,
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
            count: Some(6),
            liquidation: Some(Liquidated::Both),
            block: true,
        })),
        ticker(),
        option_ticker(),
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
fn what_contracts_have_looks_like_this() {
    let body = |event: &Event| {
        let text = json(event);
        let start = text.find("087896568,").unwrap() + "087896568,".len();
        text[start..text.len() - 1].to_owned()
    };
    let mut lines: Vec<String> = contracts().iter().map(body).collect();
    lines.push(body(&option_ticker()));
    expect![[r#"
        "mark_price":"83260.90826812","index_price":"83301.32347826"
        "mark_price":"0.009049"
        "index_price":"83251.03"
        "funding_rate":"-0.00000244","next_funding_time":1790784000000000000,"interval_hours":8
        "funding_rate":"-0.00000244"
        "open_interest":"797578130","open_interest_value":"609736.12133"
        "open_interest":"797578130"
        "side":"sell","price":"82338.3","qty":"0.19","average_price":"82651.9"
        "side":"sell","price":"82338.3","qty":"0.19","ordinal":3
        "ratio_type":"top_position","period":"5m","long_ratio":"0.5556","short_ratio":"0.4444","long_short_ratio":"1.25"
        "ratio_type":"top_account","period":"5m","long_short_ratio":"1.25"
        "ratio_type":"all_account","period":"5m","long_short_ratio":"1.25"
        "value":"129.36"
        "open_price":"1","low_price":"0.5","ask_price":"3","volume":"7","bid_qty":"4","mark_iv":"31.2","ask_iv":"33.74","delta":"-0.47736","gamma":"0.00028","vega":"18.436020000000000015","theta":"-217.493470000000000001","rho":"1.31068","underlying_price":"76904.4""#]]
    .assert_eq(&lines.join("\n"));
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
    let contracts = contracts();
    let [mark, .., index] = &*contracts else { panic!("events of contracts") };
    let prices = "\"mark_price\":\"83260.90826812\",\"index_price\":\"83301.32347826\"";
    let without = json(mark).replace(prices, "\"mark_price\":null");
    let error = decoder.decode(without.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "field `mark_price` is missing");
    let rounded = json(index).replace("129.36", "0.0000000000000000001");
    let error = decoder.decode(rounded.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "field `value`: more than 18 decimal places");
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
        // What options have beside a ticker, and kinds of which there are few, go the general way.
        let is_plain = matches!(
            &sample.body,
            Body::Trade(_) | Body::AggTrade(_) | Body::Book(_) | Body::Bbo(_)
        );
        let is_fast =
            is_plain || matches!(&sample.body, Body::Ticker(ticker) if ticker.greeks.is_none());
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
            part: 3,
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
        let general = Decoder::new().decode_slowly(&text);
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
            count: Some(seq),
            liquidation: Some(Liquidated::ALL[usize::from(seq.is_multiple_of(3))]),
            block: seq.is_multiple_of(2),
        }));
        prop_assert_eq!(Decoder::new().decode(json(&trade).as_bytes()).unwrap(), trade);
    }

    #[test]
    fn any_event_of_a_contract_survives_the_trip(
        raw: [i64; 4],
        given: [bool; 9],
        time: i64,
        small: u32,
        period in "\\PC{0,8}",
        which in 0..3_usize,
    ) {
        let rate = |i: usize| Rate::from_raw(i128::from(raw[i % 4]));
        let price = |i: usize| Price::from_raw(i128::from(raw[i % 4]));
        let qty = Qty::from_raw(i128::from(raw[3]));
        let maybe = |i: usize| given[i].then(|| rate(i));
        let average_price = given[0].then(|| price(1));
        let bodies = [
            Body::Mark(Mark { mark_price: Some(price(0)), index_price: given[0].then(|| price(1)) }),
            Body::Mark(Mark { mark_price: given[1].then(|| price(2)), index_price: Some(price(3)) }),
            Body::Funding(Funding {
                funding_rate: rate(0),
                next_funding_time: given[2].then(|| UnixNanos::new(time)),
                interval_hours: given[3].then_some(small),
            }),
            Body::OpenInterest(OpenInterest {
                open_interest: qty,
                open_interest_value: given[4].then(|| Notional::from_raw(i128::from(raw[1]))),
            }),
            Body::Liquidation(Liquidation {
                side: Side::ALL[usize::from(given[5])],
                price: price(0),
                qty,
                average_price,
                ordinal: small,
            }),
            Body::LongShortRatio(LongShortRatio {
                ratio_type: RatioType::ALL[which],
                period: Arc::from(period.as_str()),
                long_ratio: maybe(6),
                short_ratio: maybe(7),
                long_short_ratio: rate(2),
            }),
            Body::VolatilityIndex(VolatilityIndex { value: rate(1) }),
            Body::Ticker(Ticker {
                greeks: Greeks {
                    mark_iv: maybe(0),
                    bid_iv: maybe(1),
                    ask_iv: maybe(2),
                    delta: maybe(3),
                    gamma: maybe(4),
                    vega: maybe(5),
                    theta: maybe(6),
                    rho: maybe(7),
                    underlying_price: given[8].then(|| price(2)),
                }
                .given(),
                ..bare(price(0))
            }),
        ];
        for body in bodies {
            let event = event(body);
            let read = Decoder::new().decode(json(&event).as_bytes()).unwrap();
            prop_assert_eq!(read.identity(), event.identity());
            prop_assert_eq!(read, event);
        }
    }

    #[test]
    fn a_cut_event_is_refused(at in 0..200_usize) {
        let text = json(&trade());
        prop_assert!(Decoder::new().decode(&text.as_bytes()[..at]).is_err());
    }
}
