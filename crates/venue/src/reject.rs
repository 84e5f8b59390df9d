//! Why a frame was refused.

use std::fmt;

/// Bytes of explanation: a hostile frame is quoted, not copied.
const DETAIL_BYTES_MAX: usize = 200;

/// The reasons, as a closed set that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// Not well-formed JSON, cut off for instance.
    Malformed,
    /// A message type that nobody asked for.
    UnknownType,
    /// A request path that nobody asked for.
    UnknownPath,
    /// A field is absent.
    MissingField,
    /// A field is of another type than documented, or written twice.
    WrongType,
    /// A price or quantity is no decimal, or too precise.
    BadDecimal,
    /// A number is too large for its meaning.
    OutOfRange,
    /// An instrument name that cannot be a symbol.
    BadSymbol,
    /// A book update that carries nothing by which it could be checked.
    Unverifiable,
}

impl Reject {
    /// Every reason, in order.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::UnknownType,
        Self::UnknownPath,
        Self::MissingField,
        Self::WrongType,
        Self::BadDecimal,
        Self::OutOfRange,
        Self::BadSymbol,
        Self::Unverifiable,
    ];

    /// The name used in metrics and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::UnknownPath => "unknown_path",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::BadDecimal => "bad_decimal",
            Self::OutOfRange => "out_of_range",
            Self::BadSymbol => "bad_symbol",
            Self::Unverifiable => "unverifiable",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A frame or answer that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct ParseError {
    /// The reason, to count by.
    pub reason: Reject,
    /// What exactly, for a person.
    pub detail: String,
}

impl ParseError {
    /// An error with its explanation, which is cut off at a length that a log line bears.
    #[must_use]
    pub fn new(reason: Reject, detail: impl fmt::Display) -> Self {
        let mut detail = detail.to_string();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self { reason, detail }
    }
}
