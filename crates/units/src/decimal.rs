//! Fixed-point decimals: parsing, printing and the few operations that exist.

use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// Decimal places of every decimal type.
pub const SCALE: u32 = 18;

const ONE: i128 = 10_i128.pow(SCALE);

/// Powers of ten by exponent, for scaling a parsed mantissa.
const POW10: [i128; 39] = {
    let mut table = [1_i128; 39];
    let mut i = 1;
    while i < 39 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Digits accepted before the parser gives up: more than any decimal in range can have.
const DIGITS_MAX: usize = 64;

/// Why a text is not a decimal of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseDecimalError {
    /// Nothing to read.
    #[error("empty number")]
    Empty,
    /// A byte that no decimal has at this place.
    #[error("unexpected byte 0x{byte:02x} at offset {offset}")]
    Unexpected {
        /// The byte found.
        byte: u8,
        /// Its offset in the text.
        offset: usize,
    },
    /// Non-zero digits beyond the eighteenth decimal place.
    #[error("more than {SCALE} decimal places")]
    TooPrecise,
    /// Outside ±1.7·10²⁰.
    #[error("number out of range")]
    OutOfRange,
}

/// How to treat digits beyond the eighteenth place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    Refuse,
    RoundHalfEven,
}

macro_rules! decimal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i128);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Wraps a count of 10⁻¹⁸.
            #[must_use]
            pub const fn from_raw(raw: i128) -> Self {
                Self(raw)
            }

            /// The count of 10⁻¹⁸.
            #[must_use]
            pub const fn raw(self) -> i128 {
                self.0
            }

            /// Whether this is exactly zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Reads a decimal, exponent form included, without passing through a float.
            ///
            /// # Errors
            ///
            /// [`ParseDecimalError`] if the text is no number, has more than 18 places that matter,
            /// or is out of range.
            #[inline]
            pub fn parse(text: &[u8]) -> Result<Self, ParseDecimalError> {
                parse(text, Excess::Refuse).map(Self)
            }

            /// Reads a computed value, rounding half to even at the eighteenth place.
            ///
            /// # Errors
            ///
            /// [`ParseDecimalError`] if the text is no number or is out of range.
            pub fn parse_rounded(text: &[u8]) -> Result<Self, ParseDecimalError> {
                parse(text, Excess::RoundHalfEven).map(Self)
            }

            /// The sum, or `None` if it is out of range.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// The difference, or `None` if it is out of range.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Appends the canonical text: no exponent, no trailing zeros.
            pub fn write_to(self, out: &mut Vec<u8>) {
                write(self.0, out);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = Vec::with_capacity(40);
                write(self.0, &mut text);
                f.pad(std::str::from_utf8(&text).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseDecimalError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text.as_bytes())
            }
        }
    };
}

decimal! {
    /// A price, in quote units per base unit.
    Price
}
decimal! {
    /// A quantity, in the unit that the instrument's `qty_unit` names.
    Qty
}
decimal! {
    /// An amount of money: price times quantity, in quote units.
    Notional
}
decimal! {
    /// A dimensionless rate, such as a funding rate.
    Rate
}

impl Price {
    /// The price times a quantity, rounded toward zero at the eighteenth place, or `None` if it is
    /// out of range.
    #[must_use]
    pub fn notional(self, qty: Qty) -> Option<Notional> {
        mul_scaled(self.0, qty.raw()).map(Notional)
    }
}

/// `a · b / 10¹⁸` through a 256-bit intermediate.
fn mul_scaled(a: i128, b: i128) -> Option<i128> {
    let negative = (a < 0) != (b < 0);
    let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
    let scale = ONE.unsigned_abs();
    // Splitting both factors at the scale keeps every partial product below 2¹²⁸:
    // (ah·S + al)(bh·S + bl) / S = ah·bh·S + ah·bl + al·bh + al·bl / S.
    let (ah, al, bh, bl) = (a / scale, a % scale, b / scale, b % scale);
    let total = ah
        .checked_mul(bh)?
        .checked_mul(scale)?
        .checked_add(ah.checked_mul(bl)?)?
        .checked_add(al.checked_mul(bh)?)?
        .checked_add(al * bl / scale)?;
    let magnitude = i128::try_from(total).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

#[inline]
fn parse(text: &[u8], excess: Excess) -> Result<i128, ParseDecimalError> {
    match parse_short(text) {
        Some(raw) => Ok(raw),
        None => parse_any(text, excess),
    }
}

/// The common form: at most 19 digits, no exponent, no sign. Anything else is left to the general
/// parser, which also words the error.
#[inline]
fn parse_short(text: &[u8]) -> Option<i128> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let mut mantissa: u64 = 0;
    let mut point = text.len();
    for (i, &byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == b'.' && point == text.len() && i > 0 {
            point = i;
        } else {
            return None;
        }
    }
    let places = text.len().saturating_sub(point + 1);
    // A text that ends in the point is for the general parser to refuse.
    if point + 1 == text.len() || (point == text.len() && text.len() > 19) {
        return None;
    }
    i128::from(mantissa).checked_mul(POW10[SCALE as usize - places])
}

fn parse_any(text: &[u8], excess: Excess) -> Result<i128, ParseDecimalError> {
    use ParseDecimalError::{Empty, OutOfRange, TooPrecise, Unexpected};
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut digits, mut count) = ([0_u8; DIGITS_MAX], 0_usize);
    let (mut places, mut after_point, mut exponent) = (0_i64, false, 0_i64);
    let (mut seen_digit, mut last_was_digit) = (false, false);
    let mut i = start;
    while i < text.len() {
        let byte = text[i];
        match byte {
            b'0'..=b'9' => {
                seen_digit = true;
                last_was_digit = true;
                places += i64::from(after_point);
                if count > 0 || byte != b'0' {
                    *digits.get_mut(count).ok_or(OutOfRange)? = byte - b'0';
                    count += 1;
                }
            }
            b'.' if !after_point && last_was_digit => {
                after_point = true;
                last_was_digit = false;
            }
            b'e' | b'E' if last_was_digit => {
                exponent = parse_exponent(text, i + 1)?;
                i = text.len();
                continue;
            }
            _ => return Err(Unexpected { byte, offset: i }),
        }
        i += 1;
    }
    if !seen_digit {
        return Err(Empty);
    }
    if !last_was_digit {
        return Err(Unexpected { byte: b'.', offset: text.len() - 1 });
    }
    let digits = &digits[..count];
    let shift = i64::from(SCALE) - places + exponent;
    let magnitude = if shift >= 0 {
        scale_up(digits, shift).ok_or(OutOfRange)?
    } else {
        let keep = i64::try_from(count).expect("at most DIGITS_MAX") + shift;
        let keep = usize::try_from(keep.max(0)).expect("not negative");
        let (kept, rest) = digits.split_at(keep);
        let mut value = scale_up(kept, 0).ok_or(OutOfRange)?;
        // Digits that the shift pushes wholly past the first dropped place count as zeros there.
        let far = i64::try_from(count).expect("at most DIGITS_MAX") + shift < 0;
        if rest.iter().any(|&digit| digit != 0) {
            if excess == Excess::Refuse {
                return Err(TooPrecise);
            }
            if !far && rounds_up(value, rest) {
                value = value.checked_add(1).ok_or(OutOfRange)?;
            }
        }
        value
    };
    Ok(if negative { -magnitude } else { magnitude })
}

fn parse_exponent(text: &[u8], at: usize) -> Result<i64, ParseDecimalError> {
    let (negative, start) = match text.get(at) {
        Some(b'-') => (true, at + 1),
        Some(b'+') => (false, at + 1),
        Some(_) | None => (false, at),
    };
    if start == text.len() {
        return Err(ParseDecimalError::Unexpected { byte: b'e', offset: at - 1 });
    }
    let mut value = 0_i64;
    for (i, &byte) in text.iter().enumerate().skip(start) {
        if !byte.is_ascii_digit() {
            return Err(ParseDecimalError::Unexpected { byte, offset: i });
        }
        // Beyond four digits every number is zero or out of range all the same.
        value = (value * 10 + i64::from(byte - b'0')).min(9_999);
    }
    Ok(if negative { -value } else { value })
}

fn scale_up(digits: &[u8], shift: i64) -> Option<i128> {
    let mut value = 0_i128;
    for &digit in digits {
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(*POW10.get(usize::try_from(shift).ok()?)?)
}

/// Whether `value` followed by the digits `rest` rounds away from zero, half to even.
fn rounds_up(value: i128, rest: &[u8]) -> bool {
    match rest[0] {
        0..=4 => false,
        5 if rest[1..].iter().all(|&digit| digit == 0) => value % 2 == 1,
        _ => true,
    }
}

fn write(raw: i128, out: &mut Vec<u8>) {
    if raw < 0 {
        out.push(b'-');
    }
    let magnitude = raw.unsigned_abs();
    let scale = ONE.unsigned_abs();
    write_u128(magnitude / scale, out);
    let mut fraction = u64::try_from(magnitude % scale).expect("below 10^18");
    if fraction == 0 {
        return;
    }
    let mut digits = [b'0'; SCALE as usize];
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(fraction % 10).expect("one digit");
        fraction /= 10;
    }
    let end = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..end]);
}

fn write_u128(mut value: u128, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 39];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("one digit");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
