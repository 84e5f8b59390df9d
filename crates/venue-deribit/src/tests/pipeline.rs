//! What the collector's pipeline makes of a session.

use super::*;
use expect_test::{Expect, expect};
use feed::{Command, Options, Output, Pipeline};
use model::{Book, BookType, Event, Trade};

/// Hands frames to a pipeline, a second apart, and tells what came of them.
fn check(frames: &[String], expected: &Expect) {
    let mut pipeline = Pipeline::new(Perp::new(), Options::default());
    let (mut text, mut out) = (Vec::new(), Vec::new());
    for (frame, second) in frames.iter().zip(1..) {
        let now = UnixNanos::new(second * 1_000_000_000);
        pipeline.handle_timeout(now, &mut out);
        pipeline.handle_frame(now, frame.as_bytes(), &mut out).unwrap();
        text.extend(out.drain(..).map(|Output { event, .. }| describe(&event)));
        while let Some(command) = pipeline.next_command() {
            let Command::Rejoin { instrument, streams } = command else { panic!("{command:?}") };
            text.push(format!("rejoin {instrument}: {}", streams.join(" ")));
        }
    }
    expected.assert_eq(&text.join("\n"));
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not expected here")]
fn describe(event: &Event) -> String {
    match &event.body {
        Body::Book(Book { book_type: BookType::Snapshot, last_id, .. }) => {
            format!("snapshot {last_id}")
        }
        Body::Book(Book { last_id, .. }) => format!("change {last_id}"),
        Body::Trade(Trade { seq, .. }) => format!("trade {seq}"),
        Body::Gap(gap) => {
            let id = |id: Option<u64>| id.map(|id| id.to_string()).unwrap_or_default();
            let (after, before) = (id(gap.after_id), id(gap.before_id));
            format!("gap of {} {after}..{before} {}", gap.of, gap.state)
        }
        other => format!("{other:?}"),
    }
}

fn book(update: &str, id: u64, prev: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.ABC-PERPETUAL.100ms","data":{{"timestamp":{id},"type":"{update}","change_id":{id},"instrument_name":"ABC-PERPETUAL","bids":[["new",1.0,{id}]],"asks":[],"prev_change_id":{prev}}}}}}}"#
    )
}

fn trade(seq: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"trades.ABC-PERPETUAL.100ms","data":[{{"timestamp":{seq},"price":1.0,"amount":1.0,"direction":"buy","instrument_name":"ABC-PERPETUAL","trade_seq":{seq},"trade_id":"{seq}"}}]}}}}"#
    )
}

#[test]
fn a_book_that_breaks_is_joined_again_and_healed_by_its_snapshot() {
    let frames = [
        book("snapshot", 10, "null"),
        book("change", 14, "10"),
        book("change", 14, "10"),
        book("change", 30, "22"),
        book("change", 31, "30"),
        book("snapshot", 40, "null"),
        book("change", 49, "40"),
    ];
    check(
        &frames,
        &expect![[r#"
            snapshot 10
            change 14
            gap of book 14..30 open
            rejoin deribit/perp/ABC-PERPETUAL: book.ABC-PERPETUAL.100ms
            snapshot 40
            gap of book 14..40 healed
            change 49"#]],
    );
}

#[test]
fn a_change_before_any_snapshot_is_no_book() {
    let frames = [book("change", 14, "10"), book("snapshot", 20, "null")];
    check(
        &frames,
        &expect![[r#"
            rejoin deribit/perp/ABC-PERPETUAL: book.ABC-PERPETUAL.100ms
            snapshot 20"#]],
    );
}

#[test]
fn trades_are_numbered_without_holes() {
    let frames = [trade(7), trade(8), trade(8), trade(11), trade(12), trade(13)];
    check(
        &frames,
        &expect![[r#"
            trade 7
            trade 8
            trade 11
            gap of trade 8..11 open
            trade 12
            trade 13"#]],
    );
}
