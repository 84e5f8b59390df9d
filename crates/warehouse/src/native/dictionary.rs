//! Columns with few distinct values.

use super::{text, u64_of};
use std::collections::BTreeMap;

/// Version of the dictionary layout: shared dictionaries with additional keys.
const DICTIONARY_VERSION: u64 = 1;
/// A dictionary of this block's own (bit 9), which replaces what was before (bit 10); the lowest
/// bits say how wide the indices are.
const DICTIONARY_FLAGS: u64 = 1 << 9 | 1 << 10;
/// Indices of 8, 16 and 32 bits.
const WIDTHS: [u64; 3] = [0, 1, 2];

/// The distinct values of a column, and which of them each row has.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    numbers: BTreeMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    rows: Vec<u32>,
    /// Most rows have the value of the row before.
    last: usize,
}

impl Dictionary {
    #[inline]
    pub(super) fn push(&mut self, value: &str) {
        let number = match self.names.get(self.last) {
            Some(last) if **last == *value => self.last,
            Some(_) | None => index(self.number(value)),
        };
        self.last = number;
        self.rows.push(u32::try_from(number).expect("fewer values than rows"));
    }

    #[inline]
    pub(super) fn push_number(&mut self, number: u32) {
        self.rows.push(number);
    }

    pub(super) fn number(&mut self, value: &str) -> u32 {
        if let Some(known) = self.numbers.get(value) {
            return *known;
        }
        let next = u32::try_from(self.names.len()).expect("fewer values than rows");
        self.numbers.insert(value.into(), next);
        self.names.push(value.into());
        next
    }

    /// Writes the values, and those of these rows. A value that none of them has does no harm.
    pub(super) fn write(&self, count: usize, rows: impl Iterator<Item = usize>, out: &mut Vec<u8>) {
        let distinct = self.names.len();
        let width = usize::from(distinct > 1 << 8) + usize::from(distinct > 1 << 16);
        for number in [DICTIONARY_VERSION, DICTIONARY_FLAGS | WIDTHS[width], u64_of(distinct)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.names.iter().for_each(|name| text(out, name));
        out.extend_from_slice(&u64_of(count).to_le_bytes());
        out.reserve(count << width);
        let numbers = rows.map(|row| self.rows[row].to_le_bytes());
        // One by one for each width: a length that is known is a store, and one that is not a call.
        match width {
            0 => numbers.for_each(|[a, _, _, _]| out.push(a)),
            1 => numbers.for_each(|[a, b, _, _]| out.extend_from_slice(&[a, b])),
            _ => numbers.for_each(|number| out.extend_from_slice(&number)),
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_as_wide_as_the_values_are_many() {
        for (distinct, flags, width) in [(256, 0, 1), (257, 1, 2), (65_537, 2, 4)] {
            let mut dictionary = Dictionary::default();
            (0..distinct).for_each(|number: usize| dictionary.push(&format!("{number:05}")));
            let mut out = Vec::new();
            dictionary.write(2, [0, distinct - 1].into_iter(), &mut out);
            assert_eq!(out[8..16], (DICTIONARY_FLAGS | flags).to_le_bytes());
            let last = u64_of(distinct - 1).to_le_bytes();
            let indices = [&[0; 4][..width], &last[..width]].concat();
            assert!(out.ends_with(&indices), "{distinct}");
            assert_eq!(out.len(), 24 + 6 * distinct + 8 + 2 * width);
        }
    }
}
