//! One side of a book.

use super::window::{PLACES_MAX, Window};
use model::Level;
use std::collections::BTreeMap;
use units::{Price, Qty};

/// Levels that come where the window is wanted and is not, before it moves there; with as many as a
/// part of all levels on top, so that moving costs each of them little.
const STRAYS_MAX: usize = 32;
const STRAYS_PART: usize = 32;

/// The window is laid around the level that is so many places from the best, or half as many as
/// there are: some prices far away from all others do not lead it astray.
const ANCHOR: usize = STRAYS_MAX;

/// Levels by key; the best is the greatest.
///
/// Nearly all updates are near the best and on the venue's tick. There each price has a place of its
/// own, in a window that follows the market: whatever an update inserts or removes, nothing is
/// searched or moved. The others are in a tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Ladder {
    near: Option<Box<Window>>,
    /// The levels that have no place in the window.
    far: BTreeMap<i128, Qty>,
    /// How many of those are better than its worst place: one of them may be the best of all.
    above: usize,
    /// Levels that came where the window is wanted since it was moved.
    strays: usize,
}

impl Ladder {
    pub(super) fn len(&self) -> usize {
        self.far.len() + self.near.as_ref().map_or(0, |near| near.len())
    }

    pub(super) fn clear(&mut self) {
        if let Some(near) = &mut self.near {
            near.clear();
        }
        self.far.clear();
        (self.above, self.strays) = (0, 0);
    }

    /// Sets the quantities of levels, in whatever order; zero removes one.
    #[inline]
    pub(super) fn set_all(&mut self, levels: &[Level], key: impl Fn(Price) -> i128) {
        for &(price, qty) in levels {
            self.set(key(price), qty);
        }
    }

    /// Moves the window if it is not where the levels are, after a snapshot.
    pub(super) fn settle(&mut self) {
        if self.is_wanted_lower() && !self.far.is_empty() {
            self.move_window();
        }
    }

    #[inline]
    fn set(&mut self, key: i128, qty: Qty) {
        if let Some(near) = &mut self.near
            && let Some(place) = near.place(key)
        {
            near.set(place, qty);
        } else {
            self.set_far(key, qty);
        }
    }

    #[inline(never)]
    fn set_far(&mut self, key: i128, qty: Qty) {
        let is_above = self.near.as_ref().is_none_or(|near| key >= near.base());
        if qty.is_zero() {
            let removed = self.far.remove(&key).is_some();
            self.above -= usize::from(removed && is_above);
            return;
        }
        if self.far.insert(key, qty).is_some() {
            return;
        }
        self.above += usize::from(is_above);
        self.strays += usize::from(is_above || self.is_wanted_lower());
        if self.strays >= STRAYS_MAX + self.len() / STRAYS_PART {
            self.move_window();
        }
    }

    /// Whether the window should have a place for levels below it.
    fn is_wanted_lower(&self) -> bool {
        let Some(near) = &self.near else { return true };
        let is_low = near.best().is_none_or(|place| place < near.places() / 4);
        is_low || near.places() < PLACES_MAX && near.len() / 4 < self.far.len()
    }

    /// Lays the window around the best levels, on the tick that all levels are on.
    fn move_window(&mut self) {
        let levels: Vec<_> = self.best_first().collect();
        let keys: Vec<_> = levels.iter().map(|(key, _)| *key).collect();
        let anchor = keys.get(ANCHOR.min(keys.len() / 2));
        self.near = anchor.and_then(|anchor| Window::around(*anchor, &keys));
        let mut has_place = |&(key, qty): &(i128, Qty)| {
            let Some(near) = &mut self.near else { return false };
            let place = near.place(key);
            place.inspect(|place| near.set(*place, qty)).is_some()
        };
        self.far = levels.into_iter().filter(|level| !has_place(level)).collect();
        let above = self.near.as_ref().map(|near| self.far.range(near.base()..).count());
        (self.above, self.strays) = (above.unwrap_or(self.far.len()), 0);
    }

    /// The key of the best level.
    #[inline]
    pub(super) fn best_key(&self) -> Option<i128> {
        let near = self.near.as_ref().and_then(|near| near.best_key());
        if self.above == 0 && near.is_some() {
            return near;
        }
        near.max(self.far.last_key_value().map(|(key, _)| *key))
    }

    #[inline]
    pub(super) fn best(&self) -> Option<(i128, Qty)> {
        let near = self.near.as_ref().and_then(|near| near.best_level());
        if self.above == 0 && near.is_some() {
            return near;
        }
        near.max(self.far.last_key_value().map(|(key, qty)| (*key, *qty)))
    }

    pub(super) fn best_first(&self) -> impl Iterator<Item = (i128, Qty)> + '_ {
        let mut near = self.near.iter().flat_map(|near| near.best_first()).peekable();
        let mut far = self.far.iter().rev().map(|(key, qty)| (*key, *qty)).peekable();
        std::iter::from_fn(move || match (near.peek(), far.peek()) {
            (Some((key, _)), Some((other, _))) if key < other => far.next(),
            (Some(_), _) => near.next(),
            (None, _) => far.next(),
        })
    }

    /// Removes all but the best `depth` levels and returns their keys, worst first.
    pub(super) fn keep_best(&mut self, depth: usize) -> Vec<i128> {
        let mut removed: Vec<_> = self.best_first().skip(depth).map(|(key, _)| key).collect();
        removed.reverse();
        removed.iter().for_each(|key| self.set(*key, Qty::ZERO));
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: i128 = 10_i128.pow(16);

    /// A side with a level at each of these ticks.
    fn ladder(ticks: impl Iterator<Item = i128>) -> Ladder {
        let mut ladder = Ladder::default();
        ticks.for_each(|tick| ladder.set(tick * TICK, Qty::from_raw(1)));
        ladder
    }

    #[test]
    fn the_window_is_where_the_levels_are() {
        let mut few = ladder(0..9);
        few.settle();
        assert_eq!((few.len(), few.far.len()), (9, 0), "after a snapshot");
        let ladder = ladder((0..5_000).rev());
        assert!(ladder.far.len() < 100, "{} of 5,000 are outside", ladder.far.len());
        assert_eq!((ladder.len(), ladder.best()), (5_000, Some((4_999 * TICK, Qty::from_raw(1)))));
    }

    #[test]
    fn the_window_follows_the_market_up_and_down() {
        let mut ladder = ladder(0..100);
        let (mut begin, mut far, mut all) = (0, 0, 0);
        for step in [[10; 6_000], [-10; 6_000], [-10; 6_000]].concat() {
            let levels = |begin: i128| (begin..begin + 100).map(|tick| tick * TICK);
            levels(begin).for_each(|key| ladder.set(key, Qty::ZERO));
            begin += step;
            levels(begin).for_each(|key| ladder.set(key, Qty::from_raw(1)));
            (far, all) = (far + ladder.far.len(), all + ladder.len());
        }
        assert!(far * 20 < all, "{far} of {all} are outside");
    }
}
