//! The columns of what only contracts have, and the way there.

use super::{Funding, Greeks, Liquidation, LongShortRatio, Mark, OpenInterest, VolatilityIndex};
use super::{Sheet, Ticker};
use arrow_array::types::UInt32Type;
use arrow_schema::DataType;

/// The columns of an option's ticker, in order.
pub(super) const GREEKS: &[&str] =
    &["mark_iv", "bid_iv", "ask_iv", "delta", "gamma", "vega", "theta", "rho", "underlying_price"];

/// The value of each of [`GREEKS`], as a count of 10⁻¹⁸.
fn values(greeks: &Greeks) -> [Option<i128>; 9] {
    let rates = [
        greeks.mark_iv,
        greeks.bid_iv,
        greeks.ask_iv,
        greeks.delta,
        greeks.gamma,
        greeks.vega,
        greeks.theta,
        greeks.rho,
    ];
    let [a, b, c, d, e, f, g, h] = rates.map(|rate| rate.map(units::Rate::raw));
    [a, b, c, d, e, f, g, h, greeks.underlying_price.map(units::Price::raw)]
}

impl Sheet {
    pub(super) fn greeks(&mut self, rows: &[&Ticker]) {
        let rows: Vec<[Option<i128>; 9]> =
            rows.iter().map(|row| row.greeks.as_deref().map_or([None; 9], values)).collect();
        for (column, name) in GREEKS.iter().enumerate() {
            self.decimals(name, rows.iter().map(|row| row[column]));
        }
    }

    pub(super) fn marks(&mut self, rows: &[&Mark]) {
        self.decimals("mark_price", rows.iter().map(|row| row.mark_price.map(|v| v.raw())));
        self.decimals("index_price", rows.iter().map(|row| row.index_price.map(|v| v.raw())));
    }

    pub(super) fn fundings(&mut self, rows: &[&Funding]) {
        self.decimals("funding_rate", rows.iter().map(|row| Some(row.funding_rate.raw())));
        self.times("next_funding_time", rows.iter().map(|row| row.next_funding_time));
        let hours = rows.iter().map(|row| row.interval_hours);
        self.numbers::<UInt32Type>("interval_hours", DataType::UInt32, hours);
    }

    pub(super) fn open_interests(&mut self, rows: &[&OpenInterest]) {
        self.decimals("open_interest", rows.iter().map(|row| Some(row.open_interest.raw())));
        let values = rows.iter().map(|row| row.open_interest_value.map(|v| v.raw()));
        self.decimals("open_interest_value", values);
    }

    pub(super) fn liquidations(&mut self, rows: &[&Liquidation]) {
        self.texts("side", rows.iter().map(|row| Some(row.side.as_str())));
        self.decimals("price", rows.iter().map(|row| Some(row.price.raw())));
        self.decimals("qty", rows.iter().map(|row| Some(row.qty.raw())));
        self.decimals("average_price", rows.iter().map(|row| row.average_price.map(|v| v.raw())));
        let ordinals = rows.iter().map(|row| Some(row.ordinal));
        self.numbers::<UInt32Type>("ordinal", DataType::UInt32, ordinals);
    }

    pub(super) fn long_short_ratios(&mut self, rows: &[&LongShortRatio]) {
        self.texts("ratio_type", rows.iter().map(|row| Some(row.ratio_type.as_str())));
        self.texts("period", rows.iter().map(|row| Some(&*row.period)));
        self.decimals("long_ratio", rows.iter().map(|row| row.long_ratio.map(|v| v.raw())));
        self.decimals("short_ratio", rows.iter().map(|row| row.short_ratio.map(|v| v.raw())));
        let ratios = rows.iter().map(|row| Some(row.long_short_ratio.raw()));
        self.decimals("long_short_ratio", ratios);
    }

    pub(super) fn volatility_indexes(&mut self, rows: &[&VolatilityIndex]) {
        self.decimals("value", rows.iter().map(|row| Some(row.value.raw())));
    }
}
