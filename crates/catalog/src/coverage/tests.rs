use super::*;

fn holes(known: &[(u64, u64)]) -> Vec<(u64, u64)> {
    Ranges { known: known.to_vec(), through: None }.holes().ranges
}

#[test]
fn holes_are_what_no_range_covers() {
    assert_eq!(holes(&[(10, 12), (1, 3), (4, 4), (11, 20), (25, 25)]), [(5, 9), (21, 24)]);
    assert_eq!(holes(&[]), []);
    assert_eq!(holes(&[(0, u64::MAX), (3, 4)]), []);
}

#[test]
fn two_stores_fill_one_anothers_holes() {
    let mut here = Ranges::default();
    [(1, 1), (2, 2), (3, 3), (7, 7), (8, 8)].into_iter().for_each(|ids| here.push(ids));
    assert_eq!(here.known, [(1, 3), (7, 8)]);
    let there = Ranges { known: vec![(4, 5), (12, 12)], through: None };
    assert_eq!(here.clone().and(there).holes().ranges, [(6, 6), (9, 11)]);
    // Behind 8 nothing is known of this one, so nothing is said about what is missing there.
    let there = Ranges { known: vec![(4, 5), (12, 12)], through: Some(8) };
    let both = here.and(there).holes();
    assert_eq!((both.ranges, both.truncated), (vec![(6, 6)], true));
}

#[test]
fn more_holes_than_fit_are_said_so() {
    let known = (0..=HOLES_MAX as u64 + 1).map(|n| (2 * n, 2 * n)).collect();
    let holes = Ranges { known, through: None }.holes();
    assert_eq!((holes.ranges.len(), holes.truncated), (HOLES_MAX, true));
}

#[test]
fn days_add_up() {
    let day = |rows, ids: (u64, u64), times: (i64, i64)| Day {
        rows,
        ids: rows,
        first_id: ids.0,
        first: Identity { major: ids.0, minor: 0 },
        last: Identity { major: ids.1, minor: 0 },
        time_first: UnixNanos::new(times.0),
        time_last: UnixNanos::new(times.1),
    };
    let stream: StreamKey = "binance/spot/BTC-USDT".parse().unwrap();
    let days = BTreeMap::from([(1, day(5, (1, 9), (10, 20))), (2, day(6, (8, 30), (15, 40)))]);
    let coverage = Coverage::of(stream.clone(), days).unwrap();
    assert_eq!(coverage.total, day(11, (1, 30), (10, 40)));
    assert_eq!(Coverage::of(stream, BTreeMap::new()), None);
}
