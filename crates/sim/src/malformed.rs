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
    pub fn beside(self, neighbour: &Frame, forms: &Forms) -> Frame {
        let trade = |id: &str, price: &str, qty: &str| {
            forms.trade.replace("{id}", id).replace("{price}", price).replace("{qty}", qty)
        };
        let data = match self {
            Self::Large => forms.padded.replace("{padding}", &"x".repeat(LARGE)),
            Self::Truncated => {
                let (combined, data) = (half(&neighbour.combined), half(&neighbour.data));
                return malformed(neighbour, combined, data);
            }
            Self::WrongTypes => forms.wrong.to_owned(),
            Self::Incomplete => forms.incomplete.to_owned(),
            Self::Deep => "[".repeat(DEEP) + &"]".repeat(DEEP),
            Self::Huge => trade("7", "1e309", "1"),
            Self::Tiny => trade("7", "1", "1e-20"),
            Self::ManyDigits => trade(&"9".repeat(38), "1", "1"),
            Self::Unheard => forms.unheard.to_owned(),
            Self::Binary => {
                return Frame {
                    binary: Some(Bytes::from_static(b"\xff\xfe{\"e\":\"trade\"\xc0\x80}")),
                    ..malformed(neighbour, String::new(), String::new())
                };
            }
        };
        let combined = if forms.is_enveloped {
            format!("{{\"stream\":\"{}\",\"data\":{data}}}", neighbour.stream)
        } else {
            data.clone()
        };
        malformed(neighbour, combined, data)
    }
}

/// What a venue's malformed frames look like. What stands in braces is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Forms {
    /// A trade with `{id}`, `{price}` and `{qty}`.
    pub trade: &'static str,
    /// A trade with nothing but some `{padding}`.
    pub padded: &'static str,
    /// A trade whose members are of other types.
    pub wrong: &'static str,
    /// A trade that lacks members.
    pub incomplete: &'static str,
    /// A frame of a channel that nobody asked for.
    pub unheard: &'static str,
    /// Whether these are put into Binance's envelope.
    pub is_enveloped: bool,
}

/// The first half of a text.
fn half(text: &str) -> String {
    let end = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
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
    pub(crate) fn beside(
        &mut self,
        frame: &Frame,
        forms: &Forms,
        now: Instant,
    ) -> Option<Arc<Frame>> {
        self.until = self.until.filter(|until| now < *until);
        self.until?;
        self.good += 1;
        if self.good < GOOD_TO_ONE {
            return None;
        }
        let flawed = Flaw::of(self.made).beside(frame, forms);
        (self.good, self.made) = (0, self.made + 1);
        Some(Arc::new(flawed))
    }
}

fn malformed(neighbour: &Frame, combined: String, data: String) -> Frame {
    Frame {
        stream: Arc::clone(&neighbour.stream),
        combined: Utf8Bytes::from(combined),
        data: Utf8Bytes::from(data),
        binary: None,
        malformed: true,
        entry: None,
        earlier: Vec::new(),
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
