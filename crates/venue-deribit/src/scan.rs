//! The cursor, and how Deribit writes its numbers and objects.

#[cfg(test)]
mod tests;

use model::Level;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use units::{Price, Qty, SCALE};

/// Digits whose value always fits into 64 bits.
const DIGITS_MAX: usize = 19;

/// What a mantissa is multiplied by, by its decimal places.
const TO_SCALE: [i128; SCALE as usize + 1] = {
    let mut table = [1_i128; SCALE as usize + 1];
    let mut places = SCALE as usize;
    while places > 0 {
        table[places - 1] = table[places] * 10;
        places -= 1;
    }
    table
};

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

    /// See [`venue::Cursor::text`].
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.0.text()?).ok()
    }

    /// A string.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b"\"")?;
        self.text().map(Cow::Borrowed)
    }

    /// An integer without sign, leading zeros or exponent.
    #[inline]
    pub(crate) fn integer(&mut self) -> Option<u64> {
        self.0.integer().map(|(value, _)| value)
    }

    /// A time in milliseconds.
    #[inline]
    pub(crate) fn millis(&mut self) -> Option<i64> {
        i64::try_from(self.integer()?).ok()
    }

    /// A number as it is written (<https://www.rfc-editor.org/rfc/rfc8259#section-6>).
    #[inline]
    pub(crate) fn number(&mut self) -> Option<&'a [u8]> {
        let text = self.rest;
        let start = usize::from(text.first() == Some(&b'-'));
        let integer = digits(&text[start..]);
        if integer == 0 || (integer > 1 && text[start] == b'0') {
            return None;
        }
        let mut end = start + integer;
        if text.get(end) == Some(&b'.') {
            end += 1 + some_digits(&text[end + 1..])?;
        }
        if let Some(b'e' | b'E') = text.get(end) {
            end += 1;
            end += usize::from(matches!(text.get(end), Some(b'+' | b'-')));
            end += some_digits(&text[end..])?;
        }
        let (number, rest) = text.split_at(end);
        self.rest = rest;
        Some(number)
    }

    /// A decimal, as a count of 10⁻¹⁸.
    #[inline]
    pub(crate) fn decimal(&mut self) -> Option<i128> {
        let (mut mantissa, mut at, mut point) = (0_u64, 0, None);
        for byte in self.rest {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                }
                b'.' if point.is_none() => point = Some(at),
                _ => break,
            }
            at += 1;
        }
        let integer = point.unwrap_or(at);
        let places = point.map_or(0, |point| at - point - 1);
        let is_number = integer > 0
            && (integer == 1 || self.rest[0] != b'0')
            && (point.is_none() || places > 0)
            && integer + places <= DIGITS_MAX;
        match (self.rest.get(at), TO_SCALE.get(places)) {
            (Some(b',' | b']' | b'}'), Some(scale)) if is_number => {
                self.rest = &self.rest[at..];
                Some(i128::from(mantissa) * scale)
            }
            (Some(_) | None, _) => self.other_decimal(),
        }
    }

    /// A decimal of another form: signed, with an exponent, or very long.
    #[cold]
    fn other_decimal(&mut self) -> Option<i128> {
        Price::parse(self.number()?).ok().map(Price::raw)
    }

    /// An array of `["action",price,quantity]`: what the action deletes has the quantity zero.
    #[inline]
    pub(crate) fn levels(&mut self, scratch: &mut Vec<Level>) -> Option<Vec<Level>> {
        scratch.clear();
        self.expect(b"[")?;
        if self.skip(b"]") {
            return Some(Vec::new());
        }
        loop {
            self.expect(b"[\"")?;
            let deletes = !self.skip(b"new\",") && !self.skip(b"change\",");
            if deletes {
                self.expect(b"delete\",")?;
            }
            let price = Price::from_raw(self.decimal()?);
            self.expect(b",")?;
            let qty = Qty::from_raw(self.decimal()?);
            scratch.push((price, if deletes { Qty::ZERO } else { qty }));
            if self.skip(b"],") {
                continue;
            }
            self.expect(b"]]")?;
            // Exactly as long as it is: books are kept for a while.
            return Some(scratch.as_slice().to_vec());
        }
    }

    /// A value, or `null`.
    #[inline]
    pub(crate) fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.skip(b"null") {
            return Some(None);
        }
        read(self).map(Some)
    }

    /// Steps over a value that is neither an object nor an array.
    #[inline]
    pub(crate) fn skip_value(&mut self) -> Option<()> {
        match self.rest.first()? {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.expect(b"true"),
            b'f' => self.expect(b"false"),
            _ => self.expect(b"null"),
        }
    }

    /// Steps through an object; `member` reads the value of each key.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b"{")?;
        if self.skip(b"}") {
            return Some(());
        }
        loop {
            self.expect(b"\"")?;
            let key = self.text()?;
            self.expect(b":")?;
            member(self, key)?;
            if self.skip(b",") {
                continue;
            }
            return self.expect(b"}");
        }
    }

    /// Steps through an array; `element` reads each value.
    #[inline]
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b"[")?;
        if self.skip(b"]") {
            return Some(());
        }
        loop {
            element(self)?;
            if self.skip(b",") {
                continue;
            }
            return self.expect(b"]");
        }
    }
}

/// How many digits the text begins with.
#[inline]
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[inline]
fn some_digits(text: &[u8]) -> Option<usize> {
    Some(digits(text)).filter(|count| *count > 0)
}

/// Reads an object into the fields of the same names. A known member comes at most once, as the
/// general parser demands it too; others are stepped over.
macro_rules! members {
    ($cursor:expr, $data:ident, { $($key:literal => $field:ident: $read:expr,)* }) => {{
        #[derive(Default)]
        struct Seen { $($field: bool,)* }
        let mut seen = Seen::default();
        $cursor.object(|cursor, key| match key {
            $($key => {
                if std::mem::replace(&mut seen.$field, true) {
                    return None;
                }
                $data.$field = cursor.nullable($read)?;
                Some(())
            })*
            _ => cursor.skip_value(),
        })
    }};
}
pub(crate) use members;
