//! Which files are worth merging: a pure rule.
//!
//! Neighbours of one day are merged if the largest of them is at most half of the result. So a
//! row is rewritten only into a file at least twice as large, and after a few times never again.

use crate::shelf::{Place, Span};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of the files merged at once: a few seconds of work. A file above half of it is left alone.
pub(crate) const BYTES_MAX: u64 = 32 << 20;
/// Files merged at once; each needs its share of memory.
const FILES_MAX: usize = 32;
/// Files merged at least while the day still gets some: fewer are not worth the rewriting.
const FILES_MIN: usize = 8;
/// Files merged at least once a later day has begun.
const FILES_MIN_OVER: usize = 2;

/// The files of the days, each with its size and in the order of segments.
pub(crate) type Days = BTreeMap<Place, Vec<(Span, u64)>>;

/// The day to compact next and which of its files: where it saves the most of them.
pub(crate) fn choose(days: &Days) -> Option<(Place, Range<usize>)> {
    let is_over = |place: &Place| {
        let later = Place { day: place.day + 1, ..*place }..=Place { day: i64::MAX, ..*place };
        days.range(later).next().is_some()
    };
    days.iter()
        .filter_map(|(place, files)| {
            let files_min = if is_over(place) { FILES_MIN_OVER } else { FILES_MIN };
            Some((*place, of_day(files, files_min)?))
        })
        .max_by_key(|(place, files)| (files.len(), std::cmp::Reverse(*place)))
}

/// The most neighbours that may be merged; of equally many the oldest.
fn of_day(files: &[(Span, u64)], files_min: usize) -> Option<Range<usize>> {
    let mut best: Option<Range<usize>> = None;
    for start in 0..files.len() {
        let (mut total, mut largest) = (0_u64, 0);
        for (end, (_, bytes)) in (start + 1..).zip(&files[start..]).take(FILES_MAX) {
            total = bytes.saturating_add(total);
            largest = largest.max(*bytes);
            if total > BYTES_MAX {
                break;
            }
            let longest = best.as_ref().map_or(0, Range::len);
            if end - start >= files_min && end - start > longest && largest <= total / 2 {
                best = Some(start..end);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Market, Venue};

    const MIB: u64 = 1 << 20;

    fn day(day: i64) -> Place {
        Place { venue: Venue::Binance, market: Market::Spot, day }
    }

    fn files(sizes: &[u64]) -> Vec<(Span, u64)> {
        (1..).map(Span::one).zip(sizes.iter().copied()).collect()
    }

    #[test]
    fn neighbours_are_merged_if_the_result_is_twice_the_largest() {
        for (sizes, files_min, expected) in [
            (&[1; 7][..], 8, None),
            (&[1; 8], 8, Some(0..8)),
            (&[1; 100], 8, Some(0..32)),
            // A large file between small ones parts them.
            (&[1, 1, 1, 40 * MIB, 1, 1, 1, 1], 2, Some(4..8)),
            (&[9 * MIB, MIB, MIB], 2, Some(1..3)),
            (&[2 * MIB, MIB, MIB], 2, Some(0..3)),
            // Never more than a few seconds of work.
            (&[15 * MIB, 15 * MIB, 15 * MIB], 2, Some(0..2)),
            (&[17 * MIB, 17 * MIB], 2, None),
            (&[0, 0], 2, Some(0..2)),
            (&[], 2, None),
        ] {
            assert_eq!(of_day(&files(sizes), files_min), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_day_that_is_over_is_tidied_up_and_the_most_files_go_first() {
        let mut days = Days::from([(day(1), files(&[1; 2])), (day(2), files(&[1; 7]))]);
        assert_eq!(choose(&days), Some((day(1), 0..2)));
        days.insert(day(3), files(&[1; 9]));
        assert_eq!(choose(&days), Some((day(3), 0..9)));
        days.insert(day(4), Vec::new());
        days.insert(day(3), files(&[1; 2]));
        assert_eq!(choose(&days), Some((day(2), 0..7)));
        // The last day of one market says nothing about another's.
        let other = Place { venue: Venue::Okx, ..day(9) };
        let days = Days::from([(day(1), files(&[1; 7])), (other, files(&[1]))]);
        assert_eq!(choose(&days), None);
    }

    #[test]
    fn compacting_ends_and_rewrites_each_byte_a_few_times_only() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for size in std::iter::repeat_n(100_000, 5_000) {
            sizes.push(size);
            while let Some(range) = of_day(&files(&sizes), FILES_MIN) {
                let merged: u64 = sizes[range.clone()].iter().sum();
                written += merged;
                sizes.splice(range, [merged]);
            }
        }
        assert!(sizes.len() < 40, "{} files", sizes.len());
        assert!(written < 5 * 5_000 * 100_000, "{written}");
        while let Some(range) = of_day(&files(&sizes), FILES_MIN_OVER) {
            let merged: u64 = sizes[range.clone()].iter().sum();
            sizes.splice(range, [merged]);
        }
        assert!(sizes.len() <= 25, "{sizes:?}");
    }
}
