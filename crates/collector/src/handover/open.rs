//! The gaps of trades that are on record as open, and what of them is still missing.
//!
//! A gap is here from the moment its record is on its way until the record that closes it is
//! handed over, so that whatever happens in between, a later run takes it up again: it reads the
//! checkpoint, and of the time after that the spool and the streams. Taking a gap up once too often
//! costs a few requests; the trades it brings twice are told apart by their ids.

use crate::block::{GapNote, Run};
use feed::IdRanges;
use feed::backfill::{OpenGap, OpenGaps};
use model::{Gap, GapState, InstrumentId, Kind, Market, NameError, Symbol, Venue};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use units::UnixNanos;

/// Open gaps kept: a bad day has dozens. When full the oldest is forgotten. It stays on record as
/// open, and whoever audits the store may ask for it again.
pub(crate) const OPEN_MAX: usize = 1_024;

/// Ranges kept per gap; beyond them the lowest two become one, and are fetched once more.
const RANGES_MAX: usize = 256;

/// The open gaps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open {
    gaps: OpenGaps,
    changes: u64,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.gaps == other.gaps
    }
}

impl Eq for Open {}

impl Open {
    /// The gaps by their ids.
    pub(crate) const fn gaps(&self) -> &OpenGaps {
        &self.gaps
    }

    /// A number that grows with every change.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Notes a record that is on its way. Returns the one that is forgotten for it.
    pub(super) fn noted(&mut self, run: &Run) -> Option<Arc<Gap>> {
        let gap = run.gap.as_ref().filter(|gap| !self.gaps.contains_key(&gap.gap_id))?;
        let open = OpenGap::of(&run.instrument, gap, run.times.0)?;
        self.gaps.insert(Arc::clone(&gap.gap_id), open);
        self.changes += 1;
        if self.gaps.len() <= OPEN_MAX {
            return None;
        }
        let oldest = self.gaps.values().min_by_key(|open| open.declared)?;
        let gap_id = Arc::clone(&oldest.gap.gap_id);
        self.gaps.remove(&gap_id).map(|open| open.gap)
    }

    /// Notes a record that was handed over. One of an earlier run opens its gap again.
    pub(super) fn handed(&mut self, run: &Run) {
        let Some(gap) = &run.gap else { return };
        if gap.state != GapState::Open {
            self.changes += u64::from(self.gaps.remove(&gap.gap_id).is_some());
            return;
        }
        self.noted(run);
        if let Some(open) = self.gaps.get_mut(&gap.gap_id) {
            open.recorded = true;
            self.changes += 1;
        }
    }

    /// Notes trades that the bus has acknowledged.
    pub(super) fn acked(&mut self, run: &Run) {
        let Some(ids) = run.ids else { return };
        for open in self.gaps.values_mut() {
            let same = open.gap.of == run.kind && open.instrument == run.instrument;
            if same && open.missing.overlaps(ids) {
                open.missing.remove(ids);
                open.missing.limit(RANGES_MAX);
                self.changes += 1;
            }
        }
    }

    /// The part of the checkpoint that says this.
    pub(super) fn texts(&self) -> Vec<OpenText<'_>> {
        self.gaps.values().map(OpenText::of).collect()
    }

    /// Reads what [`Open::texts`] wrote.
    pub(super) fn read(texts: &[OpenText<'_>]) -> Result<Self, NameError> {
        let mut gaps = OpenGaps::new();
        for text in texts {
            let open = text.read()?;
            gaps.insert(Arc::clone(&open.gap.gap_id), open);
        }
        Ok(Self { gaps, changes: 1 })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct OpenText<'a> {
    kind: &'a str,
    venue: &'a str,
    market: &'a str,
    symbol: Cow<'a, str>,
    instrument: Cow<'a, str>,
    declared: i64,
    recorded: bool,
    missing: Vec<(u64, u64)>,
    #[serde(borrow)]
    gap: GapNote<'a>,
}

impl<'a> OpenText<'a> {
    fn of(open: &'a OpenGap) -> Self {
        let InstrumentId { venue, market, symbol, name } = &*open.instrument;
        Self {
            kind: open.gap.of.as_str(),
            venue: venue.as_str(),
            market: market.as_str(),
            symbol: symbol.as_str().into(),
            instrument: (&**name).into(),
            declared: open.declared.as_i64(),
            recorded: open.recorded,
            missing: open.missing.iter().collect(),
            gap: GapNote::of(&open.gap),
        }
    }

    fn read(&self) -> Result<OpenGap, NameError> {
        let instrument = InstrumentId {
            venue: self.venue.parse::<Venue>()?,
            market: self.market.parse::<Market>()?,
            symbol: self.symbol.parse::<Symbol>()?,
            name: Arc::from(&*self.instrument),
        };
        Ok(OpenGap {
            instrument: Arc::new(instrument),
            gap: Arc::new(self.gap.read(self.kind.parse::<Kind>()?)?),
            declared: UnixNanos::new(self.declared),
            missing: self.missing.iter().copied().collect::<IdRanges>(),
            recorded: self.recorded,
        })
    }
}
