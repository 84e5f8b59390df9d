//! Exact decimals and nanosecond time: the values everything else is made of.
//!
//! A decimal is an `i128` that counts 10⁻¹⁸, the layout of ClickHouse's and Parquet's
//! `Decimal(38, 18)`, so no layer ever converts one.
//! The types are newtypes that do not interconvert: a [`Price`] is never taken for a [`Qty`].
//!
//! | exists | deliberately absent |
//! |---|---|
//! | parse from text, canonical print | `From<f64>`, any float |
//! | `checked_add`, `checked_sub`, comparison | `Mul`, `Div` operators |
//! | [`Price::notional`] through 256 bits | silent rounding of prices and quantities |

mod decimal;
mod time;

pub use decimal::{Notional, ParseDecimalError, Price, Qty, Rate, SCALE};
pub use time::UnixNanos;
