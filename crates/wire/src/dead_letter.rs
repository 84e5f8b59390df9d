//! Dead letters: rows that could not be stored, each with what is known about it.
//!
//! The payload is the row as it was; everything else is in the headers. Their names are part of the
//! contract.

use model::{Kind, NameError};
use std::fmt;
use std::str::FromStr;

/// First token of the dead letters' subjects.
const DEAD_ROOT: &str = "mdx";

/// Name of the stream that keeps the dead letters of all kinds.
pub const DEAD_LETTERS: &str = "MP_DEAD_LETTER";

/// The subjects of that stream: `mdx.<kind>`.
pub const DEAD_LETTER_SUBJECTS: &str = "mdx.*";

/// Longest explanation that is kept, in bytes; a header must stay small.
const DETAIL_MAX: usize = 1_000;

/// Where the dead letters of a kind are published.
#[must_use]
pub fn dead_letter_subject(kind: Kind) -> String {
    format!("{DEAD_ROOT}.{kind}")
}

mod name {
    pub(super) const REASON: &str = "Mp-Reason";
    pub(super) const DETAIL: &str = "Mp-Detail";
    pub(super) const STREAM: &str = "Mp-Stream";
    pub(super) const STREAM_SEQ: &str = "Mp-Stream-Seq";
    pub(super) const STORED_AT: &str = "Mp-Stored-At";
    pub(super) const SUBJECT: &str = "Mp-Subject";
    pub(super) const BLOCK: &str = "Mp-Block";
    pub(super) const ROW: &str = "Mp-Row";
    pub(super) const TIME: &str = "Mp-Time";
}

/// Why a row was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is no event that this version can read.
    Unreadable,
    /// It is an event of another kind than its stream's.
    Kind,
    /// It has a value that no column can hold.
    Value,
    /// The store refused it.
    Refused,
}

impl Reason {
    /// All reasons.
    pub const ALL: &[Self] = &[Self::Unreadable, Self::Kind, Self::Value, Self::Refused];

    /// Its name, as in headers, metrics and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Kind => "kind",
            Self::Value => "value",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of unreadable, kind, value, refused")]
pub struct InvalidReason(String);

impl FromStr for Reason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|reason| reason.as_str() == text);
        known.ok_or_else(|| InvalidReason(text.to_owned()))
    }
}

/// Where a row was, and why it is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The kind of the stream it came through, and so of the table it was meant for.
    pub kind: Kind,
    /// Why it was not stored.
    pub reason: Reason,
    /// The same in words.
    pub detail: String,
    /// Where its block was published.
    pub subject: String,
    /// Its block's place in the stream.
    pub stream_seq: u64,
    /// When the stream stored the block, in nanoseconds since the Unix epoch. With the place it
    /// tells blocks apart also after a server that lost data has used the place again.
    pub stored_at: i64,
    /// Its block's `Nats-Msg-Id`; empty if it had none.
    pub block: String,
    /// Its place in the block, from 0.
    pub row: u64,
    /// When it was set aside, in nanoseconds since the Unix epoch.
    pub time: i64,
}

/// Headers that are not those of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeadLetter {
    /// The subject is not `mdx.<kind>`.
    #[error("subject `{0}` is not of the form mdx.<kind>")]
    Subject(String),
    /// The subject's kind is unknown.
    #[error(transparent)]
    Kind(#[from] NameError),
    /// A header is missing or cannot be read.
    #[error("header {0} is missing or unreadable")]
    Header(&'static str),
}

impl DeadLetter {
    /// Where it is published.
    #[must_use]
    pub fn subject(&self) -> String {
        dead_letter_subject(self.kind)
    }

    /// Names the row: unique for ever, and the same whenever its block is delivered.
    #[must_use]
    pub fn msg_id(&self) -> String {
        let stream = crate::stream(self.kind).name;
        format!("{stream}/{}/{}/{}", self.stream_seq, self.stored_at, self.row)
    }

    /// The headers, [`crate::header::MSG_ID`] among them.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            (crate::header::MSG_ID, self.msg_id()),
            (name::REASON, self.reason.to_string()),
            (name::DETAIL, header_text(&self.detail)),
            (name::STREAM, crate::stream(self.kind).name.to_owned()),
            (name::STREAM_SEQ, self.stream_seq.to_string()),
            (name::STORED_AT, self.stored_at.to_string()),
            (name::SUBJECT, header_text(&self.subject)),
            (name::BLOCK, header_text(&self.block)),
            (name::ROW, self.row.to_string()),
            (name::TIME, self.time.to_string()),
        ]
    }

    /// Reads what [`DeadLetter::headers`] wrote.
    ///
    /// # Errors
    ///
    /// [`InvalidDeadLetter`] if the message is none of storage's.
    pub fn read<'a>(
        subject: &str,
        header: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Self, InvalidDeadLetter> {
        let kind = subject.strip_prefix(DEAD_ROOT).and_then(|rest| rest.strip_prefix('.'));
        let kind = kind.ok_or_else(|| InvalidDeadLetter::Subject(subject.to_owned()))?.parse()?;
        let text = |name| header(name).ok_or(InvalidDeadLetter::Header(name));
        Ok(Self {
            kind,
            reason: number(name::REASON, text(name::REASON)?)?,
            detail: text(name::DETAIL)?.to_owned(),
            subject: text(name::SUBJECT)?.to_owned(),
            stream_seq: number(name::STREAM_SEQ, text(name::STREAM_SEQ)?)?,
            stored_at: number(name::STORED_AT, text(name::STORED_AT)?)?,
            // Empty values are dropped by some clients.
            block: header(name::BLOCK).unwrap_or_default().to_owned(),
            row: number(name::ROW, text(name::ROW)?)?,
            time: number(name::TIME, text(name::TIME)?)?,
        })
    }
}

fn number<T: FromStr>(name: &'static str, text: &str) -> Result<T, InvalidDeadLetter> {
    text.parse().map_err(|_| InvalidDeadLetter::Header(name))
}

/// The text as it can stand in a header: one line, not too long.
fn header_text(text: &str) -> String {
    let mut end = text.len().min(DETAIL_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            kind: Kind::Trade,
            reason: Reason::Refused,
            detail: "seq must not be 50".to_owned(),
            subject: "mdb.trade.binance.spot".to_owned(),
            stream_seq: 17,
            stored_at: 1_778_284_800_000_000_000,
            block: "collector/1/trade.binance.spot/3".to_owned(),
            row: 4,
            time: 1_778_284_801_000_000_000,
        }
    }

    fn read(letter: &DeadLetter) -> Result<DeadLetter, InvalidDeadLetter> {
        let headers = letter.headers();
        DeadLetter::read(&letter.subject(), |name| {
            headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
        })
    }

    #[test]
    fn a_letter_is_named_by_stream_place_time_and_row() {
        assert_eq!(letter().subject(), "mdx.trade");
        assert_eq!(letter().msg_id(), "MP_TRADE/17/1778284800000000000/4");
        let again = DeadLetter { stored_at: 5, ..letter() };
        assert_ne!(again.msg_id(), letter().msg_id(), "the place was used again");
    }

    #[test]
    fn what_is_no_dead_letter_is_refused_with_the_header_that_is_wrong() {
        let none = |_: &'static str| None;
        for subject in ["mdb.trade.binance.spot", "mdx", "mdx.x", ""] {
            assert!(DeadLetter::read(subject, none).is_err(), "{subject}");
        }
        let missing = DeadLetter::read("mdx.trade", none);
        assert_eq!(missing, Err(InvalidDeadLetter::Header("Mp-Reason")));
    }

    proptest! {
        #[test]
        fn letters_round_trip_with_any_explanation(
            detail in "\\PC{0,60}", block in "[a-z0-9/.]{0,40}", stream_seq: u64, stored_at: i64,
            row: u64, reason in 0..Reason::ALL.len(),
        ) {
            let reason = Reason::ALL[reason];
            let letter = DeadLetter { reason, detail, block, stream_seq, stored_at, row, ..letter() };
            prop_assert_eq!(read(&letter), Ok(letter));
        }

        #[test]
        fn a_header_never_breaks_its_line(detail in "[\\r\\n\\u{0}-\\u{ffff}]{0,1200}") {
            let text = header_text(&detail);
            prop_assert!(!text.contains(char::is_control));
            prop_assert!(text.len() <= DETAIL_MAX);
        }
    }
}
