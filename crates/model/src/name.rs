//! Venues, markets and symbols: the tokens of subjects, paths and keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not one of the values of a closed set.
    #[error("unknown {what} `{found}`, expected one of {expected}")]
    Unknown {
        /// What was asked for, such as `venue`.
        what: &'static str,
        /// What was found.
        found: String,
        /// The accepted values, for the message.
        expected: &'static str,
    },
    /// A symbol that cannot be a subject token.
    #[error("symbol is empty or longer than {} bytes", Symbol::LEN_MAX)]
    SymbolLength,
    /// A symbol with a character that must be percent-encoded.
    #[error("symbol `{0}` has a character that must be percent-encoded")]
    SymbolCharacter(String),
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal,
     { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The token used in subjects, paths, SQL and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = crate::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(crate::NameError::Unknown {
                        what: $what,
                        found: text.to_owned(),
                        expected: $expected,
                    }),
                }
            }
        }
    };
}
pub(crate) use names;

names! {
    /// A trading venue.
    Venue, "venue", "binance, okx, deribit", {
        /// <https://www.binance.com>
        Binance = "binance",
        /// <https://www.okx.com>
        Okx = "okx",
        /// <https://www.deribit.com>
        Deribit = "deribit",
    }
}

names! {
    /// A kind of market on a venue.
    Market, "market", "spot, perp, future, option, index", {
        /// Immediate exchange of base for quote.
        Spot = "spot",
        /// A perpetual swap.
        Perp = "perp",
        /// A dated future.
        Future = "future",
        /// An option.
        Option = "option",
        /// An index: quoted, not traded.
        Index = "index",
    }
}

/// A symbol: `BASE-QUOTE` for spot and perpetuals, the venue's own name for dated contracts.
///
/// UTF-8 without `.`, `*`, `>`, `/`, space or control characters (they are percent-encoded), 1 to
/// 64 bytes: what it takes to be one NATS subject token and one path segment
/// (<https://docs.nats.io/nats-concepts/subjects>).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The longest symbol, in bytes.
    pub const LEN_MAX: usize = 64;

    /// Takes a text that already is a valid symbol.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is empty, too long, or has a character to be percent-encoded.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > Self::LEN_MAX {
            return Err(NameError::SymbolLength);
        }
        if text.chars().any(must_encode) {
            return Err(NameError::SymbolCharacter(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// Makes a symbol of a venue's text, percent-encoding what cannot stand in a subject.
    ///
    /// # Errors
    ///
    /// [`NameError::SymbolLength`] if the result is empty or too long.
    pub fn encode(text: &str) -> Result<Self, NameError> {
        use std::fmt::Write as _;
        let mut encoded = String::with_capacity(text.len());
        for character in text.chars() {
            if must_encode(character) || character == '%' {
                let mut utf8 = [0; 4];
                for byte in character.encode_utf8(&mut utf8).bytes() {
                    write!(encoded, "%{byte:02X}").expect("a string takes every byte");
                }
            } else {
                encoded.push(character);
            }
        }
        Self::new(&encoded)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn must_encode(character: char) -> bool {
    matches!(character, '.' | '*' | '>' | '/')
        || character.is_whitespace()
        || character.is_control()
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for Symbol {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_symbol_is_one_subject_token() {
        assert_eq!(Symbol::encode("BTC-USDT").unwrap().as_str(), "BTC-USDT");
        assert_eq!(Symbol::encode("A.B>C").unwrap().as_str(), "A%2EB%3EC");
        assert_eq!(Symbol::encode("币安人生USDT").unwrap().as_str(), "币安人生USDT");
        assert!(Symbol::new("A B").is_err());
        assert!(Symbol::new("").is_err());
        assert!(Symbol::new(&"X".repeat(65)).is_err());
    }

    #[test]
    fn names_round_trip() {
        for venue in Venue::ALL {
            assert_eq!(venue.as_str().parse(), Ok(*venue));
        }
        for market in Market::ALL {
            assert_eq!(market.as_str().parse(), Ok(*market));
        }
        assert!("Binance".parse::<Venue>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_valid(text in "\\PC{1,12}") {
            if let Ok(symbol) = Symbol::encode(&text) {
                prop_assert_eq!(Symbol::new(symbol.as_str()), Ok(symbol.clone()));
            }
        }
    }
}
