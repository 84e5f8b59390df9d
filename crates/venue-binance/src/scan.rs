//! A cursor over JSON text whose shape is known in advance.
//!
//! Every method gives up with `None` at the first byte that differs from what is expected, and
//! accepts only what a JSON parser accepts too. The caller then starts over with one.

#[cfg(test)]
mod tests;

use model::Level;
use units::{Price, Qty};

/// Decimal places that Binance writes on its spot market; contracts have fewer.
const PLACES: u32 = 8;

/// Integer digits that fit into 64 bits together with [`PLACES`].
const INTEGER_DIGITS_MAX: usize = 11;

const ONE: u64 = 10_u64.pow(PLACES);

/// From [`PLACES`] to the eighteen of the decimal types.
const TO_SCALE: i128 = 10_i128.pow(units::SCALE - PLACES);

/// Where we are in the text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Whether nothing is left.
    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Steps over exactly this text.
    #[inline]
    pub(crate) fn expect<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (found, rest) = self.rest.split_first_chunk()?;
        if found != text {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Steps over this text if it is here.
    #[inline]
    pub(crate) fn skip<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        self.expect(text).is_some()
    }

    /// The text up to the next quote, which is stepped over. Printable ASCII without escapes only.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'"', self.rest)?;
        let (text, rest) = self.rest.split_at(end);
        let is_plain = |byte: u8| byte.wrapping_sub(b' ') < 0x5f && byte != b'\\';
        // No early exit, so that the compiler can look at many bytes at once.
        if !text.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
            return None;
        }
        self.rest = &rest[1..];
        Some(text)
    }

    /// An integer without sign, leading zeros or exponent, and its digits.
    #[inline]
    pub(crate) fn integer(&mut self) -> Option<(u64, &'a [u8])> {
        let start = self.rest;
        let mut rest = start;
        let mut value = 0_u64;
        // Ids and times have ten to thirteen digits: the first eight go at once.
        if let Some((eight, tail)) = rest.split_first_chunk()
            && let Some(digits) = eight_digits(*eight)
        {
            (value, rest) = (digits, tail);
        }
        while let [byte, tail @ ..] = rest
            && byte.is_ascii_digit()
        {
            value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            rest = tail;
        }
        let digits = &start[..start.len() - rest.len()];
        // Nineteen digits always fit.
        if digits.is_empty() || digits.len() > 19 || (digits.len() > 1 && digits[0] == b'0') {
            return None;
        }
        self.rest = rest;
        Some((value, digits))
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

/// The value of [`PLACES`] ASCII digits, computed on all of them at once.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let word = u64::from_le_bytes(text);
    // A digit keeps its high half 3 even after six is added; `:` and beyond do not.
    let sixes = word.wrapping_add(0x0606_0606_0606_0606);
    if word & HIGH != ZEROS || sixes & HIGH != ZEROS {
        return None;
    }
    let digits = word - ZEROS;
    let pairs = digits * 10 + (digits >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some(low.wrapping_add(high) >> 32)
}
