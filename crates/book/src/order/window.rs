//! The prices near the best of one side, each with a place of its own.

use units::Qty;

/// Prices that have a place, at most and at least: a power of two.
///
/// The most was measured on a recorded stream with 62,000 ticks per percent of the price: with a quarter
/// of it more updates meet the tree, which costs a fifth more if that has few levels, and twice as much
/// if it has 22,000.
pub(super) const PLACES_MAX: usize = 1 << 17;
const PLACES_MIN: usize = 1 << 8;

/// Prices that share a page of quantities: it is made when one of them has a level, and in a wide
/// book it has few. With half as many it is slower, with twice as many it takes more memory.
const PAGE: usize = 16;

/// Pages below which it is not looked for empty ones.
const PAGES_MIN: usize = 64;

/// Stands in the table for a page that is not there.
const ABSENT: u16 = 0;

/// The coarsest grid: the quotients below fit into 64 bits.
const EXPONENT_MAX: u32 = 20;

/// Prices at even distances, as many as there are places, the worst first.
#[derive(Debug, Clone, Copy)]
struct Grid {
    base: i128,
    step: i128,
    places: usize,
    span: u128,
    /// A step is this power of two times one of five. What the latter is multiplied by to be 1 modulo
    /// 2⁶⁴ divides by it, where there is no remainder, and takes no division.
    twos: u32,
    inverse: u64,
}

impl Grid {
    /// Steps of 10 to the power of `exponent`, with `anchor` three quarters up: what is above it is
    /// for prices that become better. `None` at the ends of what a price can be.
    fn new(anchor: i128, places: usize, exponent: u32) -> Option<Self> {
        let step = 10_i128.pow(exponent);
        let distance = |places: usize| i128::try_from(places).ok()?.checked_mul(step);
        let base = anchor.checked_sub(distance(places / 4 * 3)?)?;
        let span = distance(places)?;
        base.checked_add(span)?;
        let inverse = inverse(5_u64.pow(exponent));
        Some(Self { base, step, places, span: span.cast_unsigned(), twos: exponent, inverse })
    }

    /// Where a key has its place, if it has one.
    #[inline]
    fn place(&self, key: i128) -> Option<usize> {
        let distance = key.wrapping_sub(self.base).cast_unsigned();
        if distance >= self.span {
            return None;
        }
        // Below 64, which spares a case.
        let twos = self.twos % u64::BITS;
        let fives = distance >> twos;
        let place = u64::try_from(fives).ok()?.wrapping_mul(self.inverse);
        // What is no multiple of five's power comes out beyond the last place.
        let place = usize::try_from(place).ok().filter(|place| *place < self.places);
        place.filter(|_| fives << twos == distance)
    }

    fn key(&self, place: usize) -> i128 {
        let steps = i128::try_from(place).unwrap_or_default();
        self.base + steps * self.step
    }
}

/// The number whose product with an odd one is 1 modulo 2⁶⁴, by Newton's method: each step doubles
/// the bits that are right, and of an odd number its own lowest three are.
const fn inverse(odd: u64) -> u64 {
    let (mut inverse, mut bits) = (odd, 3);
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// Levels whose keys are on a grid. Setting one neither searches nor moves another.
#[derive(Debug, Clone)]
pub(super) struct Window {
    grid: Grid,
    len: usize,
    /// Where the best level is, if there is one.
    best: usize,
    /// A bit per place: whether it has a level.
    occupied: Box<[u64]>,
    /// A bit per number of those: whether any place of it has a level.
    any: Box<[u64]>,
    /// Which of the pages has the quantities of the next so many places.
    table: Box<[u16]>,
    /// The first one stands for [`ABSENT`].
    pages: Vec<[Qty; PAGE]>,
    free: Vec<u16>,
}

impl Window {
    /// An empty window over the finest grid that all of these keys are on, the best first, with room
    /// around the `anchor`, which is one of them, for nearly all. `None` at the ends of what a price
    /// can be.
    pub(super) fn around(anchor: i128, keys: &[i128]) -> Option<Box<Self>> {
        let is_on = |key: i128, exponent: u32| {
            let distance = key.checked_sub(anchor);
            distance.is_some_and(|distance| distance % 10_i128.pow(exponent) == 0)
        };
        let exponent = (0..=EXPONENT_MAX)
            .rev()
            .find(|exponent| keys.iter().all(|key| is_on(*key, *exponent)))?;
        let deep = keys.get(keys.len() - keys.len() / 8 - 1).unwrap_or(&anchor);
        let reach = anchor.saturating_sub(*deep) / 10_i128.pow(exponent);
        let places = usize::try_from(reach).unwrap_or(usize::MAX).saturating_mul(2).min(PLACES_MAX);
        let places = places.next_power_of_two().max(PLACES_MIN);
        Some(Box::new(Self {
            grid: Grid::new(anchor, places, exponent)?,
            len: 0,
            best: 0,
            occupied: vec![0; places / 64].into(),
            any: vec![0; places.div_ceil(64 * 64)].into(),
            table: vec![ABSENT; places / PAGE].into(),
            pages: vec![[Qty::ZERO; PAGE]],
            free: Vec::new(),
        }))
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn places(&self) -> usize {
        self.grid.places
    }

    /// The least key that has a place.
    pub(super) const fn base(&self) -> i128 {
        self.grid.base
    }

    /// Forgets every level; the places stay.
    pub(super) fn clear(&mut self) {
        (self.len, self.best) = (0, 0);
        self.occupied.fill(0);
        self.any.fill(0);
        self.table.fill(ABSENT);
        self.pages.truncate(1);
        self.free.clear();
    }

    #[inline]
    pub(super) fn place(&self, key: i128) -> Option<usize> {
        self.grid.place(key)
    }

    /// Sets the quantity at a place; zero removes the level.
    #[inline]
    pub(super) fn set(&mut self, place: usize, qty: Qty) {
        let (word, bit) = (place / 64, 1 << (place % 64));
        let occupied = &mut self.occupied[word];
        let had_level = *occupied & bit != 0;
        if qty.is_zero() {
            *occupied &= !bit;
            if *occupied == 0 {
                self.any[word / 64] &= !(1 << (word % 64));
            }
            self.len -= usize::from(had_level);
            if place == self.best {
                self.best = self.highest();
            }
            return;
        }
        *occupied |= bit;
        self.any[word / 64] |= 1 << (word % 64);
        self.len += usize::from(!had_level);
        self.best = self.best.max(place);
        let mut page = self.table[place / PAGE];
        if page == ABSENT {
            page = self.add_page(place);
        }
        self.pages[usize::from(page)][place % PAGE] = qty;
    }

    /// Looks for the best level, which is not above where the best one was.
    fn highest(&self) -> usize {
        let last = self.best / 64;
        let word = match self.occupied[last] {
            0 => {
                let mut any = self.any[..=last / 64].iter().enumerate().rev();
                let Some((at, any)) = any.find(|(_, any)| **any != 0) else { return 0 };
                at * 64 + highest(*any)
            }
            _ => last,
        };
        word * 64 + highest(self.occupied[word])
    }

    /// Where the best level is.
    #[inline]
    pub(super) fn best(&self) -> Option<usize> {
        (self.len > 0).then_some(self.best)
    }

    #[inline]
    pub(super) fn best_key(&self) -> Option<i128> {
        self.best().map(|place| self.grid.key(place))
    }

    #[inline]
    pub(super) fn best_level(&self) -> Option<(i128, Qty)> {
        self.best().map(|place| self.level(place))
    }

    /// The key and the quantity at a place that has a level.
    #[inline]
    fn level(&self, place: usize) -> (i128, Qty) {
        let page = usize::from(self.table[place / PAGE]);
        (self.grid.key(place), self.pages[page][place % PAGE])
    }

    pub(super) fn best_first(&self) -> impl Iterator<Item = (i128, Qty)> + '_ {
        let any = self.any.iter().enumerate().rev();
        let words = any.flat_map(|(at, any)| downwards(*any).map(move |bit| at * 64 + bit));
        let places =
            words.flat_map(|word| downwards(self.occupied[word]).map(move |bit| word * 64 + bit));
        places.map(|place| self.level(place))
    }

    /// Makes a page for a place. Those that are empty by now are used again before the memory grows.
    #[cold]
    fn add_page(&mut self, place: usize) -> u16 {
        let (pages, is_full) = (self.pages.len(), self.pages.len() == self.pages.capacity());
        if self.free.is_empty() && is_full && pages >= PAGES_MIN {
            self.free_pages();
            // Or they would be looked for again soon.
            if self.free.len() < pages / 4 {
                self.pages.reserve(pages);
            }
        }
        let page = self.free.pop().unwrap_or_else(|| {
            self.pages.push([Qty::ZERO; PAGE]);
            u16::try_from(self.pages.len() - 1).expect("there are fewer pages than places")
        });
        self.table[place / PAGE] = page;
        page
    }

    fn free_pages(&mut self) {
        for (at, page) in self.table.iter_mut().enumerate() {
            let places = self.occupied[at * PAGE / 64] >> (at * PAGE % 64);
            let is_empty = places & ((1 << PAGE) - 1) == 0;
            if is_empty && *page != ABSENT {
                self.free.push(std::mem::replace(page, ABSENT));
            }
        }
    }
}

/// The place of the highest bit; there is one.
const fn highest(bits: u64) -> usize {
    (u64::BITS - 1 - bits.leading_zeros()) as usize
}

/// The places of all bits, the highest first.
fn downwards(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (bits != 0).then(|| {
            let bit = highest(bits);
            bits &= !(1 << bit);
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_price_on_the_grid_has_its_place_and_no_other_has_one() {
        for exponent in 0..=EXPONENT_MAX {
            let step = 10_i128.pow(exponent);
            let anchor = -37 * step;
            for places in [PLACES_MIN, PLACES_MAX] {
                let grid = Grid::new(anchor, places, exponent).unwrap();
                for place in [0, 1, 63, 64, 100, places / 2, places - 1] {
                    let key = grid.key(place);
                    assert_eq!(grid.place(key), Some(place), "{exponent}");
                    if exponent > 0 {
                        let beside = [1, 2, 5, step / 2, step - 1].map(|off| grid.place(key + off));
                        assert_eq!(beside, [None; 5], "{exponent} {place}");
                    }
                }
                assert_eq!(grid.key(places / 4 * 3), anchor);
                let (below, above) = (grid.base - 1, grid.key(places));
                let outside = [below, below + 1 - step, above, above + 1, i128::MIN, i128::MAX];
                assert_eq!(outside.map(|key| grid.place(key)), [None; 6], "{exponent}");
            }
        }
    }

    #[test]
    fn at_the_ends_of_what_a_price_can_be_there_is_no_window() {
        for anchor in [i128::MAX, i128::MAX - 9, i128::MIN, i128::MIN + 9] {
            assert!(Window::around(anchor, &[anchor]).is_none(), "{anchor}");
        }
        assert!(Window::around(0, &[i128::MAX, 0, i128::MIN]).is_some());
        let far = Window::around(i128::MAX / 2, &[i128::MAX / 2, i128::MIN]);
        assert!(far.is_none(), "the distance is no number");
    }

    #[test]
    fn it_is_as_wide_as_the_levels_are_and_no_wider() {
        let places = |distance: i128| {
            let keys: Vec<_> = (0..100).map(|at| -at * distance).collect();
            Window::around(0, &keys).unwrap().places()
        };
        assert_eq!([1, 3, 70].map(places), [PLACES_MIN, 1 << 10, 1 << 11]);
        assert_eq!(places(10_i128.pow(19) + 1), PLACES_MAX);
        assert_eq!(places(10_i128.pow(19)), PLACES_MIN, "of the tick");
    }

    #[test]
    fn pages_are_used_again_before_there_are_more() {
        let mut window = Window::around(0, &[0, -1, -(1 << 20)]).unwrap();
        let places = window.places();
        for place in 0..places {
            window.set(place, Qty::from_raw(7));
            if place >= 40 {
                window.set(place - 40, Qty::ZERO);
            }
        }
        assert_eq!((window.len(), window.best()), (40, Some(places - 1)));
        assert!(window.pages.len() <= PAGES_MIN, "{} for 40 levels", window.pages.len());
        let keys: Vec<_> = window.best_first().map(|(key, _)| key).collect();
        let first = window.grid.key(places - 40);
        assert!(keys.into_iter().rev().eq(first..first + 40));
    }
}
