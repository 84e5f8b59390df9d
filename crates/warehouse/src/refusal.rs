//! What the server says when it refuses, and inserts that it refuses because of their rows.

use crate::Error;

/// Codes of exceptions that a row causes and no waiting ends, with their names in the server.
///
/// Source: `src/Common/ErrorCodes.cpp` of ClickHouse 26.7. Views that hang on a table run within its
/// inserts, so what they throw counts too.
const OF_ROWS: &[u32] = &[
    153, // ILLEGAL_DIVISION
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    407, // DECIMAL_OVERFLOW
    469, // VIOLATED_CONSTRAINT
    691, // UNKNOWN_ELEMENT_OF_ENUM
];

/// `UNKNOWN_TABLE`.
pub(crate) const UNKNOWN_TABLE: u32 = 60;
/// `NO_SUCH_DATA_PART`.
pub(crate) const NO_SUCH_PART: u32 = 232;
/// `ACCESS_DENIED`.
pub(crate) const ACCESS_DENIED: u32 = 497;

impl Error {
    /// Whether the server refused with one of these exceptions.
    pub(crate) fn is_one_of(&self, codes: &[u32]) -> bool {
        self.exception().is_some_and(|(code, _)| codes.contains(&code))
    }

    /// Whether the server refused rows for what is in them: it will refuse them again, and take
    /// others.
    #[must_use]
    pub fn is_of_rows(&self) -> bool {
        self.is_one_of(OF_ROWS)
    }

    /// The server's exception, if it refused: its code and its words, such as `Code: 62.
    /// DB::Exception: Syntax error: …`.
    #[must_use]
    pub fn exception(&self) -> Option<(u32, &str)> {
        let Self::Refused { source, .. } = self else { return None };
        let clickhouse::error::Error::BadResponse(text) = &**source else { return None };
        Some((code(text)?, text.as_str()))
    }
}

/// The number in `Code: 469. DB::Exception: …`.
pub(crate) fn code(text: &str) -> Option<u32> {
    let digits = text.split_once("Code: ")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        let source = Box::new(clickhouse::error::Error::BadResponse(text.to_owned()));
        Error::Refused { action: "insert rows", source }
    }

    #[test]
    fn a_violated_constraint_is_of_the_rows_and_a_missing_table_is_not() {
        let text = "Code: 469. DB::Exception: Constraint `few` for table is violated";
        assert!(refused(text).is_of_rows());
        for text in ["Code: 60. DB::Exception: Table does not exist", "Code: x", "", "46"] {
            assert!(!refused(text).is_of_rows(), "{text}");
        }
    }
}
