//! Names one request in the answers and logs of every service it passes.

use std::cell::RefCell;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the id, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a client.
const ID_BYTES_MAX: usize = 128;

/// Random bytes of one id.
const RANDOM_BYTES: usize = 10;

/// Ids for which the operating system is asked at a time: asking takes longer than all the rest.
const DRAWN_AT_ONCE: usize = 64;

/// Length of a UUID as text.
const UUID_CHARS: usize = 36;

/// The id of one request: letters, digits, `-`, `_` and `.` only, at most 128 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the client's id if it is harmless in a log line, else makes one.
    pub(crate) fn of(headers: &HeaderMap, now_ns: i64) -> RequestId {
        match headers.get(X_REQUEST_ID) {
            Some(value) if is_harmless(value.as_bytes()) => RequestId(value.clone()),
            _ => RequestId::draw(now_ns),
        }
    }

    /// Makes a UUID of version 7 (RFC 9562 §5.7): sortable by time, unique by 74 random bits.
    fn draw(now_ns: i64) -> RequestId {
        let random = random().unwrap_or_else(|| {
            // An id only has to be distinguishable: the nanoseconds do for that.
            let mut random = [0; RANDOM_BYTES];
            random[..8].copy_from_slice(&now_ns.to_be_bytes());
            random
        });
        let milliseconds = u64::try_from(now_ns / 1_000_000).unwrap_or_default();
        let tail = u128::from_be_bytes([
            0, 0, 0, 0, 0, 0, random[0], random[1], random[2], random[3], random[4], random[5],
            random[6], random[7], random[8], random[9],
        ]);
        let version = 7_u128 << 76;
        let variant = 0b10_u128 << 62;
        let random = tail & !(0xf << 76) & !(0b11 << 62);
        let bits = u128::from(milliseconds) << 80 | version | variant | random;
        let value = HeaderValue::from_bytes(&uuid(bits));
        RequestId(value.expect("hexadecimal digits fit a header"))
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the header's value.
    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Random bytes of this thread that no id has used yet.
struct Drawn {
    bytes: [u8; RANDOM_BYTES * DRAWN_AT_ONCE],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const {
        let bytes = [0; RANDOM_BYTES * DRAWN_AT_ONCE];
        RefCell::new(Drawn { bytes, used: RANDOM_BYTES * DRAWN_AT_ONCE })
    };
}

/// Takes the random bytes of one id; `None` if the operating system gives none.
fn random() -> Option<[u8; RANDOM_BYTES]> {
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.used >= drawn.bytes.len() {
            getrandom::fill(&mut drawn.bytes).ok()?;
            drawn.used = 0;
        }
        let next = drawn.bytes[drawn.used..].first_chunk().copied();
        drawn.used += RANDOM_BYTES;
        next
    })
}

/// Writes the digits of a UUID in groups of 8, 4, 4, 4 and 12 (RFC 9562 §4).
fn uuid(bits: u128) -> [u8; UUID_CHARS] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = [b'-'; UUID_CHARS];
    let mut at = 0;
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        at += usize::from(matches!(index, 4 | 6 | 8 | 10));
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 0xf)];
        at += 2;
    }
    text
}

fn is_harmless(text: &[u8]) -> bool {
    let permitted = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.iter().all(permitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: i64 = 1_723_161_255_342_000_000;

    fn of(text: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(text).unwrap());
        RequestId::of(&headers, NOW_NS)
    }

    #[test]
    fn a_harmless_id_is_kept_and_any_other_replaced() {
        assert_eq!(of("trace-1.a_B").as_str(), "trace-1.a_B");
        for odd in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_ne!(of(odd).as_str(), odd);
        }
    }

    #[test]
    fn a_made_id_is_a_version_7_uuid() {
        let id = RequestId::of(&HeaderMap::new(), NOW_NS).to_string();
        let fields: Vec<&str> = id.split('-').collect();
        assert_eq!(fields.iter().map(|field| field.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(fields[..2].concat(), format!("{:012x}", NOW_NS / 1_000_000));
        assert!(fields[2].starts_with('7'));
        assert!(fields[3].starts_with(['8', '9', 'a', 'b']));
        assert_ne!(id, RequestId::of(&HeaderMap::new(), NOW_NS).to_string());
    }

    #[test]
    fn digits_stand_where_a_uuid_has_them() {
        let text = uuid(0x0123_4567_89ab_cdef_0011_2233_4455_66ff);
        assert_eq!(&text, b"01234567-89ab-cdef-0011-2233445566ff");
    }

    #[test]
    fn no_two_ids_are_alike_however_many_are_drawn_at_once() {
        let draw = || RequestId::of(&HeaderMap::new(), NOW_NS).to_string();
        let ids: std::collections::BTreeSet<String> =
            (0..3 * DRAWN_AT_ONCE).map(|_| draw()).collect();
        assert_eq!(ids.len(), 3 * DRAWN_AT_ONCE);
    }
}
