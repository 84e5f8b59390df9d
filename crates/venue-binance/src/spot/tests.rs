//! Ring 1 and 2: frames to events, the two parsers against each other, requests.

use super::*;
use crate::tests::{damage, each_recorded, frames};
use expect_test::{expect, expect_file};
use model::{Body, Side, Symbol};
use proptest::prelude::*;
use std::fmt::Write as _;
use venue::conformance::damaged;
use venue::{Reject, conformance};

const WS: &str = include_str!("../../testdata/ws.jsonl");
const EXCHANGE_INFO: &[u8] = include_bytes!("../../testdata/exchange_info.json");
const DEPTH: &[u8] = include_bytes!("../../testdata/depth.json");
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

type Parsed = (Result<FrameType, ParseError>, Vec<Message>);

fn parse(frame: &[u8]) -> Parsed {
    let mut out = Vec::new();
    (Spot::new().parse(frame, NOW, &mut out), out)
}

fn parse_slowly(frame: &[u8]) -> Parsed {
    let mut out = Vec::new();
    (Spot::new().parse_slowly(frame, NOW, &mut out), out)
}

/// Whether the scanner alone reads the frame.
fn is_fast(frame: &[u8]) -> bool {
    let mut spot = Spot::new();
    fast::parse(&mut spot.instruments, &mut spot.scratch, frame, NOW, &mut Vec::new()).is_some()
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
    expect_file!["../../testdata/ws.events"].assert_eq(&text);
}

#[test]
fn the_maker_was_the_buyer_means_that_the_taker_sold() {
    let side = |frame: &str| {
        let body = parse(frame.as_bytes()).1.remove(0).event.body;
        let Body::Trade(trade) = body else { panic!("{body:?}") };
        trade.side
    };
    let mut frames = WS.lines();
    assert_eq!(side(frames.next().unwrap()), Side::Sell);
    assert_eq!(side(frames.next().unwrap()), Side::Buy);
}

#[test]
fn the_instrument_list_gives_symbols_and_steps() {
    let mut spot = Spot::new();
    let list = spot.parse_instruments(EXCHANGE_INFO).unwrap();
    let line = |i: &Instrument| {
        format!("{} {} {:?} {:?} {}", i.id.name, i.id, i.tick_size, i.lot_size, i.is_trading())
    };
    expect![[r#"
        ABCXYZ binance/spot/ABC-XYZ Some(Price(0.01)) Some(Qty(0.001)) true
        OLDXYZ binance/spot/OLD-XYZ None None false
        币安人生USDT binance/spot/币安人生-USDT None None true"#]]
    .assert_eq(&list.iter().map(line).collect::<Vec<_>>().join("\n"));
    spot.set_instruments(&list);
    let mut out = Vec::new();
    spot.parse(WS.lines().next().unwrap().as_bytes(), NOW, &mut out).unwrap();
    assert_eq!(out[0].event.instrument.symbol, Symbol::new("ABC-XYZ").unwrap());
    assert_eq!(spot.find(&out[0].event.instrument), Some(out[0].slot));
}

#[test]
fn a_snapshot_answer_is_recognised_by_its_path() {
    let mut spot = Spot::new();
    let Ok(RestAnswer::Snapshot { slot, book }) =
        spot.parse_rest("/api/v3/depth?symbol=ABCXYZ&limit=1000", DEPTH)
    else {
        panic!("no snapshot")
    };
    assert_eq!(&*spot.instrument(slot).name, "ABCXYZ");
    assert_eq!((book.last_id, book.bids.len(), book.asks.len()), (7003, 2, 1));
    for (path, body, reason) in [
        ("/api/v3/depth?limit=5", DEPTH, Reject::MissingField),
        ("/api/v3/depth?symbol=%4", DEPTH, Reject::BadSymbol),
        ("/api/v3/depth?symbol=A", &DEPTH[..20], Reject::Malformed),
        ("/api/v3/depth?symbol=A", b"{}", Reject::MissingField),
        ("/api/v3/time", b"{}", Reject::UnknownPath),
        ("/api/v3/exchangeInfo", b"[]", Reject::WrongType),
    ] {
        let error = spot.parse_rest(path, body).unwrap_err();
        assert_eq!(error.reason, reason, "{path}: {error}");
    }
}

#[test]
fn a_snapshot_request_costs_what_its_depth_costs() {
    let mut spot = Spot::new();
    let slot = spot.slot("币安USDT").unwrap();
    let id = Arc::clone(spot.instrument(slot));
    let request = |depth| {
        let RestRequest { path, weight } = spot.snapshot_request(&id, depth);
        (path.rsplit('=').next().unwrap().to_owned(), weight)
    };
    assert_eq!(request(1), ("100".to_owned(), 5));
    assert_eq!(request(101), ("500".to_owned(), 25));
    assert_eq!(request(1_000), ("1000".to_owned(), 50));
    assert_eq!(request(usize::MAX), ("5000".to_owned(), 250));
    let path = spot.snapshot_request(&id, 100).path;
    assert_eq!(path, "/api/v3/depth?symbol=%E5%B8%81%E5%AE%89USDT&limit=100");
    assert!(matches!(
        spot.parse_rest(&path, DEPTH),
        Ok(RestAnswer::Snapshot { slot: answered, .. }) if answered == slot
    ));
}

/// A trade fetched by its id is the very trade of the stream.
#[test]
fn a_trade_is_the_same_by_either_way() {
    let mut spot = Spot::new();
    for (frame, path, answer) in [
        (
            r#"{"e":"trade","E":3,"s":"ABCXYZ","t":28457,"p":"4.00000100","q":"12.00000000","T":1499865549590,"m":true,"M":true}"#,
            "/api/v3/historicalTrades?symbol=ABCXYZ&fromId=28457&limit=1",
            r#"[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}]"#,
        ),
        (
            r#"{"e":"aggTrade","E":3,"s":"ABCXYZ","a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27783,"T":1498793709153,"m":false,"M":true}"#,
            "/api/v3/aggTrades?symbol=ABCXYZ&fromId=26129&limit=1",
            r#"[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27783,"T":1498793709153,"m":false,"M":true}]"#,
        ),
    ] {
        let mut out = Vec::new();
        spot.parse(frame.as_bytes(), NOW, &mut out).unwrap();
        let Message { slot, event } = out.remove(0);
        let answered = spot.parse_rest(path, answer.as_bytes()).unwrap();
        let (Body::Trade(trade) | Body::AggTrade(trade)) = event.body.clone() else { panic!() };
        let trades = vec![(event.venue_time.unwrap(), trade)];
        assert_eq!(answered, RestAnswer::Trades { slot, kind: event.kind(), trades });
        let request = spot.trades_request(&event.instrument, event.kind(), 28457, 1).unwrap();
        let RestAnswer::Trades { kind, trades, .. } =
            spot.parse_rest(&request.path, b"[]").unwrap()
        else {
            panic!("no trades")
        };
        assert_eq!((kind, trades), (event.kind(), Vec::new()));
    }
}

#[test]
fn trades_are_asked_for_by_id_at_the_weight_of_their_call() {
    let mut spot = Spot::new();
    let slot = spot.slot("ABCXYZ").unwrap();
    let id = Arc::clone(spot.instrument(slot));
    let request = |kind, limit| {
        spot.trades_request(&id, kind, 7, limit).map(|request| (request.path, request.weight))
    };
    let trades = "/api/v3/historicalTrades?symbol=ABCXYZ&fromId=7&limit=1000".to_owned();
    assert_eq!(request(Kind::Trade, usize::MAX), Some((trades, 25)));
    let aggregates = "/api/v3/aggTrades?symbol=ABCXYZ&fromId=7&limit=3".to_owned();
    assert_eq!(request(Kind::AggTrade, 3), Some((aggregates, 4)));
    assert_eq!(request(Kind::Book, 3), None);
    let newest = |kind| spot.newest_request(&id, kind).map(|it| (it.path, it.weight));
    let trade = "/api/v3/historicalTrades?symbol=ABCXYZ&limit=1".to_owned();
    assert_eq!(newest(Kind::Trade), Some((trade, 25)));
    let aggregate = "/api/v3/aggTrades?symbol=ABCXYZ&limit=1".to_owned();
    assert_eq!(newest(Kind::AggTrade), Some((aggregate, 4)));
}

#[test]
fn an_answer_that_is_no_list_of_trades_is_refused() {
    let mut spot = Spot::new();
    let path = "/api/v3/historicalTrades?symbol=A&fromId=1&limit=2";
    for (body, reason) in [
        (r#"{"code":-1121,"msg":"Invalid symbol."}"#, Reject::WrongType),
        (r#"[{"id":1}"#, Reject::Malformed),
        (r#"[[1]]"#, Reject::WrongType),
        (r#"[{"id":1,"price":"1","qty":"1","time":1}]"#, Reject::MissingField),
        (r#"[{"id":1,"price":"x","qty":"1","time":1,"isBuyerMaker":true}]"#, Reject::BadDecimal),
    ] {
        let error = spot.parse_rest(path, body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, reason, "{body}: {error}");
    }
}

fn feeds(count: usize) -> Vec<Feed> {
    let mut spot = Spot::new();
    let mut feeds = Vec::new();
    for number in 0..count {
        let slot = spot.slot(&format!("COIN{number:04}USDT")).unwrap();
        for kind in [Kind::Trade, Kind::Book, Kind::Bbo, Kind::Kline, Kind::Status] {
            let instrument = Arc::clone(spot.instrument(slot));
            let interval = (kind == Kind::Kline).then(|| Arc::from("1m"));
            feeds.push(Feed { instrument, kind, interval });
        }
    }
    feeds
}

#[test]
fn streams_of_an_instrument_stay_together_and_no_connection_has_too_many() {
    let plans = Spot::new().connections(&feeds(10), 10);
    let sizes: Vec<_> = plans.iter().map(|plan| plan.streams.len()).collect();
    assert_eq!(sizes, [8, 8, 8, 8, 8]);
    assert_eq!(plans[1].name, "binance-spot-1");
    assert_eq!(plans[0].instruments.len(), 2);
    expect![
        "coin0000usdt@trade coin0000usdt@depth@100ms coin0000usdt@bookTicker coin0000usdt@kline_1m"
    ]
    .assert_eq(&plans[0].streams[..4].join(" "));
    // More streams than a connection takes: an instrument is split.
    let plans = Spot::new().connections(&feeds(1), 3);
    assert_eq!(plans.iter().map(|plan| plan.streams.len()).collect::<Vec<_>>(), [3, 1]);
    assert!(plans.iter().all(|plan| plan.instruments.len() == 1));
    let plans = Spot::new().connections(&feeds(300), usize::MAX);
    assert!(plans.iter().all(|plan| plan.streams.len() <= 1_024));
    assert!(Spot::new().connections(&[], 0).is_empty());
}

#[test]
fn requests_fill_frames_up_to_the_limit() {
    let plans = Spot::new().connections(&feeds(256), 1_024);
    let mut next_id = 7;
    let frames = Spot::new().subscribe(&plans[0].streams, &mut next_id);
    assert!(frames.iter().all(|request| request.frame.len() <= Spot::LIMITS.frame_bytes_max));
    assert!(frames.len() < 8, "{}", frames.len());
    assert_eq!(next_id, 7 + frames.len() as u64);
    let mut streams = Vec::new();
    for (number, Request { frame, id, joins }) in frames.iter().enumerate() {
        assert_eq!(*id, Some(7 + number as u64));
        let request: serde_json::Value = serde_json::from_str(frame).unwrap();
        assert_eq!(
            (&request["method"], &request["id"]),
            (&"SUBSCRIBE".into(), &(7 + number).into())
        );
        let params = request["params"].as_array().unwrap();
        assert_eq!(
            params.iter().map(|stream| stream.as_str().unwrap()).collect::<Vec<_>>(),
            *joins
        );
        streams.extend(joins.iter().cloned());
    }
    assert_eq!(streams, plans[0].streams);
    let frame = Spot::new().unsubscribe(&["a@trade".to_owned()], &mut next_id).remove(0);
    assert!(frame.frame.starts_with(r#"{"method":"UNSUBSCRIBE","params":["a@trade"],"id":"#));
    assert!(frame.joins.is_empty() && frame.id.is_some());
}

/// A frame in the scanner's form, with unusual values.
fn odd_frame() -> impl Strategy<Value = String> {
    let number = || "(0|[1-9][0-9]{0,20}|0[0-9]|-1|1\\.5|1e3)";
    let decimal = || "([0-9]{1,13}\\.[0-9]{8}|[0-9]{0,20}(\\.[0-9]{0,20})?(e-?[0-9]{1,2})?|-1)";
    let name = "([A-Z0-9]{1,12}|[^\"\\\\]{0,3}|a\\\\u0041)";
    let trade = (number(), number(), decimal(), decimal(), number(), name)
        .prop_map(|(a, b, p, q, t, s)| {
            format!(r#"{{"e":"trade","E":{a},"s":"{s}","t":{b},"p":"{p}","q":"{q}","T":{t},"m":true,"M":false}}"#)
        });
    let depth = (number(), number(), proptest::collection::vec((decimal(), decimal()), 0..4), name)
        .prop_map(|(a, b, levels, s)| {
            let levels: Vec<_> =
                levels.iter().map(|(p, q)| format!(r#"["{p}","{q}"]"#)).collect();
            let levels = levels.join(",");
            format!(r#"{{"stream":"{s}","data":{{"e":"depthUpdate","E":{a},"s":"{s}","U":{b},"u":{a},"b":[{levels}],"a":[{levels}]}}}}"#)
        });
    let bbo = (number(), decimal(), decimal()).prop_map(|(u, p, q)| {
        format!(r#"{{"u":{u},"s":"AB","b":"{p}","B":"{q}","a":"{q}","A":"{p}"}}"#)
    });
    prop_oneof![trade, depth, bbo]
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

    #[test]
    fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(parse(&bytes).0.is_err());
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    for frame in WS.lines() {
        for end in 0..frame.len() {
            let (result, messages) = parse(&frame.as_bytes()[..end]);
            assert!(result.is_err() && messages.is_empty(), "{result:?} after {end} of {frame}");
        }
    }
}

#[test]
fn documented_and_recorded_messages_are_read() {
    let Some(folder) = frames() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("messages/binance/spot")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let channel = name.split("__").next().unwrap();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            seen += 1;
            check_message(&name, channel, line.as_bytes());
        }
    }
    assert!(seen > 60, "{seen}");
}

fn check_message(name: &str, channel: &str, line: &[u8]) {
    assert_eq!(parse(line), parse_slowly(line), "{name}");
    let rest = |path| Spot::new().parse_rest(path, line);
    let result = parse(line).0;
    let streams = [
        ("trade", Kind::Trade),
        ("aggTrade", Kind::AggTrade),
        ("depth", Kind::Book),
        ("bookTicker", Kind::Bbo),
        ("ticker", Kind::Ticker),
        ("kline", Kind::Kline),
    ];
    if let Some((_, kind)) = streams.iter().find(|(stream, _)| *stream == channel) {
        assert_eq!(result, Ok(FrameType::Data(*kind)), "{name}");
        return;
    }
    match channel {
        _ if channel.contains("epth") && channel.starts_with("rest") => {
            assert!(rest("/api/v3/depth?symbol=A").is_ok(), "{name}");
        }
        _ if channel.to_lowercase().replace('_', "").contains("exchangeinfo") => {
            let answer = rest("/api/v3/exchangeInfo").unwrap();
            assert!(matches!(answer, RestAnswer::Instruments(list) if !list.is_empty()), "{name}");
        }
        // Streams and answers nobody asks for.
        _ => assert!(result.is_err() && rest("/api/v3/depth?symbol=A").is_err(), "{name}"),
    }
}

#[test]
fn recorded_frames_take_the_fast_path_and_equal_the_slow_one() {
    for name in ["binance-spot-10symbols-20210405", "binance-spot-btcusdt-20230405-nosnapshot"] {
        each_recorded(name, |frame| {
            assert!(is_fast(frame));
            assert_eq!(parse(frame), parse_slowly(frame));
        });
    }
}

#[test]
fn the_venue_says_its_own_weight() {
    let of = |path, limits: &str| {
        let body = format!(r#"{{"timezone":"UTC","rateLimits":[{limits}],"symbols":[]}}"#);
        Spot::weight_per_minute(path, body.as_bytes())
    };
    let orders = r#"{"rateLimitType":"ORDERS","interval":"MINUTE","intervalNum":1,"limit":50}"#;
    let weight =
        r#"{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":7000}"#;
    assert_eq!(of("/api/v3/exchangeInfo", &format!("{orders},{weight}")), Some(7_000));
    assert_eq!(of("/api/v3/exchangeInfo", orders), None);
    assert_eq!(of("/api/v3/depth?symbol=X", weight), None);
    assert_eq!(Spot::weight_per_minute("/api/v3/exchangeInfo", b"[]"), None);
}

#[test]
fn it_is_an_adapter_as_the_collector_needs_it() {
    let frames: Vec<&[u8]> =
        WS.lines().map(str::as_bytes).filter(|frame| parse(frame).0.is_ok()).collect();
    let kinds = [Kind::Trade, Kind::AggTrade, Kind::Book, Kind::Bbo, Kind::Ticker, Kind::Kline];
    let sample = conformance::Sample { instruments: EXCHANGE_INFO, frames: &frames, kinds: &kinds };
    conformance::check(&Spot::new(), &sample);
}

#[test]
fn the_volumes_of_a_day_are_in_quote_units() {
    let answer =
        br#"[{"symbol":"BTCUSDT","openPrice":"1","quoteVolume":"229576048.73031732","count":7},
        {"symbol":"NONE"},{"symbol":"ETHBTC","quoteVolume":"12.5"}]"#;
    let volumes = Spot::new().parse_volumes(answer).unwrap();
    let read: Vec<_> = volumes.iter().map(|(name, volume)| format!("{name} {volume}")).collect();
    assert_eq!(read, ["BTCUSDT 229576048.73031732", "ETHBTC 12.5"]);
    assert_eq!(Spot::new().volumes_requests()[0].path, "/api/v3/ticker/24hr?type=MINI");
}
