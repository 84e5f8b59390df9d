//! Ring 1 and 2: frames to events, and what a sequence of frames leads to.

mod damage;
mod pipeline;
mod recorded;
mod requests;

use crate::{Deribit, Futures, Index, Options, Perp, Segment, Spot};
use expect_test::expect_file;
use model::{Body, Kind, Kline, Market};
use std::fmt::Write as _;
use units::UnixNanos;
use venue::{Adapter, FrameType, Message, ParseError};

const WS: &str = include_str!("../testdata/ws.tsv");
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

type Outcome = (Result<FrameType, ParseError>, Vec<Message>);

/// How a frame is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Usual,
    Slow,
}

/// What a fresh adapter of the market makes of a frame.
fn parse(market: Market, way: Way, frame: &[u8]) -> Outcome {
    fn with<M: Segment>(way: Way, frame: &[u8]) -> Outcome {
        let (mut adapter, mut out) = (Deribit::<M>::new(), Vec::new());
        let result = match way {
            Way::Usual => adapter.parse(frame, NOW, &mut out),
            Way::Slow => adapter.parse_slowly(frame, NOW, &mut out),
        };
        (result, out)
    }
    match market {
        Market::Perp => with::<crate::marker::Perp>(way, frame),
        Market::Future => with::<crate::marker::Future>(way, frame),
        Market::Option => with::<crate::marker::Option>(way, frame),
        Market::Spot => with::<crate::marker::Spot>(way, frame),
        Market::Index => with::<crate::marker::Index>(way, frame),
    }
}

/// Whether the scanner alone reads the frame.
fn is_fast(market: Market, frame: &[u8]) -> bool {
    match market {
        Market::Perp => Perp::new().parse_fast(frame, NOW).is_some(),
        Market::Future => Futures::new().parse_fast(frame, NOW).is_some(),
        Market::Option => Options::new().parse_fast(frame, NOW).is_some(),
        Market::Spot => Spot::new().parse_fast(frame, NOW).is_some(),
        Market::Index => Index::new().parse_fast(frame, NOW).is_some(),
    }
}

/// The fixtures: market and frame.
fn fixtures() -> impl Iterator<Item = (Market, &'static str)> {
    WS.lines().map(|line| {
        let (market, frame) = line.split_once('\t').unwrap();
        (market.parse().unwrap(), frame)
    })
}

#[test]
fn every_form_of_frame_becomes_what_is_written_down() {
    let mut text = String::new();
    for (market, frame) in fixtures() {
        let path = if is_fast(market, frame.as_bytes()) { "scanned" } else { "parsed" };
        writeln!(text, "{frame}").unwrap();
        match parse(market, Way::Usual, frame.as_bytes()) {
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
    expect_file!["../testdata/ws.events"].assert_eq(&text);
}

/// The frames of one kind that the venue writes in its usual form.
fn frame_of(kind: Kind) -> (Market, &'static str) {
    let is_it = |(market, frame): &(Market, &str)| {
        parse(*market, Way::Usual, frame.as_bytes()).0 == Ok(FrameType::Data(kind))
    };
    fixtures().find(is_it).unwrap()
}

#[test]
fn what_comes_by_the_thousand_is_scanned() {
    for kind in [Kind::Book, Kind::Trade, Kind::Ticker, Kind::Bbo] {
        let (market, frame) = frame_of(kind);
        assert!(is_fast(market, frame.as_bytes()), "{kind}");
    }
}

#[test]
fn a_ticker_leads_to_every_kind_that_its_market_has() {
    let (market, frame) = frame_of(Kind::Ticker);
    let (frame_type, messages) = parse(market, Way::Usual, frame.as_bytes());
    assert_eq!(frame_type, Ok(FrameType::Data(Kind::Ticker)));
    let kinds: Vec<_> = messages.iter().map(|message| message.event.kind()).collect();
    assert_eq!(kinds, [Kind::Ticker, Kind::Mark, Kind::Funding, Kind::OpenInterest]);
}

#[test]
fn the_events_of_a_ticker_are_told_apart_by_its_time_alone() {
    let (market, frame) = frame_of(Kind::Ticker);
    for message in parse(market, Way::Usual, frame.as_bytes()).1 {
        let at = u64::try_from(message.event.venue_time.unwrap().as_i64()).unwrap();
        assert_eq!(message.event.identity().major, at, "{:?}", message.event);
        assert_eq!(message.event.identity().minor, 0, "{:?}", message.event);
    }
}

#[test]
fn a_quote_is_recognised_when_it_comes_again_and_ordered_by_its_time() {
    let id = |time: u64, amount: &str| {
        let frame = format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"quote.A","data":{{"timestamp":{time},"instrument_name":"A","best_ask_price":2.0,"best_bid_price":1.0,"best_ask_amount":1.0,"best_bid_amount":{amount}}}}}}}"#
        );
        let (result, messages) = parse(Market::Perp, Way::Usual, frame.as_bytes());
        assert_eq!(result, Ok(FrameType::Data(Kind::Bbo)));
        messages[0].event.identity().major
    };
    let now = 1_790_000_000_000;
    assert_eq!(id(now, "1.0"), id(now, "1"));
    assert_ne!(id(now, "1"), id(now, "2"));
    assert!(id(now, "2") < id(now + 1, "1"));
    assert_eq!(id(now, "2") >> 20, now);
    // Stored quotes carry it: it must not change.
    assert_eq!(id(now, "1"), 1_876_951_040_000_885_276);
    let several: std::collections::BTreeSet<_> =
        (1..=1_000).map(|amount| id(now, &amount.to_string())).collect();
    assert!(several.len() >= 998, "{}", several.len());
}

/// One frame of a chart.
fn chart(tick: i64, close: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"chart.trades.ABC-PERPETUAL.1","data":{{"tick":{tick},"open":1.0,"high":9.0,"low":1.0,"close":{close},"volume":2.0,"cost":20.0}}}}}}"#
    )
}

/// Which candle, its last price, and whether it is final.
fn candles(adapter: &mut Perp, frame: &str) -> Vec<(i64, String, bool)> {
    let mut out = Vec::new();
    adapter.parse(frame.as_bytes(), NOW, &mut out).unwrap();
    let seen = |message: Message| {
        let Body::Kline(Kline { open_time, close, closed, .. }) = message.event.body else {
            panic!("no candle")
        };
        (open_time.as_i64() / 60_000_000_000, close.to_string(), closed)
    };
    out.into_iter().map(seen).collect()
}

#[test]
fn a_candle_is_final_when_the_next_one_begins() {
    let mut adapter = Perp::new();
    let mut seen = |minute: i64, close: &str| candles(&mut adapter, &chart(minute * 60_000, close));
    let candle = |minute, close: &str, closed| (minute, close.to_owned(), closed);
    assert_eq!(seen(10, "2.0"), [candle(10, "2", false)]);
    assert_eq!(seen(10, "3.0"), [candle(10, "3", false)]);
    assert_eq!(seen(11, "4.0"), [candle(10, "3", true), candle(11, "4", false)]);
    // Late, for what is over.
    assert_eq!(seen(10, "3.5"), [candle(10, "3.5", true)]);
    assert_eq!(seen(12, "5.0"), [candle(11, "4", true), candle(12, "5", false)]);
    // A hole: nobody saw how the candle before it ended.
    assert_eq!(seen(14, "6.0"), [candle(14, "6", false)]);
}

#[test]
fn a_candle_that_ended_while_nobody_listened_is_not_called_final() {
    let mut adapter = Perp::new();
    candles(&mut adapter, &chart(600_000, "2.0"));
    let joined = r#"{"jsonrpc":"2.0","id":2,"result":["chart.trades.ABC-PERPETUAL.1"]}"#;
    assert_eq!(candles(&mut adapter, joined), []);
    assert_eq!(candles(&mut adapter, &chart(660_000, "3.0")).len(), 1);
    // What is joined beside it changes nothing.
    let joined = r#"{"jsonrpc":"2.0","id":3,"result":["chart.trades.ABC-PERPETUAL.5","book.ABC-PERPETUAL.100ms"]}"#;
    assert_eq!(candles(&mut adapter, joined), []);
    assert_eq!(candles(&mut adapter, &chart(720_000, "4.0")).len(), 2);
}
