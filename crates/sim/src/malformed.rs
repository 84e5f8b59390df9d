//! Frames that are none: what a venue must never send, and a client must survive.

use crate::frame::Frame;
use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use tokio::time::Instant;

/// How many good frames there are to one that is malformed.
const GOOD_TO_ONE: u32 = 100;

/// Bytes of the largest.
const LARGE: usize = 10 << 20;

/// Brackets of the deepest.
const DEEP: usize = 10_000;

/// Ways in which a frame can be malformed, each of which the client must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Ten megabytes of it.
    Large,
    /// The end is missing.
    Truncated,
    /// Every member is of another type than documented.
    WrongTypes,
    /// Members are missing.
    Incomplete,
    /// Thousands of brackets.
    Deep,
    /// A price beyond every number.
    Huge,
    /// A quantity of more places than a decimal has.
    Tiny,
    /// An id of 38 digits.
    ManyDigits,
    /// A channel that nobody asked for.
    Unheard,
    /// A binary message that is no UTF-8 either.
    Binary,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Large,
        Self::Truncated,
        Self::WrongTypes,
        Self::Incomplete,
        Self::Deep,
        Self::Huge,
        Self::Tiny,
        Self::ManyDigits,
        Self::Unheard,
        Self::Binary,
    ];

    /// The flaw of the malformed frame of this number: the large one once, the others in turn.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let [large, others @ ..] = Self::ALL;
        if number == 0 {
            return large;
        }
        let at = (number - 1) % others.len() as u64;
        others[usize::try_from(at).unwrap_or(0)]
    }

    /// A frame with this flaw, sent to whoever gets the one beside it.
    #[must_use]
    pub fn beside(self, neighbour: &Frame) -> Frame {
        let trade = |t: &str, p: &str, q: &str| {
            format!(
                r#"{{"e":"trade","E":1,"s":"BTCUSDT","t":{t},"p":"{p}","q":"{q}","T":1,"m":true,"M":true}}"#
            )
        };
        let data = match self {
            Self::Large => format!(r#"{{"e":"trade","E":1,"padding":"{}"}}"#, "x".repeat(LARGE)),
            Self::Truncated => {
                let good = neighbour.data.as_str();
                let half = (0..=good.len() / 2).rev().find(|at| good.is_char_boundary(*at));
                return malformed(neighbour, good[..half.unwrap_or(0)].to_owned(), false);
            }
            Self::WrongTypes => {
                r#"{"e":"trade","E":"now","s":[],"t":"seven","p":1,"q":{},"T":true,"m":"yes"}"#
                    .to_owned()
            }
            Self::Incomplete => r#"{"e":"trade","E":1,"s":"BTCUSDT"}"#.to_owned(),
            Self::Deep => "[".repeat(DEEP) + &"]".repeat(DEEP),
            Self::Huge => trade("7", "1e309", "1"),
            Self::Tiny => trade("7", "1", "1e-20"),
            Self::ManyDigits => trade(&"9".repeat(38), "1", "1"),
            Self::Unheard => r#"{"e":"unheardOf","E":1,"s":"BTCUSDT"}"#.to_owned(),
            Self::Binary => {
                return Frame {
                    binary: Some(Bytes::from_static(b"\xff\xfe{\"e\":\"trade\"\xc0\x80}")),
                    ..malformed(neighbour, String::new(), false)
                };
            }
        };
        malformed(neighbour, data, true)
    }
}

/// Puts malformed frames between good ones for a while.
#[derive(Debug, Default)]
pub(crate) struct Malformed {
    until: Option<Instant>,
    /// Good frames since the last one.
    good: u32,
    /// Made since this began.
    made: u64,
    /// Sent, to all clients together.
    pub(crate) sent: u64,
}

impl Malformed {
    /// Begins at once.
    pub(crate) fn begin(&mut self, until: Instant) {
        *self = Self { until: Some(until), good: GOOD_TO_ONE, made: 0, sent: self.sent };
    }

    /// The malformed frame that follows this one, if its turn has come.
    pub(crate) fn beside(&mut self, frame: &Frame, now: Instant) -> Option<Arc<Frame>> {
        self.until = self.until.filter(|until| now < *until);
        self.until?;
        self.good += 1;
        if self.good < GOOD_TO_ONE {
            return None;
        }
        let flawed = Flaw::of(self.made).beside(frame);
        (self.good, self.made) = (0, self.made + 1);
        Some(Arc::new(flawed))
    }
}

fn malformed(neighbour: &Frame, data: String, wrapped: bool) -> Frame {
    let stream = &neighbour.stream;
    let end = if wrapped { "}" } else { "" };
    let combined = format!("{{\"stream\":\"{stream}\",\"data\":{data}{end}");
    Frame {
        stream: Arc::clone(&neighbour.stream),
        combined: Utf8Bytes::from(combined),
        data: Utf8Bytes::from(data),
        binary: None,
        malformed: true,
        entry: None,
        depth: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_one_comes_once_and_the_others_in_turn() {
        let flaws: Vec<Flaw> = (0..28).map(Flaw::of).collect();
        assert_eq!(flaws[..10], Flaw::ALL);
        assert_eq!(flaws[10..19], Flaw::ALL[1..]);
        assert_eq!(flaws.iter().filter(|flaw| **flaw == Flaw::Large).count(), 1);
    }
}
