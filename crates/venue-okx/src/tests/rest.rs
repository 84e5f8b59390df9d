//! Ring 1 and 2: what is asked over REST, and its answers.

use super::*;
use model::{Instrument, Trade};
use venue::{Reject, RestAnswer};

fn line(instrument: &Instrument) -> String {
    let Instrument { id, base, quote, tick_size, lot_size, contract_size, qty_unit, .. } =
        instrument;
    let Instrument { expiry, strike, option_side, listing, .. } = instrument;
    let show = |what: &[(&str, Option<String>)]| {
        let given =
            what.iter().filter_map(|(name, value)| Some(format!(" {name} {}", value.as_ref()?)));
        given.collect::<String>()
    };
    let facts = show(&[
        ("tick", tick_size.map(|price| price.to_string())),
        ("lot", lot_size.map(|qty| qty.to_string())),
        ("size", contract_size.map(|qty| qty.to_string())),
        ("expiry", expiry.map(|at| at.to_string())),
        ("strike", strike.map(|price| price.to_string())),
        ("side", option_side.map(|side| side.to_string())),
    ]);
    format!("{} {id}: {base} in {quote}, {}, {listing}{facts}", id.name, qty_unit.as_str())
}

#[test]
fn the_instrument_list_gives_symbols_sizes_and_units() {
    let list = Perp::new().parse_instruments(INSTRUMENTS).unwrap();
    expect![[r#"
        ABC-XYZ okx/spot/ABC-XYZ: ABC in XYZ, base, trading tick 0.01 lot 0.0001
        OLD-XYZ okx/spot/OLD-XYZ: OLD in XYZ, base, halted
        ABC-XYZ-SWAP okx/perp/ABC-XYZ: ABC in XYZ, base, trading tick 0.01 lot 0.0001 size 0.01
        ABC-USD-SWAP okx/perp/ABC-USD: ABC in USD, quote, trading tick 0.01 lot 10 size 10
        ABC-USD_UM-SWAP okx/perp/ABC-USD_UM: ABC in USD, base, pending tick 0.01 lot 0.01 size 0.01
        ABC-XYZ-240329 okx/future/ABC-XYZ-240329: ABC in XYZ, base, trading tick 0.01 lot 0.01 size 0.01 expiry 1711699200000000000
        ABC-USD-240329 okx/future/ABC-USD-240329: ABC in USD, quote, closed tick 0.01 lot 100 size 100 expiry 1711699200000000000
        ABC-USD-240329-30-C okx/option/ABC-USD-240329-30-C: ABC in ABC, base, trading tick 0.0001 lot 0.01 size 0.01 expiry 1711699200000000000 strike 30 side call
        ABC-USD-240329-30-P okx/option/ABC-USD-240329-30-P: ABC in ABC, base, trading tick 0.0001 lot 0.01 size 0.01 expiry 1711699200000000000 strike 30 side put"#]]
    .assert_eq(&list.iter().map(line).collect::<Vec<_>>().join("\n"));
}

#[test]
fn each_market_asks_for_its_own_list() {
    let paths = [
        Spot::new().instruments_request(),
        Perp::new().instruments_request(),
        Future::new().instruments_request(),
        Options::new().instruments_request(),
    ]
    .map(|request| request.path);
    expect![[r#"
        /api/v5/public/instruments?instType=SPOT
        /api/v5/public/instruments?instType=SWAP
        /api/v5/public/instruments?instType=FUTURES
        /api/v5/public/underlying?instType=OPTION"#]]
    .assert_eq(&paths.join("\n"));
    let answer = Perp::new().parse_rest(&paths[1], INSTRUMENTS).unwrap();
    assert!(matches!(answer, RestAnswer::Instruments(list) if list.len() == 9));
}

/// The venue's side of a request for trades: those older than `after`, newest first.
fn answer(path: &str, newest: u64) -> String {
    let query: std::collections::BTreeMap<_, _> = path
        .split_once('?')
        .unwrap()
        .1
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .collect();
    assert_eq!(query["type"], "1");
    let after: u64 = query["after"].parse().unwrap();
    let limit: usize = query["limit"].parse().unwrap();
    let ids = (1..=newest).rev().filter(|id| *id < after).take(limit);
    let entry = |id| {
        format!(
            r#"{{"instId":"ABC-XYZ-SWAP","side":"sell","sz":"2","px":"25","tradeId":"{id}","ts":"{id}"}}"#
        )
    };
    let entries: Vec<_> = ids.map(entry).collect();
    format!(r#"{{"code":"0","msg":"","data":[{}]}}"#, entries.join(","))
}

#[test]
fn trades_are_asked_for_from_an_id_on_although_okx_pages_backwards() {
    let mut okx: Perp = listed();
    let id = id(&mut okx, "ABC-XYZ-SWAP");
    let mut ask = |from, limit, newest| {
        let request = okx.trades_request(&id, Kind::Trade, from, limit).unwrap();
        let body = answer(&request.path, newest);
        let answer = okx.parse_rest(&request.path, body.as_bytes()).unwrap();
        let RestAnswer::Trades { slot, kind: Kind::Trade, trades } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(okx.instrument(slot), &id);
        trades.iter().map(|(_, trade)| trade.seq).collect::<Vec<_>>()
    };
    assert_eq!(ask(500, 3, 1_000), [500, 501, 502]);
    assert_eq!(ask(500, usize::MAX, 1_000), (500..600).collect::<Vec<_>>());
    // Fewer are there than were asked for: nothing older takes their place.
    assert_eq!(ask(999, 50, 1_000), [999, 1_000]);
    assert_eq!(ask(1_001, 50, 1_000), [0; 0]);
    assert_eq!(okx.trades_request(&id, Kind::Book, 1, 1), None);
    let request = okx.trades_request(&id, Kind::Trade, 7, 5).unwrap();
    assert_eq!(
        (&*request.path, request.weight),
        ("/api/v5/market/history-trades?instId=ABC-XYZ-SWAP&type=1&after=12&limit=5", 1)
    );
    let newest = okx.newest_request(&id, Kind::Trade).unwrap();
    assert_eq!(
        (&*newest.path, newest.weight),
        ("/api/v5/market/history-trades?instId=ABC-XYZ-SWAP&type=1&limit=1", 1)
    );
    let body = answer("?type=1&after=1001&limit=1", 1_000);
    let answer = okx.parse_rest(&newest.path, body.as_bytes()).unwrap();
    let RestAnswer::Trades { trades, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(trades.iter().map(|(_, trade)| trade.seq).collect::<Vec<_>>(), [1_000]);
}

/// A fill fetched by its id is the trade of the stream, if that was one fill.
#[test]
fn a_trade_is_the_same_by_either_way() {
    let mut okx: Perp = listed();
    let mut out = Vec::new();
    let frame = br#"{"arg":{"channel":"trades-all","instId":"ABC-XYZ-SWAP"},"data":[{"instId":"ABC-XYZ-SWAP","tradeId":"7","px":"25","sz":"2","side":"sell","ts":"7"}]}"#;
    okx.parse(frame, NOW, &mut out).unwrap();
    let Body::Trade(trade) = &out[0].event.body else { panic!("{out:?}") };
    let path = "/api/v5/market/history-trades?instId=ABC-XYZ-SWAP&type=1&after=8&limit=1";
    let answered = okx.parse_rest(path, answer(path, 9).as_bytes()).unwrap();
    let RestAnswer::Trades { trades, .. } = answered else { panic!("no trades") };
    let expected: (UnixNanos, Trade) = (out[0].event.venue_time.unwrap(), trade.clone());
    assert_eq!(trades, [expected]);
}

#[test]
fn a_book_is_taken_only_with_its_sequence_id() {
    let mut okx: Perp = listed();
    let id = id(&mut okx, "ABC-XYZ-SWAP");
    let path = okx.snapshot_request(&id, 5_000).path;
    assert_eq!(path, "/api/v5/market/books?instId=ABC-XYZ-SWAP&sz=400");
    let body = |seq: &str| {
        format!(
            r#"{{"code":"0","msg":"","data":[{{"asks":[["25.2","3","0","1"]],"bids":[],"ts":"1"{seq}}}]}}"#
        )
    };
    let answer = okx.parse_rest(&path, body(r#","seqId":9"#).as_bytes()).unwrap();
    let RestAnswer::Snapshot { slot, book } = answer else { panic!("no book") };
    assert_eq!((okx.instrument(slot), book.last_id), (&id, 9));
    assert_eq!(book.asks, [("25.2".parse().unwrap(), "0.03".parse().unwrap())]);
    let error = okx.parse_rest(&path, body("").as_bytes()).unwrap_err();
    assert_eq!(error.reason, Reject::Unverifiable);
}

#[test]
fn ratios_are_asked_for_by_contract_and_told_apart_by_their_path() {
    let mut okx: Perp = listed();
    let id = id(&mut okx, "ABC-XYZ-SWAP");
    let body =
        br#"{"code":"0","data":[["1700000100000","1.2500"],["1699999800000","0.98"]],"msg":""}"#;
    let mut said = String::new();
    for poll in Perp::POLLS {
        let path = poll.request(&id).path;
        let answer = okx.parse_rest(&path, body).unwrap();
        let RestAnswer::Points { slot, points } = answer else { panic!("no points") };
        assert_eq!(okx.instrument(slot), &id);
        for (at, body) in points {
            let Body::LongShortRatio(ratio) = body else { panic!("{body:?}") };
            let ratio_type = ratio.ratio_type;
            writeln!(said, "{at} {ratio_type} {} {}", ratio.period, ratio.long_short_ratio)
                .unwrap();
        }
        assert!(okx.parse_rest(&path, br#"{"code":"0","data":[["1"]]}"#).is_err());
    }
    expect![[r#"
        1700000100000000000 all_account 5m 1.25
        1699999800000000000 all_account 5m 0.98
        1700000100000000000 top_account 5m 1.25
        1699999800000000000 top_account 5m 0.98
        1700000100000000000 top_position 5m 1.25
        1699999800000000000 top_position 5m 0.98
    "#]]
    .assert_eq(&said);
    assert!(Spot::POLLS.is_empty() && Options::POLLS.is_empty());
}

#[test]
fn an_answer_that_is_none_is_refused() {
    let mut okx = Perp::new();
    let trades = "/api/v5/market/history-trades?instId=A-B&type=1&after=2&limit=1";
    for (path, body, reason) in [
        (
            trades,
            r#"{"code":"51001","data":[],"msg":"Instrument ID does not exist"}"#,
            Reject::WrongType,
        ),
        (trades, r#"{"code":"0","msg":""}"#, Reject::MissingField),
        (trades, r#"{"code":"0","msg":"","data":["#, Reject::Malformed),
        (trades, r#"{"code":"0","msg":"","data":[["1"]]}"#, Reject::WrongType),
        (trades, r#"{"code":"0","msg":"","data":[{"tradeId":"x"}]}"#, Reject::WrongType),
        (trades, r#"[]"#, Reject::WrongType),
        ("/api/v5/market/books", r#"{"code":"0","data":[]}"#, Reject::MissingField),
        ("/api/v5/market/books?instId=A-B", r#"{"code":"0","data":[]}"#, Reject::MissingField),
        ("/api/v5/market/books?instId=%4", r#"{"code":"0","data":[]}"#, Reject::BadSymbol),
        ("/api/v5/public/instruments", r#"{"code":"0","data":{}}"#, Reject::WrongType),
        ("/api/v5/public/time", "{}", Reject::UnknownPath),
    ] {
        let error = okx.parse_rest(path, body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, reason, "{path} {body}: {error}");
    }
    let id = id(&mut okx, "币安 A/B");
    let path = okx.snapshot_request(&id, 1).path;
    assert!(path.starts_with("/api/v5/market/books?instId=%E5%B8%81%E5%AE%89%20A%2FB&sz=1"));
    let body = r#"{"code":"0","data":[{"asks":[],"bids":[],"seqId":1}]}"#;
    let answer = okx.parse_rest(&path, body.as_bytes());
    assert!(matches!(answer, Ok(RestAnswer::Snapshot { slot, .. }) if *okx.instrument(slot) == id));
}

#[test]
fn options_are_listed_family_by_family_of_all_that_there_are() {
    let (path, body) = (Options::new().instruments_request().path, UNDERLYINGS);
    let parts = Options::new().more_instruments(&path, body).unwrap();
    let paths: Vec<_> = parts.iter().map(|request| request.path.as_str()).collect();
    expect![[r#"
        /api/v5/public/instruments?instType=OPTION&instFamily=BTC-USD
        /api/v5/public/instruments?instType=OPTION&instFamily=ETH-USD"#]]
    .assert_eq(&paths.join("\n"));
    // The names are no instruments, and a part has no parts.
    assert_eq!(Options::new().parse_instruments(body).unwrap(), []);
    assert_eq!(Options::new().more_instruments(paths[0], INSTRUMENTS).unwrap(), []);
    let refused = br#"{"code":"50011","msg":"Too Many Requests","data":[]}"#;
    Options::new().more_instruments(&path, refused).unwrap_err();
}

const UNDERLYINGS: &[u8] = br#"{"code":"0","msg":"","data":[["BTC-USD","ETH-USD"]]}"#;

#[test]
fn the_volumes_of_a_day_are_in_quote_units() {
    let answer = br#"{"code":"0","msg":"","data":[
        {"instType":"SPOT","instId":"A-B","last":"2.5","vol24h":"100","volCcy24h":"250.5"},
        {"instType":"SWAP","instId":"A-B-SWAP","last":"2.5","vol24h":"7","volCcy24h":"100"},
        {"instType":"SWAP","instId":"NONE-SWAP","last":"","vol24h":"","volCcy24h":""}]}"#;
    let volumes = Perp::new().parse_volumes(answer).unwrap();
    let read: Vec<_> = volumes.iter().map(|(name, volume)| format!("{name} {volume}")).collect();
    assert_eq!(read, ["A-B 250.5", "A-B-SWAP 250"]);
    assert_eq!(Perp::new().volumes_requests()[0].path, "/api/v5/market/tickers?instType=SWAP");
}
