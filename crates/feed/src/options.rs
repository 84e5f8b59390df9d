//! How the pipeline behaves.

use model::{InstrumentId, Kind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How the pipeline behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Levels a side that a maintained book is cut down to, and that a snapshot is asked for.
    pub depth: usize,
    /// The kinds that are wanted: a stream may bring others along.
    pub kinds: Vec<Kind>,
    /// The instruments that are wanted, or `None` for all: a stream may bring a whole market's.
    pub instruments: Option<Arc<BTreeSet<Arc<InstrumentId>>>>,
    /// How long a missing trade may be late before its gap is declared.
    pub reorder_window: Duration,
    /// How often maintained books go to the live lane.
    pub live_snapshot_interval: Duration,
    /// How many levels a side they have there.
    pub live_levels: usize,
    /// How often maintained books go, whole, to the durable lane.
    pub durable_snapshot_interval: Duration,
    /// Whether a gap of trades is healed when the last of its late trades is seen. Right for a
    /// recording; whoever publishes heals it once they are acknowledged (see
    /// [`crate::backfill`]), for a kill in between would make the record untrue.
    pub heal_when_seen: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: 5_000,
            kinds: Kind::ALL.to_vec(),
            instruments: None,
            reorder_window: Duration::from_secs(1),
            live_snapshot_interval: Duration::from_secs(60),
            live_levels: 1_000,
            durable_snapshot_interval: Duration::from_secs(15 * 60),
            heal_when_seen: true,
        }
    }
}

impl Options {
    /// Whether an instrument is wanted.
    pub(crate) fn wants(&self, instrument: &Arc<InstrumentId>) -> bool {
        self.instruments.as_ref().is_none_or(|wanted| wanted.contains(instrument))
    }
}
