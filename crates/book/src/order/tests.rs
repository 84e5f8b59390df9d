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

#[derive(Debug, Clone)]
enum Step {
    Set { bid: bool, price: i64, qty: i64 },
    Prune(usize),
    Replace(Vec<i64>),
}

fn step() -> impl Strategy<Value = Step> {
    let set = (any::<bool>(), -400_i64..400, 0_i64..3).prop_map(|(bid, price, qty)| Step::Set {
        bid,
        price,
        qty,
    });
    prop_oneof![
        200 => set,
        1 => (0_usize..200).prop_map(Step::Prune),
        1 => proptest::collection::vec(-400_i64..400, 0..300).prop_map(Step::Replace),
    ]
}

/// The reference: as slow and as plain as can be.
#[derive(Default)]
struct Reference {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
}

impl Reference {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Set { bid, price, qty } => {
                let (price, qty) = level(*price, *qty);
                let side = if *bid { &mut self.bids } else { &mut self.asks };
                match qty.is_zero() {
                    true => side.remove(&price),
                    false => side.insert(price, qty),
                };
            }
            Step::Prune(keep) => {
                while self.bids.len() > *keep {
                    self.bids.pop_first();
                }
                while self.asks.len() > *keep {
                    self.asks.pop_last();
                }
            }
            Step::Replace(prices) => {
                self.bids = prices.iter().map(|price| level(*price, 7)).collect();
                self.asks = self.bids.clone();
            }
        }
    }
}

fn apply(book: &mut OrderBook, step: &Step) {
    match step {
        Step::Set { bid: true, price, qty } => book.apply(&[level(*price, *qty)], &[]),
        Step::Set { bid: false, price, qty } => book.apply(&[], &[level(*price, *qty)]),
        Step::Prune(keep) => {
            let (bids, asks) = book.len();
            let pruned = book.prune(*keep, *keep);
            let cut = (bids.saturating_sub(*keep), asks.saturating_sub(*keep));
            assert_eq!((pruned.bids.len(), pruned.asks.len()), cut);
        }
        Step::Replace(prices) => {
            let levels: Vec<_> = prices.iter().map(|price| level(*price, 7)).collect();
            book.replace(&levels, &levels);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn it_always_equals_the_reference(steps in proptest::collection::vec(step(), 0..1500)) {
        let (mut book, mut reference) = (OrderBook::new(), Reference::default());
        for step in &steps {
            apply(&mut book, step);
            reference.take(step);
            let best = reference.bids.last_key_value().map(|(price, qty)| (*price, *qty));
            prop_assert_eq!(book.best_bid(), best);
            prop_assert_eq!(book.len(), (reference.bids.len(), reference.asks.len()));
        }
        let (bids, asks) = book.top(usize::MAX);
        let expected: Vec<_> = reference.bids.into_iter().rev().collect();
        prop_assert_eq!(bids, expected);
        prop_assert_eq!(asks, reference.asks.into_iter().collect::<Vec<_>>());
    }
}
