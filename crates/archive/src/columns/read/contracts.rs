//! What only contracts have, back from columns.

use super::{Columns, Numbers};
use arrow_array::PrimitiveArray;
use arrow_array::types::{Decimal128Type, UInt32Type};
use model::{
    Body, Funding, Greeks, Liquidation, LongShortRatio, Mark, OpenInterest, VolatilityIndex,
};
use std::sync::Arc;
use units::{Notional, Price, Rate};

/// The columns of options' tickers; older files have none of them.
pub(super) struct GreeksColumns<'a> {
    rates: [Option<Numbers<'a, Decimal128Type>>; 8],
    underlying_price: Option<Numbers<'a, Decimal128Type>>,
}

impl GreeksColumns<'_> {
    pub(super) fn get(&self, i: usize) -> Option<Box<Greeks>> {
        let rate = |column: &Option<Numbers<'_, Decimal128Type>>| column.as_ref()?.rate(i);
        let [mark_iv, bid_iv, ask_iv, delta, gamma, vega, theta, rho] =
            self.rates.each_ref().map(rate);
        let underlying_price = self.underlying_price.as_ref().and_then(|column| column.price(i));
        let greeks =
            Greeks { mark_iv, bid_iv, ask_iv, delta, gamma, vega, theta, rho, underlying_price };
        greeks.given()
    }
}

impl Numbers<'_, Decimal128Type> {
    fn rate(&self, i: usize) -> Option<Rate> {
        self.get(i).map(Rate::from_raw)
    }
}

impl<'a> Columns<'a> {
    pub(super) fn greeks(&self) -> Result<GreeksColumns<'a>, String> {
        let column = |name| -> Result<Option<Numbers<'a, Decimal128Type>>, String> {
            let column: Option<&'a PrimitiveArray<Decimal128Type>> = self.added(name)?;
            Ok(column.map(Numbers))
        };
        Ok(GreeksColumns {
            rates: [
                column("mark_iv")?,
                column("bid_iv")?,
                column("ask_iv")?,
                column("delta")?,
                column("gamma")?,
                column("vega")?,
                column("theta")?,
                column("rho")?,
            ],
            underlying_price: column("underlying_price")?,
        })
    }

    pub(super) fn marks(&self) -> Result<Vec<Option<Body>>, String> {
        let (mark, index) = (self.decimals("mark_price")?, self.decimals("index_price")?);
        Ok(self.each(|i| {
            let (mark_price, index_price): (Option<Price>, _) = (mark.price(i), index.price(i));
            mark_price.or(index_price)?;
            Some(Body::Mark(Mark { mark_price, index_price }))
        }))
    }

    pub(super) fn fundings(&self) -> Result<Vec<Option<Body>>, String> {
        let (rate, next) = (self.decimals("funding_rate")?, self.times("next_funding_time")?);
        let hours = self.numbers::<UInt32Type>("interval_hours")?;
        Ok(self.each(|i| {
            Some(Body::Funding(Funding {
                funding_rate: rate.rate(i)?,
                next_funding_time: next.get(i),
                interval_hours: hours.get(i),
            }))
        }))
    }

    pub(super) fn open_interests(&self) -> Result<Vec<Option<Body>>, String> {
        let interest = self.decimals("open_interest")?;
        let value = self.decimals("open_interest_value")?;
        Ok(self.each(|i| {
            Some(Body::OpenInterest(OpenInterest {
                open_interest: interest.qty(i)?,
                open_interest_value: value.get(i).map(Notional::from_raw),
            }))
        }))
    }

    pub(super) fn liquidations(&self) -> Result<Vec<Option<Body>>, String> {
        let (side, ordinal) = (self.texts("side")?, self.numbers::<UInt32Type>("ordinal")?);
        let (price, qty) = (self.decimals("price")?, self.decimals("qty")?);
        let average_price = self.decimals("average_price")?;
        Ok(self.each(|i| {
            Some(Body::Liquidation(Liquidation {
                side: side.name(i)?,
                price: price.price(i)?,
                qty: qty.qty(i)?,
                average_price: average_price.price(i),
                ordinal: ordinal.get(i)?,
            }))
        }))
    }

    pub(super) fn long_short_ratios(&self) -> Result<Vec<Option<Body>>, String> {
        let (ratio_type, period) = (self.texts("ratio_type")?, self.texts("period")?);
        let (long, short) = (self.decimals("long_ratio")?, self.decimals("short_ratio")?);
        let ratio = self.decimals("long_short_ratio")?;
        Ok(self.each(|i| {
            Some(Body::LongShortRatio(LongShortRatio {
                ratio_type: ratio_type.name(i)?,
                period: Arc::from(period.get(i)?),
                long_ratio: long.rate(i),
                short_ratio: short.rate(i),
                long_short_ratio: ratio.rate(i)?,
            }))
        }))
    }

    pub(super) fn volatility_indexes(&self) -> Result<Vec<Option<Body>>, String> {
        let value = self.decimals("value")?;
        Ok(self.each(|i| Some(Body::VolatilityIndex(VolatilityIndex { value: value.rate(i)? }))))
    }
}
