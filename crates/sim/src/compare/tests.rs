//! Ring 1: ledgers of a few lines, and what came back of them.

use super::*;

fn tally(sent: &[u64], rows: &[u64]) -> Tally {
    let sent = sent.iter().map(|id| Sent { id: *id, content: 0, time: 0 });
    let mut tally = Tally::new(sent.collect());
    rows.iter().for_each(|id| tally.take(*id, 0));
    tally
}

fn check(sent: &[u64], rows: &[u64], gaps: &[GapRow]) -> Report {
    trades(&tally(sent, rows), gaps)
}

fn gap(after: u64, before: u64) -> GapRow {
    GapRow {
        gap_id: format!("{after}-{before}"),
        version: 1,
        of: "trade".to_owned(),
        instrument: "BTCUSDT".to_owned(),
        after_id: Some(after),
        before_id: Some(before),
        cause: "disconnect".to_owned(),
        state: "open".to_owned(),
    }
}

#[test]
fn what_came_back_once_and_unchanged_agrees() {
    assert!(check(&[1, 2], &[1, 2], &[]).agrees());
}

#[test]
fn each_kind_of_difference_is_named() {
    assert_eq!(check(&[1, 2, 3], &[1, 3], &[]).missing, [2]);
    assert_eq!(check(&[1], &[1, 1], &[]).doubled, [1]);
    assert_eq!(check(&[1], &[1, 9], &[]).unknown, [9]);
    let mut tally = tally(&[1], &[]);
    tally.take(1, content("1.4", "2", "buy", 7));
    assert_eq!(trades(&tally, &[]).changed, [1]);
}

#[test]
fn whatever_a_trade_consists_of_is_in_its_digest() {
    let digest = content("1.5", "2", "buy", 7);
    assert_eq!(content("1.5", "2", "buy", 7), digest);
    for other in [
        content("1.4", "2", "buy", 7),
        content("1.5", "3", "buy", 7),
        content("1.5", "2", "sell", 7),
        content("1.5", "2", "buy", 8),
        content("1.52", "", "buy", 7),
    ] {
        assert_ne!(other, digest);
    }
}

#[test]
fn a_gap_record_explains_its_open_interval_only() {
    let report = check(&[1, 2, 3, 4], &[1, 4], &[gap(1, 3)]);
    assert_eq!((report.in_gaps, report.missing), (1, vec![3]));
}

#[test]
fn many_gap_records_explain_together() {
    let gaps = [gap(5, 9), gap(0, 3), gap(6, 8), gap(3, 5), gap(20, 22)];
    let sent: Vec<u64> = (0..25).collect();
    let report = check(&sent, &[], &gaps);
    assert_eq!(
        report.missing,
        [0, 3, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24]
    );
}

#[test]
fn a_gap_that_was_healed_explains_nothing_whatever_its_first_version_said() {
    let healed = GapRow { version: 2, state: "healed".to_owned(), ..gap(1, 3) };
    let report = check(&[1, 2, 3], &[1, 3], &[healed, gap(1, 3)]);
    assert_eq!((report.in_gaps, report.missing), (0, vec![2]));
}

#[test]
fn a_value_of_an_index_comes_back_unchanged_and_is_missing_only_after_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let mut ledger = ledger::Ledger::create(Some(&path)).unwrap();
    let market = "deribit/index".parse::<dialect::MarketId>().unwrap();
    for (figure, value, time_ms) in
        [(VOLATILITY_INDEX, "54.75", 1), (VOLATILITY_INDEX, "54.8", 2), ("mark_iv", "7", 3)]
    {
        let entry = crate::frame::figure_entry(&market, "btc_usd", figure, value, time_ms);
        ledger.write(&entry).unwrap();
    }
    ledger.flush().unwrap();
    let mut streams = Streams::read(&path).unwrap();
    let tally = streams.values.get_mut("btc_usd").unwrap();
    let take = |tally: &mut Tally, value: &str, time: i64| {
        let Sent { id, content, .. } = value_sent(value, time);
        tally.take(id, content);
    };
    take(tally, "54.75", 1_000_000);
    assert_eq!(values(tally, 0).missing, [2_000_000]);
    let after_a_fault = values(tally, 1);
    assert!(after_a_fault.agrees(), "{after_a_fault}");
    assert_eq!(after_a_fault.in_gaps, 1);
    take(tally, "54.9", 2_000_000);
    assert_eq!(values(tally, 1).changed, [2_000_000], "a fault changes no value");
    assert_eq!(values(tally, 1).sent, 2, "no other figure is compared");
}

#[test]
fn diffs_before_the_first_snapshot_are_covered_by_it() {
    let report = books(&tally(&[3, 5, 7, 9], &[7]), &[5].into(), &[]);
    assert_eq!((report.in_gaps, report.in_snapshots), (0, 2));
    assert_eq!(
        report.to_string(),
        "sent 4, returned 1, in gap records 0, in snapshots 2, missing 1 (9), doubled 0, never sent 0, changed 0"
    );
}
