//! Subject roots: production's, and one for each replay.

use crate::{DurableSubject, live_subject};
use model::{InstrumentId, Kind};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// First token of everything that is replayed beside production.
///
/// It is none of `md`, `mdb` and `mdx`, so no consumer, stream or permission of production matches.
const REPLAY: &str = "replay";

/// What the names of the streams of replays begin with.
const STREAM_PREFIX: &str = "MP_REPLAY_";

/// The longest name of a replay, in bytes.
const NAME_MAX: usize = 32;

/// The name of a subject root of its own, such as `fix-417`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRoot(Arc<str>);

/// A text that names no root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a replay: 1 to {NAME_MAX} of a-z, 0-9, - and _")]
pub struct InvalidReplayRoot(String);

impl ReplayRoot {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where an event of the live lane is published:
    /// `replay.<name>.md.<kind>.<venue>.<market>.<symbol>`.
    #[must_use]
    pub fn live_subject(&self, kind: Kind, id: &InstrumentId) -> String {
        format!("{self}.{}", live_subject(kind, id))
    }

    /// Where blocks are published: `replay.<name>.mdb.<kind>.<venue>.<market>`.
    #[must_use]
    pub fn durable_subject(&self, subject: DurableSubject) -> String {
        format!("{self}.{subject}")
    }

    /// The one stream that keeps the blocks of all kinds.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("{STREAM_PREFIX}{}", self.0)
    }

    /// The subjects that the stream takes.
    #[must_use]
    pub fn stream_subjects(&self) -> String {
        format!("{self}.mdb.>")
    }
}

impl fmt::Display for ReplayRoot {
    /// The first tokens of every subject.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REPLAY}.{}", self.0)
    }
}

impl FromStr for ReplayRoot {
    type Err = InvalidReplayRoot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(plain) {
            return Err(InvalidReplayRoot(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEAD_LETTER_SUBJECTS, STREAMS};
    use model::{Market, Symbol, Venue};

    #[test]
    fn everything_of_a_replay_is_below_its_root() {
        let root: ReplayRoot = "fix-417".parse().unwrap();
        let (venue, market) = (Venue::Binance, Market::Spot);
        let (symbol, name) = (Symbol::new("BTC-USDT").unwrap(), Arc::from("BTCUSDT"));
        let id = InstrumentId { venue, market, symbol, name };
        let live = root.live_subject(Kind::Trade, &id);
        assert_eq!(live, "replay.fix-417.md.trade.binance.spot.BTC-USDT");
        let durable = root.durable_subject(DurableSubject::of(Kind::Trade, &id));
        assert_eq!(durable, "replay.fix-417.mdb.trade.binance.spot");
        assert!(durable.starts_with(root.stream_subjects().trim_end_matches('>')));
        assert_eq!(root.stream(), "MP_REPLAY_fix-417");
        assert!(durable.parse::<DurableSubject>().is_err(), "it is none of production");
    }

    #[test]
    fn no_subject_of_production_begins_as_a_replays() {
        let subjects = STREAMS.iter().map(|stream| stream.subjects);
        for subject in subjects.chain([DEAD_LETTER_SUBJECTS, crate::LIVE_ROOT]) {
            assert_ne!(subject.split('.').next(), Some(REPLAY), "{subject}");
        }
        assert!(STREAMS.iter().all(|stream| !stream.name.starts_with(STREAM_PREFIX)));
    }

    #[test]
    fn a_name_that_would_reach_beyond_its_root_is_refused() {
        for text in ["", "a.b", "*", ">", "A", "a b", "\u{e4}", "x".repeat(33).as_str()] {
            let error = text.parse::<ReplayRoot>().unwrap_err();
            assert_eq!(error, InvalidReplayRoot(text.to_owned()));
        }
        assert_eq!("x".repeat(32).parse::<ReplayRoot>().unwrap().as_str(), "x".repeat(32));
    }
}
