use super::*;

#[test]
fn rows_alike_leave_no_doubt_and_others_as_much_as_they_scatter() {
    assert_eq!(extrapolate(&[(10, 1_000), (20, 2_000), (5, 500)], 1_000_000), (100_000_000, 0));
    // 100 bytes a row, give or take 10 in a slice: a standard error of 10 / √(4 − 1).
    let slices = [(10, 900), (10, 1_100), (10, 900), (10, 1_100)];
    let (bytes, margin) = extrapolate(&slices, 30_000);
    assert_eq!(bytes, 3_000_000);
    assert!((346_000..=346_500).contains(&margin), "{margin}");
    // Nothing is known of what a single slice does not have.
    assert_eq!(extrapolate(&[(10, 1_000)], 100), (10_000, 10_000));
    assert_eq!(extrapolate(&[], 100), (0, 0));
    let large = [(10_000, 32 << 20), (27, 32 << 20), (10_000, 1)];
    let (bytes, margin) = extrapolate(&large, 1 << 40);
    assert!(bytes > 1 << 50 && margin > bytes, "{bytes} {margin}");
}

#[test]
fn slices_are_the_whole_range_once_whatever_the_order() {
    for (first, last) in [(0, 999), (-5, 4), (7, 7), (i64::MIN, i64::MAX - 1)] {
        let [first, last] = [first, last].map(UnixNanos::new);
        let all = Tally { rows: 1, first, last };
        let mut places: Vec<u64> = (0..PAGES_MAX).map(|place| place * STRIDE % PAGES_MAX).collect();
        places.sort_unstable();
        let slices: Vec<[UnixNanos; 2]> =
            places.into_iter().map(|place| bounds(&all, place)).collect();
        assert_eq!(slices[0][0], first);
        assert_eq!(slices[slices.len() - 1][1].as_i64(), last.as_i64() + 1);
        assert!(slices.windows(2).all(|pair| pair[0][1] == pair[1][0]), "{slices:?}");
    }
}
