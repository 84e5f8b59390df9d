//! Ring 1: invented frames.

use super::{begin, decode, follow, in_step, levels};
use venue::Message;

fn okx(frames: &[&str]) -> Vec<Message> {
    let frames: Vec<String> = frames.iter().map(|frame| (*frame).to_owned()).collect();
    decode(&mut venue_okx::Spot::new(), &frames).unwrap()
}

fn update(id: u64, before: u64) -> String {
    format!(
        r#"{{"arg":{{"channel":"books","instId":"ABC-XYZ"}},"action":"update","data":[{{"asks":[["25.3","1","0","1"]],"bids":[],"ts":"2","checksum":0,"seqId":{id},"prevSeqId":{before}}}]}}"#
    )
}

const SNAPSHOT: &str = r#"{"arg":{"channel":"books","instId":"ABC-XYZ"},"action":"snapshot","data":[{"asks":[["25.2","3","0","1"]],"bids":[["25.1","7.5","0","2"]],"ts":"1","checksum":0,"seqId":1,"prevSeqId":-1}]}"#;

#[test]
fn a_chain_of_updates_keeps_its_book_in_step() {
    let mut books = follow(&okx(&[SNAPSHOT]));
    let updates = okx(&[&update(2, 1), &update(3, 2)]);
    in_step(&mut books, &updates).unwrap();
    assert_eq!(books[0].last_id(), 3);
    assert_eq!(updates.iter().map(levels).sum::<u64>(), 2);
}

#[test]
fn a_missing_update_is_no_measurement() {
    let mut books = follow(&okx(&[SNAPSHOT]));
    let error = in_step(&mut books, &okx(&[&update(3, 2)])).unwrap_err().to_string();
    assert!(error.contains("updates are missing"), "{error}");
}

#[test]
fn a_frame_that_is_refused_is_no_measurement() {
    let frames = ["{\"event\":\"subscribe\"}".to_owned()];
    assert!(decode(&mut venue_okx::Spot::new(), &frames).is_err());
}

#[test]
fn binances_snapshot_begins_a_book_that_updates_follow() {
    let depth = |first: u64, last: u64| {
        format!(
            r#"{{"stream":"abcxyz@depth@100ms","data":{{"e":"depthUpdate","E":1700000000500,"s":"ABCXYZ","U":{first},"u":{last},"b":[["25.1","2"]],"a":[["25.2","1"]]}}}}"#
        )
    };
    let mut adapter = venue_binance::Spot::new();
    let mut first = decode(&mut adapter, &[depth(7, 7)]).unwrap();
    first.iter_mut().for_each(begin);
    let updates = decode(&mut adapter, &[depth(6, 9), depth(10, 10)]).unwrap();
    let mut books = follow(&first);
    in_step(&mut books, &updates).unwrap();
    assert_eq!(books[0].last_id(), 10);
}
