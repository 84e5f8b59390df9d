//! The completeness audit: which ids are missing, and whether the gap records account for them.
//!
//! A hole lies between two stored rows and counts for the day on which the stream goes on, so every
//! hole is found on exactly one day, whichever days are looked at.

use crate::cold::Reader;
use crate::condition::{self, Hole, Verdict};
use crate::figures::Handles;
use crate::rows;
use catalog::{Coverage, Cursor, Days, Filter, Order, Query, StreamKey};
use model::{Event, Gap, Identity, Kind};
use std::collections::BTreeMap;
use std::time::Duration;

/// Days of streams listed at most; the sums include the others.
pub(crate) const DAYS_LISTED_MAX: usize = 10_000;
/// Holes listed at most; the sums include the others.
pub(crate) const HOLES_LISTED_MAX: usize = 1_000;
/// How long the record of a hole may take: it is declared after a second and travels on a subject of
/// its own.
const SETTLE: Duration = Duration::from_mins(2);
/// For how long the collector is trusted to have a gap in hand that it recorded as open: it forgets
/// the oldest when there are too many.
const IN_HAND: Duration = Duration::from_hours(1);

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) filter: Filter,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) days: Days,
    /// Whether the times around the holes are looked up, for whoever fetches what is missing.
    pub(crate) times: bool,
}

/// One day of a stream.
#[derive(Debug)]
pub(crate) struct DayFound {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamKey,
    pub(crate) day: i64,
    pub(crate) stored: catalog::Day,
    pub(crate) holes: usize,
    pub(crate) ids_missing: u64,
    pub(crate) ids_unexplained: u64,
}

/// Ids that are missing.
#[derive(Debug)]
pub(crate) struct HoleFound {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamKey,
    pub(crate) day: i64,
    pub(crate) hole: Hole,
    /// The gap records that speak of some of them.
    pub(crate) gaps: Vec<Gap>,
    /// Whether it is so new that its record, or what was fetched, may be on its way.
    pub(crate) is_fresh: bool,
    /// The times of the rows around it, if they were asked for.
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) streams: usize,
    pub(crate) rows: u64,
    pub(crate) holes_total: usize,
    pub(crate) ids_missing: u64,
    pub(crate) ids_unexplained: u64,
    pub(crate) days: Vec<DayFound>,
    pub(crate) holes: Vec<HoleFound>,
    /// Whether there is more than is listed.
    pub(crate) truncated: bool,
    /// Whether a stream has more holes than were looked at.
    pub(crate) cut_short: bool,
}

/// Looks at every stream of the scope.
pub(crate) fn run(handles: &Handles, scope: &Scope, now: i64) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for kind in &scope.kinds {
        for coverage in handles[kind].reader.coverage(&scope.filter, &scope.days)? {
            stream(handles, *kind, &coverage, (now, scope.times), &mut report)?;
        }
    }
    Ok(report)
}

fn stream(
    handles: &Handles,
    kind: Kind,
    coverage: &Coverage,
    (now, times): (i64, bool),
    report: &mut Report,
) -> anyhow::Result<()> {
    let (reader, key) = (&handles[&kind].reader, &coverage.stream);
    let (found, truncated) = holes(reader, coverage)?;
    let gaps = if found.is_empty() { Vec::new() } else { gaps(handles, key)? };
    let found = condition::without(&found, &condition::skipped(kind, &gaps));
    let holes = condition::explain(kind, &found, &gaps);
    let mut days: BTreeMap<i64, DayFound> = BTreeMap::new();
    for (day, stored) in &coverage.days {
        let (holes, ids_missing, ids_unexplained) = (0, 0, 0);
        let (stream, day, stored) = (key.clone(), *day, *stored);
        let found = DayFound { kind, stream, day, stored, holes, ids_missing, ids_unexplained };
        days.insert(day, found);
    }
    report.truncated |= truncated;
    report.cut_short |= truncated;
    for hole in holes {
        let Some(day) = condition::day_behind(&coverage.days, hole.last) else { continue };
        let unexplained = if hole.verdict.explains() { 0 } else { hole.ids() };
        report.holes_total += 1;
        report.ids_missing = report.ids_missing.saturating_add(hole.ids());
        report.ids_unexplained = report.ids_unexplained.saturating_add(unexplained);
        if let Some(found) = days.get_mut(&day) {
            found.holes += 1;
            found.ids_missing = found.ids_missing.saturating_add(hole.ids());
            found.ids_unexplained = found.ids_unexplained.saturating_add(unexplained);
        }
        if report.holes.len() == HOLES_LISTED_MAX {
            report.truncated = true;
            continue;
        }
        let speaks = |(_, gap): &&(Event, Gap)| {
            let (first, last) = condition::ids(gap);
            gap.of == kind && first <= hole.last && last >= hole.first
        };
        let gaps: Vec<&(Event, Gap)> = gaps.iter().filter(speaks).collect();
        let is_fresh = match hole.verdict {
            Verdict::Lost => false,
            Verdict::Open => gaps.iter().any(|(event, _)| is_in_hand(event, now)),
            Verdict::Healed => gaps.iter().any(|(event, _)| is_new(event, now)),
            Verdict::Unexplained => {
                let behind = neighbour(reader, key, hole.last, Order::Ascending)?;
                behind.is_some_and(|event| is_new(&event, now))
            }
        };
        let wanted = times && !is_fresh && hole.verdict != Verdict::Lost;
        let (since, until) = if wanted { around(reader, key, &hole)? } else { (None, None) };
        let gaps = gaps.into_iter().map(|(_, gap)| gap.clone()).collect();
        let stream = key.clone();
        report.holes.push(HoleFound { kind, stream, day, hole, gaps, is_fresh, since, until });
    }
    report.streams += 1;
    report.rows += coverage.total.rows;
    let room = DAYS_LISTED_MAX.saturating_sub(report.days.len());
    report.truncated |= days.len() > room;
    report.days.extend(days.into_values().take(room));
    Ok(())
}

/// The ids missing up to the last of some days, from the row before them on, and whether there are
/// more.
fn holes(reader: &Reader, coverage: &Coverage) -> anyhow::Result<(Vec<(u64, u64)>, bool)> {
    let total = &coverage.total;
    let (first, last) = (total.first.major, total.last.major);
    let before = neighbour(reader, &coverage.stream, first, Order::Descending)?;
    let before = before.map(|event| event.identity().major);
    // Each id is there once, so as many as lie between the ends are all of them.
    let all = match before {
        Some(before) => last - before,
        None => last.saturating_sub(total.first_id).saturating_add(1),
    };
    if total.ids == all {
        return Ok((Vec::new(), false));
    }
    let ids = before.unwrap_or(first)..=last;
    let holes = reader.ranges(&coverage.stream, &ids)?.holes();
    Ok((holes.ranges, holes.truncated))
}

/// Whether the collector must still know of a gap that it recorded.
fn is_in_hand(event: &Event, now: i64) -> bool {
    let in_hand = i64::try_from(IN_HAND.as_nanos()).unwrap_or(i64::MAX);
    event.recv_time.as_i64() > now.saturating_sub(in_hand)
}

/// Whether something that goes with an event may still be on its way.
fn is_new(event: &Event, now: i64) -> bool {
    let settle = i64::try_from(SETTLE.as_nanos()).unwrap_or(i64::MAX);
    event.recv_time.as_i64() > now.saturating_sub(settle)
}

/// The times of the rows before and behind a hole.
fn around(
    reader: &Reader,
    stream: &StreamKey,
    hole: &Hole,
) -> anyhow::Result<(Option<i64>, Option<i64>)> {
    let before = neighbour(reader, stream, hole.first, Order::Descending)?;
    let behind = neighbour(reader, stream, hole.last, Order::Ascending)?;
    let time = |event: Event| event.time().as_i64();
    Ok((before.map(time), behind.map(time)))
}

/// The row next to an id, below or above it.
fn neighbour(
    reader: &Reader,
    stream: &StreamKey,
    id: u64,
    order: Order,
) -> anyhow::Result<Option<Event>> {
    let minor = match order {
        Order::Ascending => u64::MAX,
        Order::Descending => 0,
    };
    let identity = Identity { major: id, minor };
    let after = Some(Cursor { stream: stream.clone(), identity });
    let page = reader.query(&Query { order, limit: 1, after, ..of(stream) })?;
    let mut found = None;
    rows::each(&page, &mut wire::Decoder::new(), |event, _| found = Some(event))?;
    Ok(found)
}

/// The gap records of a stream's name, of whatever kind they speak.
pub(crate) fn gaps(handles: &Handles, stream: &StreamKey) -> anyhow::Result<Vec<(Event, Gap)>> {
    rows::gaps(&handles[&Kind::Gap].reader, of(stream))
}

/// Asks for one stream.
fn of(stream: &StreamKey) -> Query {
    let StreamKey { venue, market, symbol } = stream.clone();
    let filter = Filter { venue: Some(venue), market: Some(market), symbol: Some(symbol) };
    Query { filter, ..Query::default() }
}
