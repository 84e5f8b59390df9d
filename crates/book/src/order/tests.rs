//! Ring 1: the book beside a `BTreeMap` that is rebuilt from the same updates.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn level(price: i64, qty: i64) -> Level {
    (Price::from_raw(i128::from(price)), Qty::from_raw(i128::from(qty)))
}

fn book(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> OrderBook {
    let levels = |side: &[(i64, i64)]| side.iter().map(|(p, q)| level(*p, *q)).collect::<Vec<_>>();
    let mut book = OrderBook::new();
    book.replace(&levels(bids), &levels(asks));
    book
}

#[test]
fn both_sides_come_best_first() {
    let book = book(&[(10, 1), (8, 2), (9, 3)], &[(13, 1), (11, 2), (12, 3)]);
    assert_eq!(book.top(2), (vec![level(10, 1), level(9, 3)], vec![level(11, 2), level(12, 3)]));
    assert_eq!((book.best_bid(), book.best_ask()), (Some(level(10, 1)), Some(level(11, 2))));
    assert_eq!(book.len(), (3, 3));
}

#[test]
fn quantities_are_absolute_and_zero_removes() {
    let mut book = book(&[(10, 1)], &[(11, 1)]);
    book.apply(&[level(10, 5), level(7, 0)], &[level(11, 0)]);
    assert_eq!(book.top(9), (vec![level(10, 5)], vec![]));
    assert!(!book.is_empty() && !book.is_crossed());
}

#[test]
fn a_bid_at_or_above_the_ask_is_crossed() {
    assert!(!book(&[(10, 1)], &[(11, 1)]).is_crossed());
    assert!(book(&[(11, 1)], &[(11, 1)]).is_crossed());
    assert!(book(&[(12, 1)], &[(11, 1)]).is_crossed());
    assert!(!book(&[], &[(11, 1)]).is_crossed());
}

#[test]
fn pruning_waits_for_the_limit_and_returns_the_cut_as_zeros() {
    let mut book = book(&[(10, 1), (9, 1), (8, 1), (7, 1)], &[(11, 1)]);
    assert!(book.prune(2, 4).is_empty());
    let pruned = book.prune(2, 3);
    assert_eq!(pruned, Pruned { bids: vec![level(7, 0), level(8, 0)], asks: vec![] });
    assert_eq!(book.top(9).0, vec![level(10, 1), level(9, 1)]);
}

#[test]
fn a_price_off_the_tick_and_one_far_away_are_in_their_order() {
    let tick = 1_000;
    let mut levels: Vec<_> = (1..=500).map(|at| (at * tick, 1)).collect();
    levels.extend((1..=100).map(|at| (1_000_000_000 + at * 7 * tick, 1)));
    let mut book = book(&levels, &[]);
    book.apply(&[level(499_500, 2), level(1_000_000_700_001, 3), level(1, 4)], &[]);
    assert_eq!(book.best_bid(), Some(level(1_000_000_700_001, 3)));
    levels.extend([(499_500, 2), (1_000_000_700_001, 3), (1, 4)]);
    levels.sort_by_key(|(price, _)| -price);
    let expected: Vec<_> = levels.iter().map(|(price, qty)| level(*price, *qty)).collect();
    assert_eq!(book.top(usize::MAX).0, expected);
    let pruned = book.prune(101, 101);
    assert_eq!((pruned.bids.len(), pruned.bids[0]), (502, level(1, 0)));
    assert_eq!(book.top(usize::MAX).0, expected[..101]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Quantities at so many ticks from where the market is.
    Set {
        bid: bool,
        levels: Vec<(i64, i64)>,
    },
    Prune(usize),
    Replace(Vec<i64>),
    /// The market moves by so many ticks.
    Move(i64),
    /// The venue changes the tick to this power of ten.
    Tick(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let tick = prop_oneof![20 => -400_i64..400, 1 => -100_000_i64..100_000];
    let levels = proptest::collection::vec((tick, 0_i64..3), 1..20);
    let set = (any::<bool>(), any::<bool>(), levels).prop_map(|(bid, sorted, mut levels)| {
        if sorted {
            // As venues send them, the best first.
            levels.sort_by_key(|(price, _)| if bid { -price } else { *price });
        }
        Step::Set { bid, levels }
    });
    prop_oneof![
        40 => set,
        2 => (0_usize..200).prop_map(Step::Prune),
        2 => proptest::collection::vec(-400_i64..400, 0..300).prop_map(Step::Replace),
        1 => prop_oneof![-300_i64..300, -60_000_i64..60_000].prop_map(Step::Move),
        1 => (0_u32..19).prop_map(Step::Tick),
    ]
}

/// Where the market is: steps count ticks from there.
struct Market {
    mid: i64,
    tick: i128,
}

impl Market {
    fn level(&self, (tick, qty): (i64, i64)) -> Level {
        let price = i128::from(self.mid + tick) * self.tick;
        (Price::from_raw(price), Qty::from_raw(i128::from(qty)))
    }

    fn levels(&self, levels: &[(i64, i64)]) -> Vec<Level> {
        levels.iter().map(|level| self.level(*level)).collect()
    }
}

/// The reference: as slow and as plain as can be.
#[derive(Default)]
struct Reference {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
}

/// Takes a step with the book and with the reference.
fn take(book: &mut OrderBook, reference: &mut Reference, market: &mut Market, step: &Step) {
    match step {
        Step::Set { bid, levels } => {
            let levels = market.levels(levels);
            let side = if *bid { &mut reference.bids } else { &mut reference.asks };
            for (price, qty) in &levels {
                match qty.is_zero() {
                    true => side.remove(price),
                    false => side.insert(*price, *qty),
                };
            }
            let (bids, asks) = if *bid { (&*levels, &[][..]) } else { (&[][..], &*levels) };
            book.apply(bids, asks);
        }
        Step::Prune(keep) => {
            let pruned = book.prune(*keep, *keep);
            let zero = |price: Price| (price, Qty::ZERO);
            let mut cut = Pruned::default();
            while reference.bids.len() > *keep {
                cut.bids.extend(reference.bids.pop_first().map(|(price, _)| zero(price)));
            }
            while reference.asks.len() > *keep {
                cut.asks.extend(reference.asks.pop_last().map(|(price, _)| zero(price)));
            }
            assert_eq!(pruned, cut);
        }
        Step::Replace(ticks) => {
            let levels: Vec<_> = ticks.iter().map(|tick| market.level((*tick, 7))).collect();
            reference.bids = levels.iter().copied().collect();
            reference.asks.clone_from(&reference.bids);
            book.replace(&levels, &levels);
        }
        Step::Move(ticks) => market.mid += ticks,
        Step::Tick(exponent) => market.tick = 10_i128.pow(*exponent),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_always_equals_the_reference(
        tick in 0_u32..19,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let (mut book, mut reference) = (OrderBook::new(), Reference::default());
        let mut market = Market { mid: 7_000, tick: 10_i128.pow(tick) };
        for step in &steps {
            take(&mut book, &mut reference, &mut market, step);
            let bid = reference.bids.last_key_value().map(|(price, qty)| (*price, *qty));
            let ask = reference.asks.first_key_value().map(|(price, qty)| (*price, *qty));
            prop_assert_eq!((book.best_bid(), book.best_ask()), (bid, ask));
            prop_assert_eq!(book.len(), (reference.bids.len(), reference.asks.len()));
            let best: Vec<_> = reference.bids.iter().rev().take(20).map(|(p, q)| (*p, *q)).collect();
            prop_assert_eq!(book.top(20).0, best);
        }
        let (bids, asks) = book.top(usize::MAX);
        let expected: Vec<_> = reference.bids.into_iter().rev().collect();
        prop_assert_eq!(bids, expected);
        prop_assert_eq!(asks, reference.asks.into_iter().collect::<Vec<_>>());
    }
}
