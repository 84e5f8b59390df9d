//! What a venue tells only when it is asked.

use crate::RestRequest;
use crate::query::percent_encode;
use model::{InstrumentId, Kind};
use std::time::Duration;

/// What stands for the instrument's name in a path.
const INSTRUMENT: &str = "{instrument}";

/// A REST call to make again and again, for each instrument.
///
/// Its answer is [`crate::RestAnswer::Points`]. It may repeat points of earlier answers: whoever
/// asks tells them apart by their time, and so an answer with a history makes good what failed
/// calls have missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// What the points are.
    pub kind: Kind,
    /// Path and query; `{instrument}` stands for the instrument's name in the venue's words.
    pub path: &'static str,
    /// How often to ask.
    pub interval: Duration,
    /// What a call costs of [`crate::Limits::weight_per_minute`].
    pub weight: u32,
    /// Who comes round more slowly first where the request weight is too little for all; the same
    /// for all polls of a kind.
    pub rank: Rank,
}

/// What a poll loses when it comes round more slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Its answer has the present alone, and a round that is left out is a point that nobody has:
    /// funding, open interest.
    First,
    /// Its answer has a history as well, and one that is late misses nothing that this goes back
    /// to: ratios.
    Second,
}

impl Poll {
    /// The call for one instrument.
    #[must_use]
    pub fn request(&self, instrument: &InstrumentId) -> RestRequest {
        let path = self.path.replace(INSTRUMENT, &percent_encode(&instrument.name));
        RestRequest { path, weight: self.weight }
    }
}
