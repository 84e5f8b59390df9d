//! The cursor, and how Binance writes its numbers.

#[cfg(test)]
mod tests;

use model::Level;
use std::ops::{Deref, DerefMut};
use units::{Price, Qty};
use venue::eight_digits;

/// Decimal places that Binance writes on its spot market; contracts have fewer.
const PLACES: u32 = 8;

/// Integer digits that fit into 64 bits together with [`PLACES`].
const INTEGER_DIGITS_MAX: usize = 11;

const ONE: u64 = 10_u64.pow(PLACES);

/// From [`PLACES`] to the eighteen of the decimal types.
const TO_SCALE: i128 = 10_i128.pow(units::SCALE - PLACES);

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

    /// `true` or `false`.
    #[inline]
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        if self.skip(b"true") {
            return Some(true);
        }
        self.expect(b"false").map(|()| false)
    }

    /// A quoted decimal without sign or exponent, as a count of 10⁻¹⁸.
    #[inline]
    pub(crate) fn decimal(&mut self) -> Option<i128> {
        self.expect(b"\"")?;
        let mut mantissa = 0_u64;
        let mut at = 0;
        // One digit more than fits shows that it does not.
        for byte in self.rest.iter().take(INTEGER_DIGITS_MAX + 1) {
            if !byte.is_ascii_digit() {
                break;
            }
            mantissa = mantissa * 10 + u64::from(byte - b'0');
            at += 1;
        }
        let whole = (1..=INTEGER_DIGITS_MAX).contains(&at);
        match self.rest.get(at) {
            Some(b'.') if whole => {}
            Some(b'"') if whole => {
                self.rest = &self.rest[at + 1..];
                return Some(i128::from(mantissa) * i128::from(ONE) * TO_SCALE);
            }
            Some(_) | None => return self.other_decimal(),
        }
        let behind = &self.rest[at + 1..];
        if let Some((places, rest)) = behind.split_first_chunk()
            && let (Some(b'"'), Some(fraction)) = (rest.first(), eight_digits(*places))
        {
            self.rest = &rest[1..];
            return Some(i128::from(mantissa * ONE + fraction) * TO_SCALE);
        }
        self.shorter_decimal(mantissa, behind)
    }

    /// A decimal with fewer than [`PLACES`] places, as contracts have them, from behind its point.
    #[inline]
    fn shorter_decimal(&mut self, mantissa: u64, behind: &'a [u8]) -> Option<i128> {
        let mut fraction = 0_u64;
        let mut one = ONE;
        for (at, byte) in behind.iter().take(PLACES as usize).enumerate() {
            if *byte == b'"' && at > 0 {
                self.rest = &behind[at + 1..];
                return Some(i128::from(mantissa * ONE + fraction * one) * TO_SCALE);
            }
            if !byte.is_ascii_digit() {
                break;
            }
            fraction = fraction * 10 + u64::from(byte - b'0');
            one /= 10;
        }
        self.other_decimal()
    }

    /// A decimal of another form, from behind its opening quote.
    #[cold]
    fn other_decimal(&mut self) -> Option<i128> {
        let end = memchr::memchr(b'"', self.rest)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Some(Price::parse(text).ok()?.raw())
    }

    /// An array of `["price","quantity"]`, into `levels`.
    #[inline]
    pub(crate) fn levels(&mut self, levels: &mut Vec<Level>) -> Option<()> {
        levels.clear();
        self.expect(b"[")?;
        if self.skip(b"]") {
            return Some(());
        }
        loop {
            self.expect(b"[")?;
            let price = Price::from_raw(self.decimal()?);
            self.expect(b",")?;
            let qty = Qty::from_raw(self.decimal()?);
            levels.push((price, qty));
            if self.skip(b"],") {
                continue;
            }
            return self.expect(b"]]");
        }
    }
}
