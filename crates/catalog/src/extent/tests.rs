use super::*;

/// Trades by id and count, in the order in which they arrived; those that are kept, by id.
fn kept(arrived: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut order: Vec<usize> = (0..arrived.len()).collect();
    order.sort_by_key(|at| arrived[*at].0);
    let extent = |at: &usize| Extent::counted(arrived[*at].0, Some(arrived[*at].1));
    let extents: Vec<Extent> = order.iter().map(extent).collect();
    let mut stored = vec![false; extents.len()];
    mark_overlaps(&extents, &order, &mut stored);
    order.iter().zip(stored).filter(|(_, stored)| !stored).map(|(at, _)| arrived[*at]).collect()
}

#[test]
fn a_trade_stands_for_as_many_ids_as_it_counts() {
    assert_eq!(Extent::counted(8, Some(3)).ids(), (6, 8));
    assert_eq!(Extent::counted(8, Some(3)).count(), 3);
    assert!(Extent::counted(8, Some(3)).is_wide());
    for count in [None, Some(0), Some(1)] {
        let single = Extent::counted(8, count);
        assert_eq!((single.ids(), single.count(), single.is_wide()), ((8, 8), 1, false));
    }
    assert_eq!(Extent::counted(2, Some(9)).ids(), (0, 2), "no id lies below the first there is");
}

#[test]
fn of_rows_that_overlap_the_first_to_arrive_stays() {
    assert_eq!(kept(&[(5, 1), (8, 3), (9, 1)]), [(5, 1), (8, 3), (9, 1)]);
    assert_eq!(kept(&[(8, 3), (6, 1), (7, 1), (8, 1)]), [(8, 3)]);
    assert_eq!(kept(&[(6, 1), (7, 1), (8, 3)]), [(6, 1), (7, 1)]);
    // What was dropped keeps nothing else out.
    assert_eq!(kept(&[(7, 1), (8, 3), (6, 1), (8, 1)]), [(6, 1), (7, 1), (8, 1)]);
    assert_eq!(kept(&[(9, 4), (12, 4), (10, 1)]), [(9, 4), (10, 1)]);
}

#[test]
fn what_is_stored_keeps_nothing_out_here() {
    let extents = [Extent::counted(7, None), Extent::counted(8, Some(3))];
    let mut stored = [true, false];
    mark_overlaps(&extents, &[0, 1], &mut stored);
    assert_eq!(stored, [true, false], "the store itself has said so");
}
