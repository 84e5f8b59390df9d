//! The simulator's own book, kept from what it produces, so that REST can answer with it.

use crate::frame::DepthData;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
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

    /// The answer of `GET /api/v3/depth`, or `None` while the book is unknown.
    #[must_use]
    pub fn answer(&self, limit: usize) -> Option<String> {
        let last_id = self.last_id?;
        let mut text = format!("{{\"lastUpdateId\":{last_id},\"bids\":[");
        write_levels(&mut text, self.bids.iter().rev().take(limit));
        text.push_str("],\"asks\":[");
        write_levels(&mut text, self.asks.iter().take(limit));
        text.push_str("]}");
        Some(text)
    }
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

fn write_levels<'a>(text: &mut String, levels: impl Iterator<Item = (&'a Price, &'a Qty)>) {
    for (i, (price, qty)) in levels.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(text, "{comma}[\"{price}\",\"{qty}\"]").expect("a string takes every text");
    }
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
        assert_eq!(shadow.answer(5), None);
        shadow.replace(6, &[("1".to_owned(), "3".to_owned())], &[]).unwrap();
        let text = r#"{"lastUpdateId":8,"bids":[["2","9"],["1","3"]],"asks":[]}"#;
        assert_eq!(shadow.answer(5).as_deref(), Some(text));
    }
}
