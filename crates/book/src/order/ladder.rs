//! One side of a book.

use model::Level;
use units::{Price, Qty};

/// Levels in a block before it is split: two kilobytes, of which an insertion moves a quarter.
///
/// Measured on two sides of 26,000 levels: 64 is at the bottom of a flat valley from 32 to 128.
const BLOCK_MAX: usize = 64;

/// Neighbours that together have no more than this are merged.
const MERGE_MAX: usize = BLOCK_MAX / 2;

/// Levels sorted by key, the best (greatest) last, in blocks.
///
/// Most updates are near the best, so the search begins at the last block; and whatever an update
/// inserts or removes, it moves no more than one block.
#[derive(Debug, Clone, Default)]
pub(super) struct Ladder {
    /// The least key of each block.
    firsts: Vec<i128>,
    blocks: Vec<Block>,
    len: usize,
}

/// At least one level; keys ascend.
#[derive(Debug, Clone, Default)]
struct Block {
    keys: Vec<i128>,
    quantities: Vec<Qty>,
}

impl Ladder {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.firsts.clear();
        self.blocks.clear();
        self.len = 0;
    }

    pub(super) fn extend(&mut self, levels: &[Level], key: fn(Price) -> i128) {
        // Snapshots come best first, so walking backwards appends in order.
        for &(price, qty) in levels.iter().rev() {
            self.set(key(price), qty);
        }
    }

    /// Sets the quantity at a key; zero removes the level.
    #[inline]
    pub(super) fn set(&mut self, key: i128, qty: Qty) {
        let Some(at) = self.block_of(key) else {
            if !qty.is_zero() {
                self.firsts.push(key);
                self.blocks.push(Block::with(key, qty));
                self.len += 1;
            }
            return;
        };
        let block = &mut self.blocks[at];
        match block.keys.binary_search(&key) {
            Ok(place) if qty.is_zero() => self.remove(at, place),
            Ok(place) => block.quantities[place] = qty,
            Err(_) if qty.is_zero() => {}
            Err(place) => self.insert(at, place, key, qty),
        }
    }

    pub(super) fn best_first(&self) -> impl Iterator<Item = (i128, Qty)> + '_ {
        self.blocks.iter().rev().flat_map(|Block { keys, quantities }| {
            keys.iter().copied().zip(quantities.iter().copied()).rev()
        })
    }

    /// Removes all but the best `depth` levels and returns their keys, worst first.
    pub(super) fn keep_best(&mut self, depth: usize) -> Vec<i128> {
        let excess = self.len.saturating_sub(depth);
        let mut removed = Vec::with_capacity(excess);
        let mut whole = 0;
        for block in &mut self.blocks {
            let take = (excess - removed.len()).min(block.keys.len());
            if take < block.keys.len() {
                removed.extend(block.keys.drain(..take));
                block.quantities.drain(..take);
                break;
            }
            removed.append(&mut block.keys);
            whole += 1;
        }
        self.blocks.drain(..whole);
        self.firsts.drain(..whole);
        if let (Some(first), Some(block)) = (self.firsts.first_mut(), self.blocks.first()) {
            *first = block.keys[0];
        }
        self.len -= removed.len();
        removed
    }

    /// The block that a key is in, or would be: the last one that begins at or below it.
    #[inline]
    fn block_of(&self, key: i128) -> Option<usize> {
        let last = self.firsts.len().checked_sub(1)?;
        // The best block takes most updates.
        if self.firsts[last] <= key {
            return Some(last);
        }
        Some(self.firsts[..last].partition_point(|first| *first <= key).saturating_sub(1))
    }

    fn insert(&mut self, at: usize, place: usize, key: i128, qty: Qty) {
        let block = &mut self.blocks[at];
        block.keys.insert(place, key);
        block.quantities.insert(place, qty);
        self.len += 1;
        if place == 0 {
            self.firsts[at] = key;
        }
        if block.keys.len() > BLOCK_MAX {
            let upper = block.split();
            self.firsts.insert(at + 1, upper.keys[0]);
            self.blocks.insert(at + 1, upper);
        }
    }

    fn remove(&mut self, at: usize, place: usize) {
        let block = &mut self.blocks[at];
        block.keys.remove(place);
        block.quantities.remove(place);
        self.len -= 1;
        let Some(first) = block.keys.first() else {
            self.blocks.remove(at);
            self.firsts.remove(at);
            return;
        };
        self.firsts[at] = *first;
        let len = block.keys.len();
        if self.blocks.get(at + 1).is_some_and(|next| len + next.keys.len() <= MERGE_MAX) {
            self.firsts.remove(at + 1);
            let mut next = self.blocks.remove(at + 1);
            self.blocks[at].append(&mut next);
        }
    }
}

impl Block {
    fn with(key: i128, qty: Qty) -> Self {
        let mut block = Self::empty();
        block.keys.push(key);
        block.quantities.push(qty);
        block
    }

    fn empty() -> Self {
        let room = BLOCK_MAX + 1;
        Self { keys: Vec::with_capacity(room), quantities: Vec::with_capacity(room) }
    }

    /// Takes the better half off.
    fn split(&mut self) -> Self {
        let half = self.keys.len() / 2;
        let mut upper = Self::empty();
        upper.keys.extend(self.keys.drain(half..));
        upper.quantities.extend(self.quantities.drain(half..));
        upper
    }

    fn append(&mut self, other: &mut Self) {
        self.keys.append(&mut other.keys);
        self.quantities.append(&mut other.quantities);
    }
}
