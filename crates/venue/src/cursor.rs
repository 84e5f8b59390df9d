//! A cursor over JSON text whose shape is known in advance: what the adapters' scanners share.
//!
//! Every method gives up with `None` at the first byte that differs from what is expected, and
//! accepts only what a JSON parser accepts too. The caller then starts over with one.

#[cfg(test)]
mod tests;

/// Where we are in the text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    /// What is left of it.
    pub rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Steps over exactly this text.
    #[inline]
    pub fn expect<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (found, rest) = self.rest.split_first_chunk()?;
        if found != text {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Steps over this text if it is here.
    #[inline]
    pub fn skip<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        self.expect(text).is_some()
    }

    /// The text up to the next quote, which is stepped over. Printable ASCII without escapes only.
    #[inline]
    pub fn text(&mut self) -> Option<&'a [u8]> {
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
    pub fn integer(&mut self) -> Option<(u64, &'a [u8])> {
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
}

/// The value of eight ASCII digits, computed on all of them at once.
#[inline]
#[must_use]
pub fn eight_digits(text: [u8; 8]) -> Option<u64> {
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
