//! The gaps of trades that are on record as open, and what of them is still missing.
//!
//! A gap is here from the moment its record is on its way until the record that closes it is
//! handed over, so that whatever happens in between, a later run takes it up again: it reads the
//! checkpoint, and of the time after that the spool and the streams. Taking a gap up once too often
//! costs a few requests; the trades it brings twice are told apart by their ids.

use super::Key;
use crate::block::{GapNote, Run};
use feed::IdRanges;
use feed::backfill::{OpenGap, OpenGaps};
use model::{Gap, GapState, InstrumentId, Kind, Market, NameError, Symbol, Venue};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// Where they lie: almost every acknowledgement concerns none of them.
    streams: BTreeMap<Key, Spans>,
    changes: u64,
}

/// The first and last ids of the open gaps of one stream, and their names, by the first.
#[derive(Debug, Clone, Default)]
struct Spans {
    spans: Vec<(u64, u64, Arc<str>)>,
    /// The highest id of all.
    top: u64,
}

impl Spans {
    fn insert(&mut self, (first, last): (u64, u64), gap_id: &Arc<str>) {
        let at = self.spans.partition_point(|(start, _, _)| *start <= first);
        self.spans.insert(at, (first, last, Arc::clone(gap_id)));
        self.top = self.top.max(last);
    }

    fn remove(&mut self, gap_id: &str) {
        self.spans.retain(|(_, _, known)| **known != *gap_id);
        self.top = self.spans.iter().map(|(_, last, _)| *last).max().unwrap_or(0);
    }

    /// The gaps that overlap a range.
    fn overlapping(&self, (first, last): (u64, u64)) -> impl Iterator<Item = &Arc<str>> {
        let begun = || self.spans.partition_point(|(start, _, _)| *start <= last);
        let end = if self.top < first { 0 } else { begun() };
        let spans = self.spans[..end].iter().filter(move |(_, end, _)| *end >= first);
        spans.map(|(_, _, gap_id)| gap_id)
    }
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
        self.insert(open);
        self.changes += 1;
        if self.gaps.len() <= OPEN_MAX {
            return None;
        }
        let oldest = self.gaps.values().min_by_key(|open| open.declared)?;
        let gap_id = Arc::clone(&oldest.gap.gap_id);
        self.remove(&gap_id).map(|open| Arc::clone(&open.gap))
    }

    fn insert(&mut self, open: OpenGap) {
        if let Some(span) = open.missing.hull() {
            self.streams.entry(key(&open)).or_default().insert(span, &open.gap.gap_id);
        }
        self.gaps.insert(Arc::clone(&open.gap.gap_id), Arc::new(open));
    }

    fn remove(&mut self, gap_id: &str) -> Option<Arc<OpenGap>> {
        let open = self.gaps.remove(gap_id)?;
        let key = key(&open);
        if let Some(spans) = self.streams.get_mut(&key) {
            spans.remove(gap_id);
            if spans.spans.is_empty() {
                self.streams.remove(&key);
            }
        }
        Some(open)
    }

    /// Notes a record that was handed over. One of an earlier run opens its gap again.
    pub(super) fn handed(&mut self, run: &Run) {
        let Some(gap) = &run.gap else { return };
        if gap.state != GapState::Open {
            self.changes += u64::from(self.remove(&gap.gap_id).is_some());
            return;
        }
        self.noted(run);
        if let Some(open) = self.gaps.get_mut(&gap.gap_id) {
            Arc::make_mut(open).recorded = true;
            self.changes += 1;
        }
    }

    /// Notes trades that the bus has acknowledged.
    pub(super) fn acked(&mut self, run: &Run) {
        let Some(ids) = run.ids else { return };
        let Some(spans) = self.streams.get(&super::key(run)) else { return };
        for gap_id in spans.overlapping(ids) {
            if let Some(open) = self.gaps.get_mut(gap_id)
                && open.missing.overlaps(ids)
            {
                let open = Arc::make_mut(open);
                open.missing.remove(ids);
                open.missing.limit(RANGES_MAX);
                self.changes += 1;
            }
        }
    }

    /// The part of the checkpoint that says this.
    pub(super) fn texts(&self) -> Vec<OpenText<'_>> {
        self.gaps.values().map(|open| OpenText::of(open)).collect()
    }

    /// Reads what [`Open::texts`] wrote.
    pub(super) fn read(texts: &[OpenText<'_>]) -> Result<Self, NameError> {
        let mut open = Self { changes: 1, ..Self::default() };
        for text in texts {
            open.insert(text.read()?);
        }
        Ok(open)
    }
}

fn key(open: &OpenGap) -> Key {
    Key { kind: open.gap.of, instrument: Arc::clone(&open.instrument) }
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
