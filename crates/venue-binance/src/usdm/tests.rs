//! Ring 1 and 2: frames to events, the two parsers against each other, requests.

use super::*;
use crate::tests::{damage, each_recorded, frames};
use expect_test::{expect, expect_file};
use model::{Body, RatioType};
use proptest::prelude::*;
use std::fmt::Write as _;
use venue::conformance::damaged;
use venue::{Rank, Reject, conformance};

const WS: &str = include_str!("../../testdata/usdm.jsonl");
const EXCHANGE_INFO: &[u8] = include_bytes!("../../testdata/usdm_exchange_info.json");
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

type Parsed = (Result<FrameType, ParseError>, Vec<Message>);

fn parse(frame: &[u8]) -> Parsed {
    let mut out = Vec::new();
    (Perp::new().parse(frame, NOW, &mut out), out)
}

fn parse_slowly(frame: &[u8]) -> Parsed {
    let mut out = Vec::new();
    (Perp::new().parse_slowly(frame, NOW, &mut out), out)
}

/// Whether the scanner alone reads the frame.
fn is_fast(frame: &[u8]) -> bool {
    let mut perp = Perp::new();
    fast::parse(&mut perp.instruments, &mut perp.scratch, frame, NOW, &mut Vec::new()).is_some()
}

#[test]
fn every_form_of_frame_becomes_what_is_written_down() {
    let mut text = String::new();
    for frame in WS.lines() {
        let path = if is_fast(frame.as_bytes()) { "scanned" } else { "parsed" };
        writeln!(text, "{frame}").unwrap();
        match parse(frame.as_bytes()) {
            (Ok(frame_type), messages) => {
                writeln!(text, "  {path}: {frame_type:?}").unwrap();
                for Message { slot: _, event } in messages {
                    let at = event.venue_time.map(UnixNanos::as_i64);
                    writeln!(text, "  {} {at:?} {:?}", event.instrument, event.body).unwrap();
                }
            }
            (Err(error), messages) => {
                assert!(messages.is_empty());
                writeln!(text, "  {error}").unwrap();
            }
        }
    }
    expect_file!["../../testdata/usdm.events"].assert_eq(&text);
}

fn line(i: &Instrument) -> String {
    let expiry = i.expiry.map(UnixNanos::as_i64);
    format!("{} {} {:?} {:?} {expiry:?} {}", i.id.name, i.id, i.tick_size, i.lot_size, i.listing)
}

#[test]
fn one_list_has_the_contracts_of_both_markets() {
    let lines = |list: Vec<Instrument>| list.iter().map(line).collect::<Vec<_>>().join("\n");
    expect![[r#"
        ABCXYZ binance/perp/ABC-XYZ Some(Price(0.1)) Some(Qty(0.001)) None trading
        1000DEFXYZ binance/perp/1000DEF-XYZ None None None pending
        GOLDXYZ binance/perp/GOLD-XYZ None None None trading
        OLDXYZ binance/perp/OLD-XYZ None None None halted"#]]
    .assert_eq(&lines(Perp::new().parse_instruments(EXCHANGE_INFO).unwrap()));
    expect![[r#"
        ABCXYZ_270326 binance/future/ABCXYZ_270326 None None Some(1806048000000000000) trading
        ABCXYZ_270625 binance/future/ABCXYZ_270625 None None Some(1813910400000000000) closed"#]]
    .assert_eq(&lines(Future::new().parse_instruments(EXCHANGE_INFO).unwrap()));
}

fn instrument<C: Contracts>(adapter: &mut Usdm<C>, name: &str) -> Arc<InstrumentId> {
    let slot = adapter.slot(name).unwrap();
    Arc::clone(adapter.instrument(slot))
}

fn feeds<C: Contracts>(adapter: &mut Usdm<C>, names: &[&str]) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for name in names {
        let id = instrument(adapter, name);
        for kind in Kind::ALL {
            let interval = (*kind == Kind::Kline).then(|| Arc::from("1m"));
            feeds.push(Feed { instrument: Arc::clone(&id), kind: *kind, interval });
        }
    }
    feeds
}

#[test]
fn a_connection_has_the_streams_of_one_door() {
    let mut perp = Perp::new();
    let wanted = feeds(&mut perp, &["ABCXYZ"]);
    let mut text = String::new();
    for plan in perp.connections(&wanted, 512) {
        writeln!(text, "{} {}: {}", plan.name, plan.path, plan.streams.join(" ")).unwrap();
    }
    // The future has no funding, and its mark price is on the same stream.
    let mut future = Future::new();
    let wanted = feeds(&mut future, &["ABCXYZ_270326"]);
    for plan in future.connections(&wanted, 4) {
        writeln!(text, "{} {}: {}", plan.name, plan.path, plan.streams.join(" ")).unwrap();
    }
    expect![[r#"
        binance-perp-public-0 /public/stream: abcxyz@trade abcxyz@depth@100ms abcxyz@bookTicker
        binance-perp-market-0 /market/stream: abcxyz@aggTrade abcxyz@ticker abcxyz@kline_1m abcxyz@markPrice@1s abcxyz@forceOrder
        binance-future-public-0 /public/stream: abcxyz_270326@trade abcxyz_270326@depth@100ms abcxyz_270326@bookTicker
        binance-future-market-0 /market/stream: abcxyz_270326@aggTrade abcxyz_270326@ticker abcxyz_270326@kline_1m abcxyz_270326@markPrice@1s
        binance-future-market-1 /market/stream: abcxyz_270326@forceOrder
    "#]]
    .assert_eq(&text);
}

#[test]
fn requests_cost_what_the_venue_says() {
    let mut perp = Perp::new();
    let id = instrument(&mut perp, "ABCXYZ");
    let depth = |depth| perp.snapshot_request(&id, depth);
    let weights = [1, 51, 101, 501, usize::MAX].map(|levels| depth(levels).weight);
    assert_eq!(weights, [2, 5, 10, 20, 20]);
    assert_eq!(depth(1_000).path, "/fapi/v1/depth?symbol=ABCXYZ&limit=1000");
    let trades = perp.trades_request(&id, Kind::AggTrade, 7, usize::MAX).unwrap();
    assert_eq!(trades.path, "/fapi/v1/aggTrades?symbol=ABCXYZ&fromId=7&limit=1000");
    assert_eq!(trades.weight, 20);
    let newest = perp.newest_request(&id, Kind::AggTrade).unwrap();
    assert_eq!((&*newest.path, newest.weight), ("/fapi/v1/aggTrades?symbol=ABCXYZ&limit=1", 20));
    // Single trades by id want a key.
    assert_eq!(perp.trades_request(&id, Kind::Trade, 7, 1), None);
    let ranks = |polls: &[Poll]| polls.iter().map(|poll| poll.rank).collect::<Vec<_>>();
    assert_eq!(ranks(Perp::POLLS), [Rank::First, Rank::Second, Rank::Second, Rank::Second]);
    assert_eq!(ranks(Future::POLLS), [Rank::First]);
}

/// An aggregate fetched by its id is the very aggregate of the stream.
#[test]
fn an_aggregate_is_the_same_by_either_way() {
    let mut perp = Perp::new();
    let mut out = Vec::new();
    perp.parse(WS.lines().next().unwrap().as_bytes(), NOW, &mut out).unwrap();
    let Message { slot, event } = out.remove(0);
    let Body::AggTrade(trade) = event.body else { panic!() };
    let body = br#"[{"a":501,"p":"25.10","q":"3.500","nq":"3.400","f":1001,"l":1004,"T":1700000000420,"m":true}]"#;
    let path = "/fapi/v1/aggTrades?symbol=ABCXYZ&fromId=501&limit=1";
    let trades = vec![(event.venue_time.unwrap(), trade)];
    let kind = Kind::AggTrade;
    assert_eq!(perp.parse_rest(path, body), Ok(RestAnswer::Trades { slot, kind, trades }));
}

#[test]
fn what_no_stream_carries_is_asked_for_and_read() {
    let mut perp = Perp::new();
    let id = instrument(&mut perp, "ABCXYZ");
    let answers: [&[u8]; 4] = [
        br#"{"openInterest":"83782.317","symbol":"ABCXYZ","time":1702244985273}"#,
        br#"[{"symbol":"ABCXYZ","longShortRatio":"1.4342","longAccount":"0.5891","shortAccount":"0.4108","timestamp":"1583139600000"},
            {"symbol":"ABCXYZ","longShortRatio":"1.4337","longAccount":"0.5890","shortAccount":"0.4110","timestamp":1583139900000}]"#,
        br#"[{"symbol":"ABCXYZ","longShortRatio":"1.058000000000000000049","timestamp":1602819600000}]"#,
        b"[]",
    ];
    let mut text = String::new();
    for (poll, answer) in Perp::POLLS.iter().zip(answers) {
        let request = poll.request(&id);
        writeln!(text, "{} {}", request.path, request.weight).unwrap();
        let Ok(RestAnswer::Points { slot, points }) = perp.parse_rest(&request.path, answer) else {
            panic!("no points")
        };
        assert_eq!(perp.instrument(slot), &id);
        for (at, body) in points {
            writeln!(text, "  {} {body:?}", at.as_i64()).unwrap();
        }
    }
    expect![[r#"
        /fapi/v1/openInterest?symbol=ABCXYZ 1
          1702244985273000000 OpenInterest(OpenInterest { open_interest: Qty(83782.317), open_interest_value: None })
        /futures/data/topLongShortPositionRatio?symbol=ABCXYZ&period=5m&limit=36 5
          1583139600000000000 LongShortRatio(LongShortRatio { ratio_type: TopPosition, period: "5m", long_ratio: Some(Rate(0.5891)), short_ratio: Some(Rate(0.4108)), long_short_ratio: Rate(1.4342) })
          1583139900000000000 LongShortRatio(LongShortRatio { ratio_type: TopPosition, period: "5m", long_ratio: Some(Rate(0.589)), short_ratio: Some(Rate(0.411)), long_short_ratio: Rate(1.4337) })
        /futures/data/topLongShortAccountRatio?symbol=ABCXYZ&period=5m&limit=36 5
          1602819600000000000 LongShortRatio(LongShortRatio { ratio_type: TopAccount, period: "5m", long_ratio: None, short_ratio: None, long_short_ratio: Rate(1.058) })
        /futures/data/globalLongShortAccountRatio?symbol=ABCXYZ&period=5m&limit=36 5
    "#]]
    .assert_eq(&text);
    let path = Perp::POLLS[1].request(&id).path;
    for (body, reason) in [
        (r#"[{"longShortRatio":"1","timestamp":"soon"}]"#, Reject::WrongType),
        (r#"[{"longShortRatio":"1"}]"#, Reject::MissingField),
        (r#"[{"timestamp":1}]"#, Reject::MissingField),
        (r#"{"code":-1121,"msg":"Invalid symbol."}"#, Reject::WrongType),
    ] {
        let error = perp.parse_rest(&path, body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, reason, "{body}: {error}");
    }
}

/// Frames that the conformance check may read: those that are no example of what is refused.
fn sample(kinds: &[Kind], check: impl FnOnce(&conformance::Sample<'_>)) {
    let frames: Vec<&[u8]> =
        WS.lines().map(str::as_bytes).filter(|frame| parse(frame).0.is_ok()).collect();
    check(&conformance::Sample { instruments: EXCHANGE_INFO, frames: &frames, kinds });
}

#[test]
fn both_are_adapters_as_the_collector_needs_them() {
    let kinds = [
        Kind::Trade,
        Kind::AggTrade,
        Kind::Book,
        Kind::Bbo,
        Kind::Ticker,
        Kind::Kline,
        Kind::Mark,
        Kind::Liquidation,
        Kind::Funding,
    ];
    sample(&kinds, |sample| conformance::check(&Perp::new(), sample));
    sample(&kinds[..8], |sample| conformance::check(&Future::new(), sample));
}

/// A frame in the scanner's form, with unusual values.
fn odd_frame() -> impl Strategy<Value = String> {
    let number = || "(0|[1-9][0-9]{0,20}|0[0-9]|-1|1\\.5|1e3)";
    let decimal = || "([0-9]{1,13}\\.[0-9]{1,9}|[0-9]{0,20}(\\.[0-9]{0,20})?(e-?[0-9]{1,2})?|-1)";
    let name = "([A-Z0-9]{1,12}|[^\"\\\\]{0,3}|a\\\\u0041)";
    let st = || "(|,\"st\":[012]|,\"st\":null|,\"st\":\"1\")";
    let trade = (number(), number(), decimal(), decimal(), name, "(MARKET|ADL|)", st()).prop_map(
        |(a, b, p, q, s, x, st)| {
            format!(r#"{{"e":"trade","E":{a},"T":{b},"s":"{s}","t":{a},"p":"{p}","q":"{q}","X":"{x}","m":true{st}}}"#)
        },
    );
    let aggregate = (number(), number(), decimal(), decimal(), decimal(), name, st()).prop_map(
        |(a, b, p, q, nq, s, st)| {
            format!(r#"{{"e":"aggTrade","E":{a},"a":{b},"s":"{s}","p":"{p}","q":"{q}","nq":"{nq}","f":{a},"l":{b},"T":{a},"m":false{st}}}"#)
        },
    );
    let levels = proptest::collection::vec((decimal(), decimal()), 0..4);
    let stream = "(a@depth|a@depth@0ms|a@depth5|depth|)";
    let depth = (number(), number(), levels, name, stream, st()).prop_map(
        |(a, b, levels, s, stream, st)| {
            let levels: Vec<_> = levels.iter().map(|(p, q)| format!(r#"["{p}","{q}"]"#)).collect();
            let levels = levels.join(",");
            format!(r#"{{"stream":"{stream}","data":{{"e":"depthUpdate","E":{a},"T":{a},"s":"{s}","ps":"{s}","U":{b},"u":{a},"pu":{b},"b":[{levels}],"a":[{levels}]{st}}}}}"#)
        },
    );
    let bbo = (number(), number(), decimal(), decimal(), st()).prop_map(|(u, t, p, q, st)| {
        format!(r#"{{"e":"bookTicker","u":{u},"s":"AB","ps":"AB","b":"{p}","B":"{q}","a":"{q}","A":"{p}","T":{t},"E":{t}{st}}}"#)
    });
    prop_oneof![trade, aggregate, depth, bbo]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_frames_never_panic_and_the_parsers_never_differ(
        frame in proptest::sample::select(WS.lines().collect::<Vec<_>>()),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let bytes = damaged(frame, &damages);
        prop_assert_eq!(parse(&bytes), parse_slowly(&bytes));
    }

    #[test]
    fn odd_values_never_make_the_parsers_differ(frame in odd_frame()) {
        prop_assert_eq!(parse(frame.as_bytes()), parse_slowly(frame.as_bytes()));
    }
}

#[test]
fn documented_and_recorded_messages_are_read() {
    let Some(folder) = frames() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("messages/binance/usdm")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let channel = name.split("__").next().unwrap();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            seen += 1;
            check_message(&name, channel, line.as_bytes());
        }
    }
    assert!(seen > 100, "{seen}");
}

fn check_message(name: &str, channel: &str, line: &[u8]) {
    assert_eq!(parse(line), parse_slowly(line), "{name}");
    let result = parse(line).0;
    let streams = [
        ("trade", Kind::Trade),
        ("aggTrade", Kind::AggTrade),
        ("depth", Kind::Book),
        ("bookTicker", Kind::Bbo),
        ("ticker", Kind::Ticker),
        ("kline", Kind::Kline),
        ("markPrice", Kind::Mark),
        ("forceOrder", Kind::Liquidation),
        ("arr_forceOrder_arr", Kind::Liquidation),
    ];
    if let Some((_, kind)) = streams.iter().find(|(stream, _)| *stream == channel) {
        assert_eq!(result, Ok(FrameType::Data(*kind)), "{name}");
        return;
    }
    check_answer(name, channel, line, &result);
}

/// The call that a documented answer belongs to, of those that are told by their names alone.
fn plain_path(channel: &str) -> Option<&'static str> {
    if ["restdepth", "restfapiv1depth", "restgetorderbook"].contains(&channel) {
        return Some("/fapi/v1/depth?symbol=A");
    }
    if channel.contains("aggregatedtrade") || channel.contains("aggtrades") {
        return Some("/fapi/v1/aggTrades?symbol=A");
    }
    channel.ends_with("openinterest").then_some("/fapi/v1/openInterest?symbol=A")
}

fn check_answer(name: &str, channel: &str, line: &[u8], result: &Result<FrameType, ParseError>) {
    let rest = |path: &str| Perp::new().parse_rest(path, line);
    match channel.to_lowercase().replace('_', "") {
        channel if channel.contains("exchangeinfo") => {
            let answer = rest("/fapi/v1/exchangeInfo").unwrap();
            assert!(matches!(answer, RestAnswer::Instruments(list) if !list.is_empty()), "{name}");
        }
        channel if plain_path(&channel).is_some_and(|path| rest(path).is_ok()) => {}
        channel if channel.contains("longshort") && !channel.contains("taker") => {
            let answer = rest("/futures/data/topLongShortAccountRatio?symbol=A&period=5m");
            let Ok(RestAnswer::Points { points, .. }) = answer else {
                panic!("{name}: {answer:?}")
            };
            let of = |(_, body): &(UnixNanos, Body)| matches!(body, Body::LongShortRatio(ratio) if ratio.ratio_type == RatioType::TopAccount);
            assert!(points.iter().all(of), "{name}");
        }
        // Streams and answers nobody asks for.
        other => {
            assert_eq!(plain_path(&other), None, "{name}");
            let read = matches!(result, Ok(FrameType::Data(_) | FrameType::Skipped { .. }));
            assert!(!read && rest("/fapi/v1/depth?symbol=A").is_err(), "{name}");
        }
    }
}

#[test]
fn recorded_frames_take_the_fast_path_and_equal_the_slow_one() {
    for name in [
        "binance-usdm-5symbols-20210405",
        "binance-usdm-btcusdt-20230404",
        "binance-usdm-btcusdt-20240808",
    ] {
        each_recorded(name, |frame| {
            let (read, messages) = parse(frame);
            let read = read.unwrap();
            let rare = matches!(read, FrameType::Data(Kind::Mark) | FrameType::Skipped { .. });
            assert!(is_fast(frame) || rare, "{read:?}");
            assert_eq!((Ok(read), messages), parse_slowly(frame));
        });
    }
}

#[test]
fn a_contract_that_is_listed_or_settled_is_told_by_a_stream_of_its_own() {
    let notice = Perp::new().notice().unwrap();
    assert_eq!((notice.path.as_str(), notice.stream.as_str()), ("/market/stream", "!contractInfo"));
    let frame = br#"{"stream":"!contractInfo","data":{"e":"contractInfo","E":1669647330091,"s":"IOTAUSDT","ps":"IOTAUSDT","ct":"PERPETUAL","dt":4133404800000,"ot":1569398400000,"cs":"TRADING","st":1}}"#;
    let mut out = Vec::new();
    let read = Perp::new().parse(frame, UnixNanos::new(1), &mut out);
    assert_eq!((read, out.len()), (Ok(FrameType::Relisted), 0));
}

#[test]
fn the_hours_between_fundings_are_eight_where_nothing_else_is_listed() {
    let frame = br#"{"e":"markPriceUpdate","E":1,"s":"ABCXYZ","p":"1","P":"1","i":"1","r":"0.1","T":2,"st":1}"#;
    let hours = |perp: &mut Perp| {
        let mut out = Vec::new();
        perp.parse(frame, NOW, &mut out).unwrap();
        let Body::Funding(funding) = &out[1].event.body else { panic!("{out:?}") };
        funding.interval_hours
    };
    let mut perp = Perp::new();
    assert_eq!(hours(&mut perp), None, "without a list nothing is known");
    let mut list = perp.parse_instruments(EXCHANGE_INFO).unwrap();
    perp.set_instruments(&list);
    assert_eq!(hours(&mut perp), None);
    perp.read_funding(b"[]", &mut list).unwrap();
    perp.set_instruments(&list);
    assert_eq!(hours(&mut perp), Some(8));
    let adjusted = br#"[{"symbol":"ABCXYZ","fundingIntervalHours":4,"disclaimer":false}]"#;
    perp.read_funding(adjusted, &mut list).unwrap();
    assert!(list.iter().any(|listed| listed.funding_hours == Some(4)));
    perp.set_instruments(&list);
    assert_eq!(hours(&mut perp), Some(4));
    // One look that fails forgets nothing.
    list.iter_mut().for_each(|listed| listed.funding_hours = None);
    perp.set_instruments(&list);
    assert_eq!(hours(&mut perp), Some(4));
    let request = perp.funding_request().unwrap();
    let none = RestAnswer::Instruments(Vec::new());
    assert_eq!(perp.parse_rest(&request.path, b"[]").unwrap(), none, "found in a recording");
    assert_eq!(hours(&mut perp), Some(8));
    assert!(perp.read_funding(b"{}", &mut list).is_err());
    assert_eq!(Future::new().funding_request(), None);
}
