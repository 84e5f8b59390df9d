//! The simulator's own book, kept from what it produces, so that it can be asked for.

use crate::frame::DepthData;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use units::{ParseDecimalError, Price, Qty};

/// Diffs kept while no snapshot came: a recorded snapshot is older than the frames around it.
/// When full the oldest goes.
const EARLY_MAX: usize = 1_000;

/// A book as deep as the market showed it.
#[derive(Debug, Clone, Default)]
pub struct Shadow {
    last_id: Option<u64>,
    early: VecDeque<Arc<DepthData>>,
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
}

impl Shadow {
    /// Replaces the book by a snapshot's levels.
    ///
    /// # Errors
    ///
    /// A level that is no decimal.
    pub fn replace(
        &mut self,
        last_id: u64,
        bids: &[(String, String)],
        asks: &[(String, String)],
    ) -> Result<(), ParseDecimalError> {
        let early = std::mem::take(&mut self.early);
        *self = Self { last_id: Some(last_id), ..Self::default() };
        set(&mut self.bids, bids)?;
        set(&mut self.asks, asks)?;
        early.iter().try_for_each(|diff| self.apply(diff))
    }

    /// Applies a diff, unless the snapshot already has it; before the snapshot it is kept.
    ///
    /// # Errors
    ///
    /// A level that is no decimal.
    pub fn apply(&mut self, diff: &Arc<DepthData>) -> Result<(), ParseDecimalError> {
        let Some(last_id) = self.last_id else {
            if self.early.len() == EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back(Arc::clone(diff));
            return Ok(());
        };
        if diff.last_id <= last_id {
            return Ok(());
        }
        self.last_id = Some(diff.last_id);
        set(&mut self.bids, &diff.bids)?;
        set(&mut self.asks, &diff.asks)
    }

    /// The best `limit` levels a side, or `None` while the book is unknown.
    #[must_use]
    pub fn view(&self, limit: usize) -> Option<View> {
        let copied = |(price, qty): (&Price, &Qty)| (*price, *qty);
        Some(View {
            last_id: self.last_id?,
            bids: self.bids.iter().rev().take(limit).map(copied).collect(),
            asks: self.asks.iter().take(limit).map(copied).collect(),
        })
    }

    /// Whether the book is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.last_id.is_some()
    }
}

/// The best levels of a book, as the venue writes their quantities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The last update id.
    pub last_id: u64,
    /// Bids, the best one first.
    pub bids: Vec<(Price, Qty)>,
    /// Asks, the best one first.
    pub asks: Vec<(Price, Qty)>,
}

fn set(
    side: &mut BTreeMap<Price, Qty>,
    levels: &[(String, String)],
) -> Result<(), ParseDecimalError> {
    for (price, qty) in levels {
        let (price, qty) = (price.parse()?, qty.parse::<Qty>()?);
        if qty.is_zero() {
            side.remove(&price);
        } else {
            side.insert(price, qty);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(first_id: u64, last_id: u64, bid: &str, qty: &str) -> Arc<DepthData> {
        let bids = vec![(bid.to_owned(), qty.to_owned())];
        let instrument = "BTCUSDT".to_owned();
        Arc::new(DepthData { instrument, first_id, last_id, bids, asks: Vec::new() })
    }

    #[test]
    fn a_diff_that_came_before_its_snapshot_is_not_forgotten() {
        let mut shadow = Shadow::default();
        shadow.apply(&diff(1, 4, "1", "9")).unwrap();
        shadow.apply(&diff(5, 8, "2", "9")).unwrap();
        assert_eq!(shadow.view(5), None);
        shadow.replace(6, &[("1".to_owned(), "3".to_owned())], &[]).unwrap();
        let level = |price: &str, qty: &str| (price.parse().unwrap(), qty.parse().unwrap());
        let bids = vec![level("2", "9"), level("1", "3")];
        assert_eq!(shadow.view(5), Some(View { last_id: 8, bids, asks: Vec::new() }));
    }
}
