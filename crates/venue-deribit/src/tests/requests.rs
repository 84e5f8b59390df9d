//! What is said to the venue, and what it answers by REST.

use super::*;
use expect_test::expect;
use model::{Instrument, InstrumentId, Symbol};
use std::sync::Arc;
use venue::conformance::Sample;
use venue::{Feed, Granted, Notice, Reject, Request, RestAnswer, RestRequest};

const INSTRUMENTS: &[u8] = include_bytes!("../../testdata/instruments.json");

fn line(listed: &Instrument) -> String {
    let Instrument { id, base, quote, qty_unit, tick_size, lot_size, contract_size, .. } = listed;
    let steps = [tick_size.map(|it| it.to_string()), lot_size.map(|it| it.to_string())];
    let steps = steps.map(Option::unwrap_or_default).join("/");
    let size = contract_size.map(|it| it.to_string()).unwrap_or_default();
    let expiry = listed.expiry.map(|at| at.to_string()).unwrap_or_default();
    let strike = listed.strike.map(|it| it.to_string()).unwrap_or_default();
    let side = listed.option_side.map(|it| it.to_string()).unwrap_or_default();
    let unit = qty_unit.as_str();
    let state = listed.listing;
    format!(
        "{} {id} {base} {quote} {steps} {size} {unit} [{expiry}|{strike}|{side}] {state}",
        id.name
    )
}

fn listed<M: Segment>() -> String {
    let list = Deribit::<M>::new().parse_instruments(INSTRUMENTS).unwrap();
    list.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_market_takes_its_own_instruments_from_the_list() {
    use crate::marker;
    expect![[r#"
        ABC-PERPETUAL deribit/perp/ABC-USD ABC USD 0.5/10 10 quote [||] trading
        ABC_USDC-PERPETUAL deribit/perp/ABC-USDC ABC USDC 0.00001/0.0001 0.0001 base [||] halted"#]]
    .assert_eq(&listed::<marker::Perp>());
    expect![[r#"
        ABC-25DEC27 deribit/future/ABC-25DEC27 ABC USD 2.5/10 10 quote [1829721600000000000||] trading
        ABC-24DEC26 deribit/future/ABC-24DEC26 ABC USD 2.5/10 10 quote [1798099200000000000||] closed"#]]
    .assert_eq(&listed::<marker::Future>());
    expect![[r#"
        ABC-15SEP27-260-C deribit/option/ABC-15SEP27-260-C ABC ABC 0.0001/0.1 1 base [1820995200000000000|260|call] trading
        XYZ_USDC-15SEP27-0d625-P deribit/option/XYZ_USDC-15SEP27-0d625-P XYZ USDC 0.0002/1000 1000 base [1820995200000000000|0.625|put] pending"#]]
    .assert_eq(&listed::<marker::Option>());
    expect![[r#"
        ABC_USDC deribit/spot/ABC-USDC ABC USDC 0.01/0.0001  base [||] trading
        XYZ_ABC deribit/spot/XYZ-ABC XYZ ABC /  base [||] halted"#]]
    .assert_eq(&listed::<marker::Spot>());
}

#[test]
fn indices_are_listed_by_their_names() {
    let body = br#"{"jsonrpc":"2.0","id":1,"result":["abc_usd","drbfix-abc_usdc","nameless",7]}"#;
    let list = Index::new().parse_instruments(body).unwrap();
    expect![[r#"
        abc_usd deribit/index/abc_usd ABC USD /  base [||] trading
        drbfix-abc_usdc deribit/index/drbfix-abc_usdc DRBFIX-ABC USDC /  base [||] trading"#]]
    .assert_eq(&list.iter().map(line).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_symbol_comes_from_the_list() {
    let mut perp = Perp::new();
    perp.set_instruments(&perp.parse_instruments(INSTRUMENTS).unwrap());
    let (_, frame) = frame_of(Kind::Book);
    let mut out = Vec::new();
    perp.parse(frame.as_bytes(), NOW, &mut out).unwrap();
    assert_eq!(out[0].event.instrument.symbol, Symbol::new("ABC-USD").unwrap());
    assert_eq!(perp.find(&out[0].event.instrument), Some(out[0].slot));
}

/// What every adapter has to pass, for each of the markets.
#[test]
fn each_market_conforms() {
    fn check<M: Segment>(instruments: &[u8]) {
        let reads = |frame: &&str| {
            let (result, messages) = parse(M::MARKET, Way::Usual, frame.as_bytes());
            result.is_ok_and(|it| !matches!(it, FrameType::Data(_)) || !messages.is_empty())
        };
        let frames = fixtures().filter(|(market, _)| *market == M::MARKET);
        let frames: Vec<_> = frames.map(|(_, frame)| frame).filter(reads).collect();
        assert!(!frames.is_empty());
        let frames: Vec<_> = frames.into_iter().map(str::as_bytes).collect();
        let sample = Sample { instruments, frames: &frames, kinds: M::KINDS };
        venue::conformance::check(&Deribit::<M>::new(), &sample);
    }
    check::<crate::marker::Perp>(INSTRUMENTS);
    check::<crate::marker::Future>(INSTRUMENTS);
    check::<crate::marker::Option>(INSTRUMENTS);
    check::<crate::marker::Spot>(INSTRUMENTS);
    check::<crate::marker::Index>(br#"{"jsonrpc":"2.0","result":["abc_usd","xyz_usd"]}"#);
}

fn id_of<A: Adapter>(adapter: &mut A, name: &str) -> Arc<InstrumentId> {
    let slot = adapter.slot(name).unwrap();
    Arc::clone(adapter.instrument(slot))
}

#[test]
fn trades_are_asked_for_by_their_numbers_and_are_those_of_the_stream() {
    let mut perp = Perp::new();
    let (_, frame) = frame_of(Kind::Trade);
    let mut out = Vec::new();
    perp.parse(frame.as_bytes(), NOW, &mut out).unwrap();
    let data = frame.split_once(r#""data":"#).unwrap().1.strip_suffix("}}").unwrap();
    let body = format!(r#"{{"jsonrpc":"2.0","result":{{"trades":{data},"has_more":true}}}}"#);
    let id = Arc::clone(&out[0].event.instrument);
    let request = |kind, limit| {
        perp.trades_request(&id, kind, 140_284_854, limit)
            .map(|RestRequest { path, weight }| (path, weight))
    };
    let (path, weight) = request(Kind::Trade, usize::MAX).unwrap();
    expect!["/api/v2/public/get_last_trades_by_instrument?instrument_name=ABC-PERPETUAL&start_seq=140284854&count=1000&sorting=asc"].assert_eq(&path);
    assert_eq!(weight, 1);
    assert_eq!(request(Kind::AggTrade, 1), None);
    assert_eq!(request(Kind::Book, 1), None);
    let newest = perp.newest_request(&id, Kind::Trade).unwrap().path;
    expect!["/api/v2/public/get_last_trades_by_instrument?instrument_name=ABC-PERPETUAL&count=1&sorting=desc"].assert_eq(&newest);
    let stamped = |message: &Message| {
        let Body::Trade(trade) = message.event.body.clone() else { panic!("no trade") };
        (message.event.venue_time.unwrap(), trade)
    };
    let (slot, trades): (_, Vec<_>) = (out[0].slot, out.iter().map(stamped).collect());
    assert_eq!(trades.len(), 2);
    let answer = perp.parse_rest(&path, body.as_bytes());
    assert_eq!(answer, Ok(RestAnswer::Trades { slot, kind: Kind::Trade, trades }));
}

#[test]
fn a_name_is_encoded_in_a_query_and_found_there_again() {
    let mut perp = Perp::new();
    let id = id_of(&mut perp, "A&count=1");
    let path = perp.trades_request(&id, Kind::Trade, 1, 1).unwrap().path;
    let answer = perp.parse_rest(&path, br#"{"result":{"trades":[]}}"#).unwrap();
    let RestAnswer::Trades { slot, .. } = answer else { panic!("no trades") };
    assert_eq!(perp.instrument(slot), &id);
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let mut perp = Perp::new();
    let trades = "/api/v2/public/get_last_trades_by_instrument?instrument_name=A&start_seq=1";
    let instruments = "/api/v2/public/get_instruments?currency=any";
    for (path, body, reason) in [
        (
            trades,
            r#"{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}"#,
            Reject::WrongType,
        ),
        (trades, r#"{"jsonrpc":"2.0","result":{"has_more":false}}"#, Reject::MissingField),
        (
            trades,
            r#"{"jsonrpc":"2.0","result":{"trades":[{"trade_seq":1}]}}"#,
            Reject::MissingField,
        ),
        (trades, r#"{"jsonrpc":"2.0","result":[]}"#, Reject::WrongType),
        (trades, r#"{"jsonrpc":"2.0","result":{"trades":["#, Reject::Malformed),
        (
            "/api/v2/public/get_last_trades_by_instrument",
            r#"{"result":{"trades":[]}}"#,
            Reject::MissingField,
        ),
        (instruments, r#"{"jsonrpc":"2.0"}"#, Reject::MissingField),
        (instruments, r#"{"jsonrpc":"2.0","result":{}}"#, Reject::WrongType),
        (instruments, "[]", Reject::WrongType),
        ("/api/v2/public/get_order_book?instrument_name=A", "{}", Reject::UnknownPath),
    ] {
        let error = perp.parse_rest(path, body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, reason, "{path} {body}: {error}");
    }
    let error = r#"{"error":{"code":10028,"message":"too_many_requests"}}"#;
    let error = perp.parse_rest(trades, error.as_bytes()).unwrap_err();
    assert_eq!(error.detail, "error 10028: too_many_requests");
}

#[test]
fn the_instrument_list_of_a_market_is_asked_for_as_a_whole() {
    let path = |request: RestRequest| request.path;
    let futures = "/api/v2/public/get_instruments?currency=any&kind=future&expired=false";
    assert_eq!(path(Perp::new().instruments_request()), futures);
    assert_eq!(path(Futures::new().instruments_request()), futures);
    let options = "/api/v2/public/get_instruments?currency=any&kind=option&expired=false";
    assert_eq!(path(Options::new().instruments_request()), options);
    let indices = "/api/v2/public/get_index_price_names";
    assert_eq!(path(Index::new().instruments_request()), indices);
    let id = id_of(&mut Perp::new(), "ABC-PERPETUAL");
    let book = "/api/v2/public/get_order_book?instrument_name=ABC-PERPETUAL&depth=10000";
    assert_eq!(path(Perp::new().snapshot_request(&id, usize::MAX)), book);
}

/// Every kind of every of `count` instruments, and candles of two lengths.
fn feeds<A: Adapter>(adapter: &mut A, count: usize) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for number in 0..count {
        let instrument = id_of(adapter, &format!("C{number:04}"));
        for kind in Kind::ALL {
            let intervals: &[Option<&str>] =
                if *kind == Kind::Kline { &[Some("1m"), Some("1d"), Some("7m")] } else { &[None] };
            for interval in intervals {
                let instrument = Arc::clone(&instrument);
                feeds.push(Feed { instrument, kind: *kind, interval: interval.map(Arc::from) });
            }
        }
    }
    feeds
}

#[test]
fn each_market_joins_the_channels_of_the_kinds_that_it_has() {
    fn channels<A: Adapter>(mut adapter: A) -> String {
        let feeds = feeds(&mut adapter, 1);
        let plan = adapter.connections(&feeds, 500).remove(0);
        format!("{} {}: {}", plan.name, plan.path, plan.streams.join(" "))
    }
    let text = [
        channels(Perp::new()),
        channels(Futures::new()),
        channels(Options::new()),
        channels(Spot::new()),
        channels(Index::new()),
    ];
    expect![[r#"
        deribit-perp-0 /ws/api/v2: trades.C0000.100ms book.C0000.100ms quote.C0000 ticker.C0000.100ms chart.trades.C0000.1D chart.trades.C0000.1
        deribit-future-0 /ws/api/v2: trades.C0000.100ms book.C0000.100ms quote.C0000 ticker.C0000.100ms chart.trades.C0000.1D chart.trades.C0000.1
        deribit-option-0 /ws/api/v2: trades.C0000.100ms book.C0000.100ms quote.C0000 ticker.C0000.100ms
        deribit-spot-0 /ws/api/v2: trades.C0000.100ms book.C0000.100ms quote.C0000 ticker.C0000.100ms chart.trades.C0000.1D chart.trades.C0000.1
        deribit-index-0 /ws/api/v2: deribit_volatility_index.C0000"#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn every_channel_that_is_joined_is_one_that_is_read() {
    fn check<A: Adapter>(mut adapter: A) {
        for feed in feeds(&mut adapter, 1) {
            for stream in adapter.streams(&feed) {
                let channel = crate::general::Channel::parse(&stream).unwrap();
                let is_ticker = channel.kind() == Kind::Ticker;
                assert!(is_ticker || channel.kind() == feed.kind, "{stream}");
            }
        }
    }
    check(Perp::new());
    check(Futures::new());
    check(Options::new());
    check(Spot::new());
    check(Index::new());
}

#[test]
fn channels_of_an_instrument_stay_together_and_no_connection_has_too_many() {
    let mut perp = Perp::new();
    let feeds = feeds(&mut perp, 10);
    let sizes = |streams_max| {
        let plans = perp.connections(&feeds, streams_max);
        plans.iter().map(|plan| plan.streams.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(20), [18, 18, 18, 6]);
    assert_eq!(sizes(usize::MAX), [60]);
    // More channels than a connection takes: an instrument is split.
    assert_eq!(sizes(4)[..3], [4, 2, 4]);
    let plans = perp.connections(&feeds, 20);
    assert_eq!((plans[3].name.as_str(), plans[0].instruments.len()), ("deribit-perp-3", 3));
    assert!(perp.connections(&[], 0).is_empty());
}

/// The number, the method and the channels of a request.
fn read(Request { frame, id, joins }: &Request) -> (u64, String, Vec<String>, usize) {
    let request: serde_json::Value = serde_json::from_str(frame).unwrap();
    assert_eq!(request["id"].as_u64(), *id);
    assert_eq!(request["jsonrpc"], "2.0");
    let channels = request["params"]["channels"].as_array().cloned().unwrap_or_default();
    let channels = channels.iter().map(|channel| channel.as_str().unwrap().to_owned()).collect();
    let method = request["method"].as_str().unwrap().to_owned();
    (id.unwrap(), method, channels, joins.len())
}

#[test]
fn a_call_names_as_many_channels_as_it_may_and_says_which() {
    let channels: Vec<_> = (0..1_100).map(|number| format!("quote.C{number}")).collect();
    let mut next_id = 7;
    let requests = Perp::new().subscribe(&channels, &mut next_id);
    let read_all: Vec<_> = requests.iter().map(read).collect();
    let counts = read_all.iter().map(|(id, _, names, count)| (*id, names.len(), *count));
    assert_eq!(counts.collect::<Vec<_>>(), [(7, 500, 500), (8, 500, 500), (9, 100, 100)]);
    assert_eq!(next_id, 10);
    assert!(read_all.iter().all(|(_, method, _, _)| method == "public/subscribe"));
    assert_eq!(
        read_all.into_iter().flat_map(|(_, _, names, _)| names).collect::<Vec<_>>(),
        channels
    );
    // Names so long that the frame's length decides.
    let channels: Vec<_> = (0..500).map(|number| format!("{number:0200}")).collect();
    let requests = Perp::new().unsubscribe(&channels, &mut next_id);
    assert!(requests.len() > 1);
    assert!(requests.iter().all(|it| it.frame.len() <= Perp::LIMITS.frame_bytes_max));
    let left: usize = requests.iter().map(|it| read(it).2.len()).sum();
    assert_eq!(left, 500);
    assert!(requests.iter().all(|it| it.joins.is_empty()));
    assert_eq!(read(&requests[0]).1, "public/unsubscribe");
}

#[test]
fn an_answer_names_the_channels_that_the_venue_did_not_drop() {
    let mut next_id = 1;
    let channels = ["quote.ABC-PERPETUAL".to_owned(), "quote.NONE".to_owned()];
    let request = Perp::new().subscribe(&channels, &mut next_id).remove(0);
    let answer = br#"{"jsonrpc":"2.0","id":1,"result":["quote.ABC-PERPETUAL"]}"#;
    let accepted = parse(Market::Perp, Way::Usual, answer).0;
    let granted = Granted::Only(channels[..1].to_vec());
    assert_eq!(accepted, Ok(FrameType::Accepted { id: Some(1), granted }));
    assert_eq!(request.joins, channels);
    let answer =
        br#"{"jsonrpc":"2.0","id":1,"error":{"code":10028,"message":"too_many_requests"}}"#;
    let refused = parse(Market::Perp, Way::Usual, answer).0;
    assert!(matches!(refused, Ok(FrameType::Refused { too_often: true, .. })), "{refused:?}");
}

#[test]
fn a_session_begins_by_asking_for_heartbeats_and_answers_each_test_request() {
    let (perp, mut next_id) = (Perp::new(), 3);
    let greeting = perp.greeting(&mut next_id);
    assert_eq!(greeting.len(), 1);
    expect![[
        r#"{"jsonrpc":"2.0","id":3,"method":"public/set_heartbeat","params":{"interval":10}}"#
    ]]
    .assert_eq(&greeting[0].frame);
    let accepted = parse(Market::Perp, Way::Usual, br#"{"jsonrpc":"2.0","id":3,"result":"ok"}"#).0;
    let granted = Granted::All;
    assert_eq!(accepted, Ok(FrameType::Accepted { id: greeting[0].id, granted }));
    let answer = perp.probe_answer(&mut next_id).unwrap();
    expect![[r#"{"jsonrpc":"2.0","id":4,"method":"public/test","params":{}}"#]]
        .assert_eq(&answer.frame);
    // Its own answer confirms nothing.
    let alive = br#"{"jsonrpc":"2.0","id":4,"result":{"version":"1.2.26"}}"#;
    assert_eq!(parse(Market::Perp, Way::Usual, alive).0, Ok(FrameType::Alive));
    assert_eq!(answer.id, None);
}

#[test]
fn a_change_of_the_list_is_told_by_a_channel_of_its_own() {
    let notice = |notice: Option<Notice>| notice.map(|notice| notice.stream);
    let stream = notice(Options::new().notice());
    assert_eq!(stream.as_deref(), Some("instrument.state.option.any"));
    assert_eq!(notice(Perp::new().notice()).as_deref(), Some("instrument.state.future.any"));
    assert_eq!(notice(Index::new().notice()), None);
    let frame = br#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"instrument.state.option.any","data":{"timestamp":1553080940000,"state":"created","instrument_name":"BTC-22MAR19"}}}"#;
    assert_eq!(parse(Market::Option, Way::Usual, frame), (Ok(FrameType::Relisted), Vec::new()));
}

#[test]
fn the_volumes_of_a_day_are_in_dollars() {
    let paths: Vec<_> =
        Options::new().volumes_requests().into_iter().map(|request| request.path).collect();
    let path = "/api/v2/public/get_book_summary_by_currency?currency=ETH&kind=option";
    assert_eq!((paths.len(), paths[1].as_str()), (4, path));
    let answer = br#"{"jsonrpc":"2.0","result":[{"instrument_name":"A-PERPETUAL","volume_usd":1.5e6,"volume":1},
        {"instrument_name":"NONE","volume_usd":null}]}"#;
    let volumes = Perp::new().parse_volumes(answer).unwrap();
    let read: Vec<_> = volumes.iter().map(|(name, volume)| format!("{name} {volume}")).collect();
    assert_eq!(read, ["A-PERPETUAL 1500000"]);
}
