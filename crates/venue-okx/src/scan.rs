//! The cursor, and how OKX writes its numbers.

#[cfg(test)]
mod tests;

use crate::contract::{ContractSize, POW10};
use model::Level;
use std::ops::{Deref, DerefMut};
use units::{Price, Qty, SCALE, UnixNanos};

/// Digits whose number always fits into 64 bits.
const DIGITS_MAX: usize = 19;

/// Where we are in the text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a>(venue::Cursor<'a>);

impl<'a> Deref for Cursor<'a> {
    type Target = venue::Cursor<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Cursor<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self(venue::Cursor::new(text))
    }

    /// An integer that ends a quoted text, and its digits; the quote is stepped over.
    #[inline]
    pub(crate) fn quoted_integer(&mut self) -> Option<(u64, &'a [u8])> {
        let integer = self.integer()?;
        self.expect(b"\"")?;
        Some(integer)
    }

    /// Milliseconds that end a quoted text.
    #[inline]
    pub(crate) fn quoted_millis(&mut self) -> Option<UnixNanos> {
        UnixNanos::from_millis(i64::try_from(self.quoted_integer()?.0).ok()?)
    }

    /// A price that ends a quoted text.
    #[inline]
    pub(crate) fn price(&mut self) -> Option<Price> {
        let (mantissa, places) = self.decimal()?;
        Some(Price::from_raw(i128::from(mantissa) * POW10[(SCALE - places) as usize]))
    }

    /// A number of contracts that ends a quoted text, multiplied out.
    #[inline]
    pub(crate) fn qty(&mut self, size: ContractSize) -> Option<Qty> {
        let (mantissa, places) = self.decimal()?;
        size.of(mantissa, places)
    }

    /// A decimal without sign or exponent that ends a quoted text: its digits as a number, and how
    /// many of them (18 at most) stand behind the point.
    #[inline]
    fn decimal(&mut self) -> Option<(u64, u32)> {
        let mut mantissa = 0_u64;
        let mut point = None;
        for (at, byte) in self.rest.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            } else if *byte == b'.' && point.is_none() && at > 0 {
                point = Some(at);
            } else if *byte == b'"' && at > 0 {
                let places = point.map_or(0, |point| at - point - 1);
                let digits = at - usize::from(point.is_some());
                if digits > DIGITS_MAX || (point.is_some() && places == 0) {
                    return None;
                }
                self.rest = &self.rest[at + 1..];
                return Some((mantissa, u32::try_from(places).ok()?));
            } else {
                return None;
            }
        }
        None
    }

    /// One level: `["price","quantity","0","orders"]`.
    #[inline]
    pub(crate) fn level(&mut self, size: ContractSize) -> Option<Level> {
        self.expect(br#"[""#)?;
        let price = self.price()?;
        self.expect(br#",""#)?;
        let qty = self.qty(size)?;
        // What was once the liquidated quantity, and the number of orders.
        self.expect(br#",""#)?;
        self.digits()?;
        self.expect(br#",""#)?;
        self.digits()?;
        self.expect(b"]")?;
        Some((price, qty))
    }

    /// An array of levels, into `levels`.
    #[inline]
    pub(crate) fn levels(&mut self, size: ContractSize, levels: &mut Vec<Level>) -> Option<()> {
        levels.clear();
        self.expect(b"[")?;
        if self.skip(b"]") {
            return Some(());
        }
        loop {
            levels.push(self.level(size)?);
            if self.skip(b",") {
                continue;
            }
            return self.expect(b"]");
        }
    }

    /// Steps over digits and the quote behind them.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        self.expect(b"\"")
    }
}
