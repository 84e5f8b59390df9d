//! Ring 1 and 2: frames to events, streams and requests.

mod chain;
mod damage;
mod recordings;
mod rest;

use crate::{Future, Okx, Options, Perp, Spot, market::OkxMarket};
use expect_test::{expect, expect_file};
use model::{Body, InstrumentId, Kind};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use units::UnixNanos;
use venue::{
    Adapter, ConnectionPlan, Feed, FrameType, Granted, Message, ParseError, Request, conformance,
};

const WS: &str = include_str!("../testdata/ws.jsonl");
const INSTRUMENTS: &[u8] = include_bytes!("../testdata/instruments.json");
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

type Parsed = (Result<FrameType, ParseError>, Vec<Message>);

/// An adapter that knows the instruments of the fixtures.
fn listed<M: OkxMarket>() -> Okx<M> {
    let mut okx = Okx::new();
    let list = okx.parse_instruments(INSTRUMENTS).unwrap();
    okx.set_instruments(&list);
    okx
}

fn parse(frame: &[u8]) -> Parsed {
    let mut out = Vec::new();
    (Perp::new().parse(frame, NOW, &mut out), out)
}

fn frames() -> Option<PathBuf> {
    let folder = std::env::var_os("MARKETPRISM_FRAMES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MARKETPRISM_FRAMES is not set");
    }
    folder
}

fn id<M: OkxMarket>(okx: &mut Okx<M>, name: &str) -> Arc<InstrumentId> {
    let slot = okx.slot(name).unwrap();
    Arc::clone(okx.instrument(slot))
}

fn feed<M: OkxMarket>(okx: &mut Okx<M>, name: &str, kind: Kind) -> Feed {
    Feed { instrument: id(okx, name), kind, interval: None }
}

#[test]
fn every_form_of_frame_becomes_what_is_written_down() {
    let mut text = String::new();
    let mut okx: Perp = listed();
    for frame in WS.lines() {
        let mut out = Vec::new();
        let scanned = okx.clone().parse_quickly(frame.as_bytes(), NOW, &mut Vec::new()).is_some();
        let path = if scanned { "scanned" } else { "parsed" };
        writeln!(text, "{frame}").unwrap();
        match okx.parse(frame.as_bytes(), NOW, &mut out) {
            Ok(frame_type) => {
                writeln!(text, "  {path}: {frame_type:?}").unwrap();
                for Message { slot: _, event } in out {
                    let at = event.venue_time.map(UnixNanos::as_i64);
                    writeln!(text, "  {} {at:?} {:?}", event.instrument, event.body).unwrap();
                }
            }
            Err(error) => {
                assert!(out.is_empty());
                writeln!(text, "  {error}").unwrap();
            }
        }
    }
    expect_file!["../testdata/ws.events"].assert_eq(&text);
}

/// The fixtures' list as OKX answers it: of one market.
fn list_of<M: OkxMarket>() -> String {
    let mark = format!(r#""instType":"{}""#, M::INST_TYPE);
    let entries = std::str::from_utf8(INSTRUMENTS).unwrap().lines();
    let entries: Vec<_> = entries.filter(|line| line.contains(&mark)).collect();
    let entries: Vec<_> = entries.iter().map(|line| line.trim_end_matches(',')).collect();
    format!(r#"{{"code":"0","data":[{}],"msg":""}}"#, entries.join(","))
}

#[test]
fn the_adapters_keep_what_the_collector_relies_on() {
    fn check<M: OkxMarket>(more: &[Kind]) {
        let list = list_of::<M>();
        let mut okx = Okx::<M>::new();
        let instruments = okx.parse_instruments(list.as_bytes()).unwrap();
        okx.set_instruments(&instruments);
        let has_events = |frame: &&[u8]| {
            let mut out = Vec::new();
            let read = okx.clone().parse(frame, NOW, &mut out);
            read.is_ok_and(|read| !matches!(read, FrameType::Data(_)) || !out.is_empty())
        };
        let frames: Vec<_> = WS.lines().map(str::as_bytes).filter(has_events).collect();
        assert!(frames.len() > 30, "{}", frames.len());
        let mut kinds = vec![Kind::Trade, Kind::Book, Kind::Bbo, Kind::Ticker, Kind::Kline];
        kinds.extend(more);
        let (instruments, frames, kinds) = (list.as_bytes(), &*frames, &*kinds);
        conformance::check(&Okx::<M>::new(), &conformance::Sample { instruments, frames, kinds });
    }
    let contracts = [Kind::Mark, Kind::OpenInterest, Kind::Liquidation];
    check::<crate::market::Spot>(&[]);
    check::<crate::market::Swap>(&[&contracts[..], &[Kind::Funding]].concat());
    check::<crate::market::Futures>(&contracts);
    check::<crate::market::Options>(&contracts);
}

#[test]
fn without_a_list_contracts_stay_contracts() {
    let frame = WS.lines().find(|line| line.contains(r#""sz":"24.31""#)).unwrap();
    let qty = |mut okx: Perp| {
        let mut out = Vec::new();
        okx.parse(frame.as_bytes(), NOW, &mut out).unwrap();
        let Body::Trade(trade) = &out[0].event.body else { panic!("{out:?}") };
        (out[0].event.instrument.symbol.to_string(), trade.qty.to_string())
    };
    assert_eq!(qty(Perp::new()), ("ABC-XYZ-SWAP".to_owned(), "24.31".to_owned()));
    assert_eq!(qty(listed()), ("ABC-XYZ".to_owned(), "0.2431".to_owned()));
}

#[test]
fn the_market_is_the_type_s() {
    fn market<M: OkxMarket>() -> String {
        let mut okx = Okx::<M>::new();
        format!("{} {}", <Okx<M> as Adapter>::MARKET, id(&mut okx, "A-B"))
    }
    assert_eq!(market::<crate::market::Spot>(), "spot okx/spot/A-B");
    assert_eq!(market::<crate::market::Swap>(), "perp okx/perp/A-B");
    assert_eq!(market::<crate::market::Futures>(), "future okx/future/A-B");
    assert_eq!(market::<crate::market::Options>(), "option okx/option/A-B");
}

#[test]
fn each_market_has_the_streams_that_okx_serves_for_it() {
    fn all<M: OkxMarket>(name: &str) -> String {
        let mut okx: Okx<M> = listed();
        let mut streams = Vec::new();
        for kind in Kind::ALL {
            let interval = (*kind == Kind::Kline).then(|| Arc::from("1m"));
            let feed = Feed { interval, ..feed(&mut okx, name, *kind) };
            streams.extend(okx.streams(&feed));
        }
        streams.join(" ")
    }
    expect!["trades:ABC-XYZ books:ABC-XYZ bbo-tbt:ABC-XYZ tickers:ABC-XYZ candle1m:ABC-XYZ"]
        .assert_eq(&all::<crate::market::Spot>("ABC-XYZ"));
    expect!["trades:ABC-XYZ-SWAP books:ABC-XYZ-SWAP bbo-tbt:ABC-XYZ-SWAP tickers:ABC-XYZ-SWAP candle1m:ABC-XYZ-SWAP mark-price:ABC-XYZ-SWAP index-tickers:ABC-XYZ funding-rate:ABC-XYZ-SWAP open-interest:ABC-XYZ-SWAP liquidation-orders:SWAP"]
        .assert_eq(&all::<crate::market::Swap>("ABC-XYZ-SWAP"));
    // Not listed, so that its index is not known.
    expect!["trades:NEW-240329 books:NEW-240329 bbo-tbt:NEW-240329 tickers:NEW-240329 candle1m:NEW-240329 mark-price:NEW-240329 open-interest:NEW-240329 liquidation-orders:FUTURES"]
        .assert_eq(&all::<crate::market::Futures>("NEW-240329"));
    expect!["trades:ABC-USD-240329-30-C books:ABC-USD-240329-30-C bbo-tbt:ABC-USD-240329-30-C tickers:ABC-USD-240329-30-C opt-summary:ABC-USD candle1m:ABC-USD-240329-30-C mark-price:ABC-USD-240329-30-C open-interest:ABC-USD-240329-30-C liquidation-orders:OPTION"]
        .assert_eq(&all::<crate::market::Options>("ABC-USD-240329-30-C"));
    let mut perp = Perp::new();
    let month = Some(Arc::from("1M"));
    let month = Feed { interval: month, ..feed(&mut perp, "A-B-SWAP", Kind::Kline) };
    assert!(perp.streams(&month).is_empty());
}

fn many(okx: &mut Perp, count: usize, kinds: &[Kind]) -> Vec<Feed> {
    let names = (0..count).map(|number| format!("C{number:03}-XYZ-SWAP"));
    let mut feeds = Vec::new();
    for name in names {
        for kind in kinds {
            let interval = (*kind == Kind::Kline).then(|| Arc::from("1m"));
            feeds.push(Feed { interval, ..feed(okx, &name, *kind) });
        }
    }
    feeds
}

fn sizes(plans: &[ConnectionPlan]) -> Vec<(&str, &str, usize, usize)> {
    plans
        .iter()
        .map(|plan| (&*plan.name, &*plan.path, plan.streams.len(), plan.instruments.len()))
        .collect()
}

#[test]
fn a_connection_has_fewer_than_thirty_books_and_candles_have_their_own() {
    let mut okx = Perp::new();
    let kinds = [Kind::Trade, Kind::Book, Kind::Bbo, Kind::Kline, Kind::Liquidation];
    let wanted = many(&mut okx, 30, &kinds);
    let plans = okx.connections(&wanted, usize::MAX);
    // 14 instruments have 28 streams of books; the liquidations of all are one stream.
    assert_eq!(
        sizes(&plans),
        [
            ("okx-perp-0", "/ws/v5/public", 43, 14),
            ("okx-perp-1", "/ws/v5/public", 42, 14),
            ("okx-perp-2", "/ws/v5/public", 6, 2),
            ("okx-perp-3", "/ws/v5/business", 30, 30),
        ]
    );
    let mut streams: Vec<_> = plans.iter().flat_map(|plan| &plan.streams).collect();
    streams.sort();
    assert!(streams.windows(2).all(|pair| pair[0] != pair[1]));
    let plans = okx.connections(&many(&mut okx.clone(), 300, &[Kind::Trade]), usize::MAX);
    assert_eq!(
        sizes(&plans).iter().map(|(_, _, streams, _)| *streams).collect::<Vec<_>>(),
        [240, 60]
    );
    let plans = okx.connections(&wanted[..10], 2);
    assert!(plans.iter().all(|plan| plan.streams.len() <= 2), "{plans:?}");
    assert!(okx.connections(&[], 0).is_empty());
}

#[test]
fn an_instrument_that_only_shares_a_stream_is_where_that_stream_is() {
    let mut okx = Perp::new();
    let wanted = many(&mut okx, 3, &[Kind::Liquidation]);
    let plans = okx.connections(&wanted, 10);
    assert_eq!(sizes(&plans), [("okx-perp-0", "/ws/v5/public", 1, 3)]);
}

#[test]
fn the_figures_of_a_family_of_options_are_one_stream() {
    let mut okx = Options::new();
    let names = ["ABC-USD-240329-30-C", "ABC-USD-240329-30-P", "ABC-USD_UM-240329-30-C"];
    let wanted = names.map(|name| feed(&mut okx, name, Kind::Ticker));
    let plans = okx.connections(&wanted, usize::MAX);
    let streams = [
        "tickers:ABC-USD-240329-30-C",
        "opt-summary:ABC-USD",
        "tickers:ABC-USD-240329-30-P",
        "tickers:ABC-USD_UM-240329-30-C",
        "opt-summary:ABC-USD_UM",
    ];
    assert_eq!(plans.iter().map(|plan| &*plan.streams).collect::<Vec<_>>(), [streams]);
    let request = okx.subscribe(&[streams[1].to_owned()], &mut 7).remove(0);
    expect![[
        r#"{"id":"7","op":"subscribe","args":[{"channel":"opt-summary","instFamily":"ABC-USD"}]}"#
    ]]
    .assert_eq(&request.frame);
    // What is no name of an option has no family.
    let odd = feed(&mut okx, "ABC", Kind::Ticker);
    assert_eq!(okx.streams(&odd), ["tickers:ABC"]);
}

#[test]
fn requests_name_each_stream_that_they_join() {
    let streams = ["books:A-B", "candle1m:A-B", "liquidation-orders:SWAP"].map(str::to_owned);
    let mut next_id = 7;
    let request = Perp::new().subscribe(&streams, &mut next_id).remove(0);
    expect![[r#"{"id":"7","op":"subscribe","args":[{"channel":"books","instId":"A-B"},{"channel":"candle1m","instId":"A-B"},{"channel":"liquidation-orders","instType":"SWAP"}]}"#]]
        .assert_eq(&request.frame);
    assert_eq!((request.id, request.joins), (Some(7), streams.to_vec()));
    let request = Perp::new().unsubscribe(&streams[..1], &mut next_id).remove(0);
    expect![[r#"{"id":"8","op":"unsubscribe","args":[{"channel":"books","instId":"A-B"}]}"#]]
        .assert_eq(&request.frame);
    assert_eq!((request.id, request.joins.len()), (Some(8), 0));
    assert_eq!(next_id, 9);
    let (mut names, mut asked) = (Vec::new(), Vec::new());
    for number in 0..3_000 {
        names.push(format!("books:A\"{number}-LONGER-THAN-USUAL"));
    }
    let requests = Spot::new().subscribe(&names, &mut next_id);
    assert!(requests.len() > 1 && requests.len() < 5, "{}", requests.len());
    for Request { frame, id: _, joins } in requests {
        assert!(frame.len() <= Spot::LIMITS.frame_bytes_max, "{}", frame.len());
        let request: serde_json::Value = serde_json::from_str(&frame).unwrap();
        let args = request["args"].as_array().unwrap();
        let named = args.iter().map(|arg| format!("books:{}", arg["instId"].as_str().unwrap()));
        assert_eq!(named.collect::<Vec<_>>(), joins);
        asked.extend(joins);
    }
    assert_eq!(asked, names);
}

#[test]
fn an_answer_names_the_stream_in_the_words_of_the_request() {
    let streams =
        ["candle1m:A-B", "liquidation-orders:SWAP", "instruments:SWAP", "opt-summary:A-B"];
    for stream in streams.map(str::to_owned) {
        let request = Perp::new().subscribe(std::slice::from_ref(&stream), &mut 7).remove(0);
        let sent: serde_json::Value = serde_json::from_str(&request.frame).unwrap();
        let answer =
            format!(r#"{{"id":"7","event":"subscribe","arg":{},"connId":"a"}}"#, sent["args"][0]);
        let granted = Granted::One(stream);
        let accepted = FrameType::Accepted { id: Some(7), granted };
        assert_eq!(parse(answer.as_bytes()).0, Ok(accepted));
    }
    let too_often = br#"{"event":"error","code":"60014","msg":"Requests too frequent"}"#;
    assert!(matches!(parse(too_often).0, Ok(FrameType::Refused { too_often: true, .. })));
}

#[test]
fn a_change_of_the_list_is_told_by_a_stream_of_its_own() {
    let notice = Perp::new().notice().unwrap();
    let told = (notice.path.as_str(), notice.stream.as_str());
    assert_eq!(told, ("/ws/v5/public", "instruments:SWAP"));
    let frame = br#"{"arg":{"channel":"instruments","instType":"SWAP"},"data":[{"instType":"SWAP","instId":"A-B-SWAP","state":"live"}]}"#;
    assert_eq!(parse(frame), (Ok(FrameType::Relisted), Vec::new()));
}

#[test]
fn an_index_price_is_an_event_of_every_contract_on_it() {
    let frame = br#"{"arg":{"channel":"index-tickers","instId":"ABC-USD"},"data":[{"instId":"ABC-USD","idxPx":"25.12","ts":"1"}]}"#;
    let mut okx: Perp = listed();
    let mut out = Vec::new();
    okx.parse(frame, NOW, &mut out).unwrap();
    let names: Vec<_> = out.iter().map(|message| message.event.instrument.to_string()).collect();
    assert_eq!(names, ["okx/perp/ABC-USD", "okx/perp/ABC-USD_UM", "okx/future/ABC-USD-240329"]);
    // A later list replaces what an earlier one said.
    let list = okx.parse_instruments(INSTRUMENTS).unwrap();
    okx.set_instruments(&list);
    out.clear();
    okx.parse(frame, NOW, &mut out).unwrap();
    assert_eq!(out.len(), names.len());
}

#[test]
fn every_market_can_be_made_by_its_name() {
    let ids = [
        id(&mut Spot::default(), "A-B"),
        id(&mut Perp::default(), "A-B-SWAP"),
        id(&mut Future::default(), "A-B-1"),
        id(&mut Options::default(), "A-B-1-2-C"),
    ];
    assert_eq!(ids.map(|id| id.market.as_str()), ["spot", "perp", "future", "option"]);
}
