//! Ring 1: invented recordings, and what every program is given of them.

use super::{Frames, select};
use crate::case;

fn picked(name: &str, recording: &[&str]) -> Frames {
    let text: String = recording.iter().flat_map(|line| [*line, "\n"]).collect();
    select(case::find(name).unwrap(), text.as_bytes()).unwrap()
}

#[test]
fn a_snapshot_becomes_a_frame_and_updates_that_it_covers_are_left_out() {
    let frames = picked(
        "binance-perp-depth",
        &[
            r#"1000000000	ws	{"stream":"abcxyz@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"ABCXYZ","U":1,"u":4,"pu":0,"b":[],"a":[]}}"#,
            r#"1000000000	ws	{"stream":"abcxyz@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"ABCXYZ","U":5,"u":9,"pu":4,"b":[],"a":[]}}"#,
            r#"2000000000	GET /fapi/v1/depth?symbol=ABCXYZ&limit=1000	{"lastUpdateId":7,"bids":[["25.1","3"]],"asks":[["25.2","1"]]}"#,
            r#"2000000000	ws	{"stream":"abcxyz@bookTicker","data":{"e":"bookTicker","u":8}}"#,
        ],
    );
    let first = r#"{"stream":"abcxyz@depth@100ms","data":{"e":"depthUpdate","E":2000,"T":2000,"s":"ABCXYZ","U":7,"u":7,"pu":6,"b":[["25.1","3"]],"a":[["25.2","1"]]}}"#;
    assert_eq!(frames.first, [first]);
    assert_eq!(frames.measured.len(), 1);
    assert!(frames.measured[0].contains(r#""u":9"#), "{}", frames.measured[0]);
}

#[test]
fn a_snapshot_is_filled_with_levels_far_from_the_market() {
    let snapshot = r#"1	GET /api/v3/depth?symbol=ABCXYZ&limit=5000	{"lastUpdateId":7,"bids":[["250.17","3"]],"asks":[["250.18","1"],["300","2"]]}"#;
    let frames = picked("binance-depth-26k", &[snapshot]);
    let (_, sides) = frames.first[0].split_once(r#""b":"#).unwrap();
    let bids = r#"[["250.17","3"],["247.30000000","1.00000000"],["247.10000000","1.00000000"],"#;
    assert!(sides.starts_with(bids), "{}", &sides[..200]);
    let asks = r#""a":[["250.18","1"],["300","2"],["252.70000000","1.00000000"],"#;
    assert!(sides.contains(asks), "{sides}");
    assert_eq!(sides.matches("],[").count(), 2 * (13_000 - 1), "26,000 levels");
}

#[test]
fn an_old_frame_of_okx_gets_the_ids_that_it_would_have_today() {
    let frames = picked(
        "okx-books",
        &[
            r#"1	ws	{"event":"subscribe","arg":{"channel":"books-l2-tbt","instId":"ABC-XYZ"}}"#,
            r#"1	ws	{"arg":{"channel":"books-l2-tbt","instId":"ABC-XYZ"},"action":"snapshot","data":[{"asks":[],"bids":[["1","2","0","1"]],"ts":"1","checksum":-5}]}"#,
            r#"2	ws	{"arg":{"channel":"books-l2-tbt","instId":"ABC-XYZ"},"action":"update","data":[{"asks":[],"bids":[["1","3","0","1"]],"ts":"2","checksum":6}]}"#,
            r#"3	ws	{"arg":{"channel":"books-l2-tbt","instId":"ABC-XYZ"},"action":"snapshot","data":[{"asks":[],"bids":[["1","3","0","1"]],"ts":"3","checksum":6}]}"#,
            r#"4	ws	{"arg":{"channel":"books-l2-tbt","instId":"NEW-XYZ"},"action":"update","data":[{"asks":[],"bids":[],"ts":"4","checksum":0}]}"#,
        ],
    );
    let first = r#"{"arg":{"channel":"books","instId":"ABC-XYZ"},"action":"snapshot","data":[{"asks":[],"bids":[["1","2","0","1"]],"ts":"1","checksum":-5,"seqId":1,"prevSeqId":-1}]}"#;
    let update = r#"{"arg":{"channel":"books","instId":"ABC-XYZ"},"action":"update","data":[{"asks":[],"bids":[["1","3","0","1"]],"ts":"2","checksum":6,"seqId":2,"prevSeqId":1}]}"#;
    assert_eq!(frames.first, [first]);
    assert_eq!(frames.measured, [update]);
}

#[test]
fn an_old_trade_of_okx_gets_the_count_that_it_would_have_today() {
    let frames = picked(
        "okx-trades",
        &[
            r#"1	ws	{"arg":{"channel":"trades","instId":"ABC-XYZ"},"data":[{"tradeId":"1","ts":"5"},{"tradeId":"2","ts":"5"}]}"#,
            r#"2	ws	{"arg":{"channel":"trades","instId":"ABC-XYZ"},"data":[{"tradeId":"5","count":"3","ts":"6"}]}"#,
        ],
    );
    let old = r#"{"arg":{"channel":"trades","instId":"ABC-XYZ"},"data":[{"tradeId":"1","ts":"5","count":"1"},{"tradeId":"2","ts":"5","count":"1"}]}"#;
    let new = r#"{"arg":{"channel":"trades","instId":"ABC-XYZ"},"data":[{"tradeId":"5","count":"3","ts":"6"}]}"#;
    assert_eq!(frames.measured, [old, new]);
}

#[test]
fn a_book_that_begins_in_its_stream_is_begun_before_the_time_counts() {
    let frames = picked(
        "deribit-book",
        &[
            r#"1	ws	{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.ABC-1JAN27-1-C.raw","data":{"type":"snapshot","change_id":1}}}"#,
            r#"2	ws	{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.ABC-1JAN27-1-C.raw","data":{"type":"change","change_id":2,"prev_change_id":1}}}"#,
            r#"3	ws	{"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.ABC-1JAN27-1-C.raw","data":{}}}"#,
        ],
    );
    assert_eq!((frames.first.len(), frames.measured.len()), (1, 1));
    assert!(frames.measured[0].contains(r#""prev_change_id":1"#), "{}", frames.measured[0]);
}

#[test]
fn trades_are_taken_as_they_are() {
    let trade = r#"{"stream":"abcxyz@trade","data":{"e":"trade","E":1}}"#;
    let frames = picked(
        "binance-trade",
        &[&format!("1\tws\t{trade}"), "1\tsent\t{\"e\":\"trade\"}", "1\tconnect wss://x\t"],
    );
    assert_eq!(frames, Frames { first: Vec::new(), measured: vec![trade.to_owned()] });
}
