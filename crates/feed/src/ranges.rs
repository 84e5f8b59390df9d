//! Sets of ids that come in runs.

/// Ids as inclusive ranges, ascending and apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdRanges(Vec<(u64, u64)>);

impl IdRanges {
    /// No ids.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The ids from `first` to `last`; none if `last` is below `first`.
    #[must_use]
    pub fn of(first: u64, last: u64) -> Self {
        let mut ids = Self::new();
        ids.insert((first, last));
        ids
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The lowest and the highest id.
    #[must_use]
    pub fn hull(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// How many ids there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| {
            let length = (last - first).saturating_add(1);
            u64::saturating_add(sum, length)
        })
    }

    /// Whether an id is among them.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.overlaps((id, id))
    }

    /// Whether any id of a range is among them.
    #[must_use]
    pub fn overlaps(&self, (first, last): (u64, u64)) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < first);
        self.0.get(at).is_some_and(|(start, _)| *start <= last)
    }

    /// Whether every id of a range is among them.
    #[must_use]
    pub fn covers(&self, (first, last): (u64, u64)) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < first);
        first <= last && self.0.get(at).is_some_and(|(start, end)| *start <= first && last <= *end)
    }

    /// Adds a range.
    pub fn insert(&mut self, (mut first, mut last): (u64, u64)) {
        if last < first {
            return;
        }
        // What overlaps the new range or touches it becomes one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        if let Some((start, _)) = self.0.get(from).filter(|_| from < to) {
            first = first.min(*start);
            last = last.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [(first, last)]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, (first, last): (u64, u64)) {
        let from = self.0.partition_point(|(_, end)| *end < first);
        let to = self.0.partition_point(|(start, _)| *start <= last);
        if from >= to || last < first {
            return;
        }
        let left = (self.0[from].0, first.saturating_sub(1));
        let right = (last.saturating_add(1), self.0[to - 1].1);
        let left = (left.0 < first).then_some(left);
        let right = (right.1 > last).then_some(right);
        self.0.splice(from..to, left.into_iter().chain(right));
    }

    /// Makes the two lowest ranges one until there are no more than `max`.
    pub fn limit(&mut self, max: usize) {
        while self.0.len() > max.max(1) {
            let (_, end) = self.0.remove(1);
            self.0[0].1 = end;
        }
    }
}

impl FromIterator<(u64, u64)> for IdRanges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut ids = Self::new();
        ranges.into_iter().for_each(|range| ids.insert(range));
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_two_lowest_ranges_become_one_when_there_are_too_many() {
        let mut ids: IdRanges = [(1, 2), (5, 5), (9, 9)].into_iter().collect();
        ids.limit(2);
        assert_eq!(ids.iter().collect::<Vec<_>>(), [(1, 5), (9, 9)]);
        assert_eq!((ids.hull(), ids.count()), (Some((1, 9)), 6));
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_exception() {
        let mut ids = IdRanges::of(0, u64::MAX);
        ids.remove((0, 0));
        ids.remove((u64::MAX, u64::MAX));
        assert_eq!(ids.hull(), Some((1, u64::MAX - 1)));
        assert!(IdRanges::of(5, 4).is_empty());
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_ids(
            steps in vec((any::<bool>(), 0..50_u64, 0..8_u64), 0..40)
        ) {
            let (mut ids, mut set) = (IdRanges::new(), BTreeSet::new());
            for (add, first, length) in steps {
                let last = first + length;
                if add {
                    ids.insert((first, last));
                    set.extend(first..=last);
                } else {
                    ids.remove((first, last));
                    set.retain(|id| !(first..=last).contains(id));
                }
            }
            let listed: BTreeSet<u64> = ids.iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(&listed, &set);
            prop_assert_eq!(ids.count(), set.len() as u64);
            prop_assert!((0..60).all(|id| ids.contains(id) == set.contains(&id)));
            for (first, last) in [(3, 9), (20, 20), (30, 45)] {
                prop_assert_eq!(ids.covers((first, last)), (first..=last).all(|id| set.contains(&id)));
            }
            // Apart: between two ranges there is a hole.
            let ranges: Vec<_> = ids.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
