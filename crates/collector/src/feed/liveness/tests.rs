//! Ring 1: who speaks how long, as a script.
//!
//! `book+trade 10s`: these two bring something each second, and the others do not; `- 10s`: nobody
//! does. It says who is joined again, and after how many seconds since the beginning.

use super::*;
use expect_test::{Expect, expect};
use model::{InstrumentId, Market, Symbol, Venue};
use std::sync::Arc;

/// A stream for each of some kinds.
const KINDS: [Kind; 4] = [Kind::Book, Kind::Trade, Kind::Mark, Kind::Liquidation];

fn cargo(kind: Kind, shared: bool) -> Cargo {
    let instrument = InstrumentId {
        venue: Venue::Okx,
        market: Market::Perp,
        symbol: Symbol::new("A-B").unwrap(),
        name: Arc::from("A-B-SWAP"),
    };
    Cargo { instrument: Arc::new(instrument), kinds: vec![kind], shared }
}

const fn at(seconds: i64) -> UnixNanos {
    UnixNanos::new((1_000 + seconds) * 1_000_000_000)
}

fn check(kinds: &[Kind], script: &str, expected: Expect) {
    let (mut liveness, mut heard) = (Liveness::default(), BTreeMap::new());
    let streams: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    liveness.follow(&streams, at(0));
    let (mut second, mut said) = (0, Vec::new());
    for step in script.split(" | ") {
        let (who, seconds) = step.split_once(' ').unwrap();
        for _ in 0..seconds.strip_suffix('s').unwrap().parse::<u32>().unwrap() {
            second += 1;
            for kind in KINDS.iter().filter(|kind| who.split('+').any(|it| it == kind.as_str())) {
                heard.insert(*kind, at(second));
            }
            assert!(liveness.is_due(at(second)));
            let sign = |stream: &String| {
                let cargo = cargo(stream.parse().unwrap(), false);
                Sign::of(&cargo, |kind| heard.get(&kind).copied())
            };
            let silent = liveness.judge(sign, at(second));
            said.extend(silent.iter().map(|(stream, is_implied)| {
                let missed = if *is_implied { " (missed)" } else { "" };
                format!("{stream} after {second}{missed}")
            }));
        }
    }
    said.extend(liveness.silent().map(|stream| format!("{stream} is silent")));
    expected.assert_eq(&said.join(", "));
}

#[test]
fn a_stream_that_was_never_served_is_joined_again_ever_more_slowly() {
    check(
        &KINDS,
        "trade+mark 700s",
        expect!["book after 120 (missed), book after 360 (missed), book is silent"],
    );
    check(&KINDS, "book+mark 950s", expect!["trade after 900"]);
}

#[test]
fn a_book_that_stands_still_while_its_instrument_trades_is_silent_until_it_speaks() {
    check(
        &KINDS,
        "book+trade+mark 10s | trade+mark 130s",
        expect!["book after 130 (missed), book is silent"],
    );
    check(
        &KINDS,
        "book+trade+mark 10s | trade+mark 130s | book+mark 5s",
        expect!["book after 130 (missed)"],
    );
}

#[test]
fn a_quiet_instrument_is_none_that_is_silent() {
    check(&KINDS, "book+trade+mark 10s | book+mark 5000s", expect![""]);
    check(&KINDS, "book+trade+mark 10s | mark 5000s", expect![""]);
    // A trade or two need not have touched the book.
    check(&KINDS, "book+trade+mark 10s | trade+mark 2s | mark 500s", expect![""]);
}

#[test]
fn what_comes_by_the_clock_is_missed() {
    check(
        &KINDS,
        "book+trade+mark 10s | book+trade 130s",
        expect!["mark after 130, mark is silent"],
    );
}

#[test]
fn what_is_rare_and_what_several_share_is_not_judged() {
    check(&[Kind::Liquidation], "- 9000s", expect![""]);
    assert_eq!(Sign::of(&cargo(Kind::Book, true), |_| None), None);
    assert!(Sign::of(&cargo(Kind::Book, false), |_| None).is_some());
}

#[test]
fn a_new_connection_and_a_new_stream_begin_with_their_patience() {
    let (mut liveness, streams) = (Liveness::default(), ["book".to_owned(), "mark".to_owned()]);
    let sign = |_: &String| Sign::of(&cargo(Kind::Book, false), |_| None);
    liveness.follow(&streams[..1], at(0));
    liveness.follow(&streams, at(100));
    let found = |name: &str| (name.to_owned(), false);
    assert_eq!(liveness.judge(sign, at(130)), [found("book")]);
    assert_eq!(liveness.judge(sign, at(230)), [found("mark")]);
    liveness.begin(at(240), at(240));
    assert_eq!(liveness.silent().count(), 0);
    assert_eq!(liveness.judge(sign, at(359)), []);
    assert_eq!(liveness.judge(sign, at(360)), [found("book"), found("mark")]);
    liveness.follow(&streams[1..], at(361));
    assert_eq!(liveness.silent().collect::<Vec<_>>(), ["mark"]);
}
