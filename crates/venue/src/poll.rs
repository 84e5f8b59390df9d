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
}

impl Poll {
    /// The call for one instrument.
    #[must_use]
    pub fn request(&self, instrument: &InstrumentId) -> RestRequest {
        let path = self.path.replace(INSTRUMENT, &percent_encode(&instrument.name));
        RestRequest { path, weight: self.weight }
    }
}
