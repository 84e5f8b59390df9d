//! The record of what is missing of a run.

use crate::block::Run;
use model::{Body, Cause, Event, Gap, GapState, InstrumentId, Kind};
use std::sync::Arc;
use units::UnixNanos;

/// The record of a run that is missing.
///
/// It is named by where it begins, as the feed names it. What the spool had no room for may lie in a
/// gap that is on record already, and be lost again: such a record is named by its time as well, so
/// that it never passes for an earlier version of another.
pub(crate) fn gap_event(run: &Run, cause: Cause, now: UnixNanos) -> Event {
    let InstrumentId { venue, market, symbol, name: _ } = &*run.instrument;
    let after = run.ids.map(|(first, _)| first.saturating_sub(1));
    let mut begin = after.map_or_else(|| format!("t{}", run.times.0), |after| after.to_string());
    if cause == Cause::Overflow {
        begin = format!("{begin}.{now}");
    }
    // A book is whole again from the snapshot that followed, and its missing updates cannot be
    // had; the same gap may be on record as open since this second, so this is the version after it.
    let (version, state) = match (run.kind, cause) {
        (Kind::Book, Cause::Restart) => {
            (Gap::version_at(Gap::version_at(0, now), now), GapState::Healed)
        }
        (Kind::Trade | Kind::AggTrade, _) => (1, GapState::Open),
        _ => (1, GapState::Lost),
    };
    let gap = Gap {
        gap_id: format!("{venue}.{market}.{symbol}.{}.{begin}", run.kind).into(),
        version,
        of: run.kind,
        after_id: after,
        before_id: run.ids.map(|(_, last)| last.saturating_add(1)),
        since: Some(run.times.0),
        until: Some(run.times.1),
        cause,
        state,
    };
    let instrument = Arc::clone(&run.instrument);
    Event { instrument, venue_time: None, recv_time: now, origin: None, body: Body::Gap(gap) }
}
