//! The simulator's own book, kept from what it produces, so that REST can answer with it.

use crate::frame::DepthData;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use units::{ParseDecimalError, Price, Qty};

/// A book as deep as the market showed it.
#[derive(Debug, Clone, Default)]
pub struct Shadow {
    last_id: Option<u64>,
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
        *self = Self { last_id: Some(last_id), ..Self::default() };
        set(&mut self.bids, bids)?;
        set(&mut self.asks, asks)
    }

    /// Applies a diff, unless the snapshot already has it or none came yet.
    ///
    /// # Errors
    ///
    /// A level that is no decimal.
    pub fn apply(&mut self, diff: &DepthData) -> Result<(), ParseDecimalError> {
        let Some(last_id) = self.last_id else { return Ok(()) };
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
