//! Trades that stand for several ids, in segments, in Parquet and after a restart.

use super::*;
use catalog::{ALL_DAYS, Extent, Filter};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A cut of one block; of each trade its id and for how many it stands.
fn counted(block: u64, trades: &[(u64, u64)]) -> Cut {
    let mut cut = Cut::new(Kind::Trade);
    cut.block(block, format!("collector/1/trade.okx.spot/{block}"));
    for (seq, count) in trades {
        let mut event = event("BTC-USDT", *seq);
        if let Body::Trade(trade) = &mut event.body {
            trade.count = Some(*count);
        }
        cut.push(&event, &json(&event)).unwrap();
    }
    cut
}

fn stored(table: &mut Table, block: u64, trades: &[(u64, u64)]) -> usize {
    table.append(&counted(block, trades)).unwrap().stored
}

/// Rows, ids, the first and the last of them, and the holes.
type Covered = (u64, u64, (u64, u64), Vec<(u64, u64)>);

fn covered(table: &Table) -> Covered {
    let reader = table.reader();
    let coverage = reader.coverage(&Filter::default(), &ALL_DAYS);
    let holes = reader.ranges(&coverage[0].stream, &(0..=u64::MAX)).unwrap().holes().ranges;
    let total = coverage[0].total;
    (total.rows, total.ids, (total.first_id, total.last.major), holes)
}

#[test]
fn a_trade_for_several_ids_leaves_no_hole_and_keeps_its_fills_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    assert_eq!(stored(&mut table, 1, &[(4, 2), (5, 1), (8, 3), (9, 1)]), 4);
    for state in ["appended", "recovered", "rolled", "opened"] {
        assert_eq!(covered(&table), (4, 7, (3, 9), vec![]), "{state}");
        let fills: Vec<(u64, u64)> = (3..=9).map(|seq| (seq, 1)).collect();
        assert_eq!(stored(&mut table, 2, &fills), 0, "{state}");
        assert_eq!(stored(&mut table, 3, &[(6, 2), (10, 3)]), 0, "{state}");
        if state == "recovered" {
            table.roll_all().unwrap();
        } else {
            drop(table);
            table = open(dir.path());
        }
    }
    assert_eq!(stored(&mut table, 4, &[(2, 1), (10, 1)]), 2);
    assert_eq!(covered(&table), (6, 9, (2, 10), vec![]));
}

#[test]
fn fills_keep_a_trade_for_several_ids_out_and_what_it_has_alone_is_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    assert_eq!(stored(&mut table, 1, &[(6, 1), (7, 1), (10, 1), (11, 1), (12, 1)]), 5);
    for roll in [false, true] {
        if roll {
            table.roll_all().unwrap();
        }
        assert_eq!(stored(&mut table, 2, &[(8, 3), (12, 3)]), 0);
    }
    assert_eq!(covered(&table).3, [(8, 9)]);
    assert_eq!(stored(&mut table, 3, &[(9, 2)]), 1);
    assert_eq!(covered(&table), (6, 7, (6, 12), vec![]));
}

#[test]
fn a_zone_that_is_whole_by_its_counts_is_told_without_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    stored(&mut table, 1, &[(4, 2), (8, 4), (9, 1)]);
    table.roll_all().unwrap();
    let zone = table.shelf.stream(0).unwrap().zones[0].zone;
    assert_eq!((zone.dense, zone.ids, zone.is_whole()), (false, Some((3, 7)), true));
    stored(&mut table, 2, &[(20, 2), (23, 2)]);
    table.roll_all().unwrap();
    let zone = table.shelf.stream(0).unwrap().zones[1].zone;
    assert_eq!((zone.ids, zone.is_whole()), (Some((19, 4)), false));
    assert_eq!(crate::verify(dir.path(), &[Kind::Trade], &mut |_| {}).unwrap().findings, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However trades come: no id is in two rows, and a row is left out only for one that is there.
    #[test]
    fn no_id_is_stored_twice_and_none_is_left_out_without_need(
        cuts in vec((vec((1..60_u64, 1..6_u64), 1..20), 0..3_u8), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = open(dir.path());
        // By first id, in the order in which they came.
        let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
        for (block, (trades, then)) in (1..).zip(cuts) {
            let mut expected = 0;
            for (seq, count) in &trades {
                let (first, last) = Extent::counted(*seq, Some(*count)).ids();
                let below = kept.range(..=last).next_back();
                if below.is_none_or(|(_, end)| *end < first) {
                    kept.insert(first, last);
                    expected += 1;
                }
            }
            prop_assert_eq!(stored(&mut table, block, &trades), expected);
            match then {
                0 => {}
                1 => table.roll_all().unwrap(),
                _ => {
                    drop(table);
                    table = open(dir.path());
                }
            }
        }
        let lasts: Vec<u64> = kept.values().copied().collect();
        prop_assert_eq!(seqs(&table, "BTC-USDT"), lasts);
        let ids: u64 = kept.iter().map(|(first, last)| last - first + 1).sum();
        prop_assert_eq!(covered(&table).1, ids);
    }
}
