//! Names in the queries of requests.

use crate::{ParseError, Reject};
use std::fmt::Write as _;

/// Encodes what is not unreserved in a query (<https://www.rfc-editor.org/rfc/rfc3986#section-2.3>):
/// venues list names in Chinese characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes every byte");
        }
    }
    encoded
}

/// Reads the value of a key from the path and query of a request.
///
/// # Errors
///
/// [`Reject::MissingField`] if the key is not there, [`Reject::BadSymbol`] if its value is not
/// encoded text.
pub fn query_value(path: &str, key: &'static str) -> Result<String, ParseError> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let missing = || ParseError::new(Reject::MissingField, format_args!("field `{key}`"));
    percent_decode(value.ok_or_else(missing)?)
}

fn percent_decode(text: &str) -> Result<String, ParseError> {
    let bad = || ParseError::new(Reject::BadSymbol, format_args!("{text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'%' {
            let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(bad)?;
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
            rest = tail;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let path = "/a?mysymbol=X&symbol=%E5%B8%81-USDT&symbols=Y";
        assert_eq!(query_value(path, "symbol").unwrap(), "币-USDT");
        assert_eq!(query_value("/a", "symbol").unwrap_err().reason, Reject::MissingField);
        for bad in ["%4", "%zz", "%ff", "%"] {
            let error = query_value(&format!("/a?symbol={bad}"), "symbol").unwrap_err();
            assert_eq!(error.reason, Reject::BadSymbol, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(name: String) {
            let path = format!("/a?b=1&symbol={}", percent_encode(&name));
            prop_assert!(path.is_ascii());
            prop_assert_eq!(query_value(&path, "symbol"), Ok(name));
        }
    }
}
