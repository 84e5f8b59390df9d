//! Judges the days of a stream: whether its data is there, and whole.

use catalog::Day as Stored;
use model::{Cause, Event, Gap, GapState, Kind};
use std::collections::BTreeMap;
use std::time::Duration;
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// How long after its end a day still gets rows that were on their way.
const SETTLE: Duration = Duration::from_mins(5);

/// The condition of a stream on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There are rows, and nothing is known to be missing.
    Available,
    /// There are rows, and something is missing.
    Degraded,
    /// The day is not over, rows are on their way, or a backfill is under way.
    Pending,
    /// There are no rows.
    Missing,
}

impl Condition {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Degraded => "degraded",
            Self::Pending => "pending",
            Self::Missing => "missing",
        }
    }
}

/// One day of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    /// Days since the epoch, UTC.
    pub(crate) day: i64,
    pub(crate) condition: Condition,
    pub(crate) rows: u64,
    /// Ids that these rows stand for, and those that the venue gave to nothing.
    pub(crate) ids: u64,
    /// Ids that the day would have if none were missing; `None` if ids do not tell.
    pub(crate) expected: Option<u64>,
    /// Gaps that leave something missing on this day.
    pub(crate) gaps: usize,
}

/// Whether the ids of a kind are contiguous, so that a missing one shows.
pub(crate) const fn is_contiguous(kind: Kind) -> bool {
    match kind {
        Kind::Trade | Kind::AggTrade => true,
        Kind::Book
        | Kind::Bbo
        | Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => false,
    }
}

/// The first day that may still get rows: rows up to `behind`, if any, wait to be stored.
pub(crate) fn unfinished(now: i64, behind: Option<i64>) -> i64 {
    let today = day_before(now, SETTLE);
    behind.map_or(today, |behind| behind.min(today))
}

/// Judges every day from the stream's first to its last; those from `unfinished` on may still get
/// rows.
pub(crate) fn days(
    kind: Kind,
    stored: &BTreeMap<i64, Stored>,
    gaps: &[(Event, Gap)],
    unfinished: i64,
) -> Vec<Day> {
    let (Some((first, _)), Some((last, _))) = (stored.first_key_value(), stored.last_key_value())
    else {
        return Vec::new();
    };
    let expected = if is_contiguous(kind) { expected(stored) } else { BTreeMap::new() };
    let skipped = skipped_by_day(kind, stored, gaps);
    let spans: Vec<(i64, i64, bool)> = gaps
        .iter()
        .filter(|(_, gap)| leaves_a_hole(kind, gap))
        .map(|(event, gap)| {
            let (from, to) = span(event, gap);
            (from, to, is_being_filled(gap))
        })
        .collect();
    (*first..=*last)
        .map(|day| {
            let rows = stored.get(&day).map_or(0, |stored| stored.rows);
            let ids = stored.get(&day).map_or(0, |stored| stored.ids);
            let ids = ids.saturating_add(skipped.get(&day).copied().unwrap_or(0));
            let on = || spans.iter().filter(|(from, to, _)| (*from..=*to).contains(&day));
            let gaps = on().count();
            let filling = on().filter(|(_, _, filling)| *filling).count();
            let expected = expected.get(&day).copied();
            let is_open = day >= unfinished || filling > 0;
            let lacks = gaps > filling || !is_open && expected.is_some_and(|all| all > ids);
            let condition = match (rows, lacks, is_open) {
                (0, _, false) => Condition::Missing,
                (0, _, true) | (_, false, true) => Condition::Pending,
                (_, true, _) => Condition::Degraded,
                (_, false, false) => Condition::Available,
            };
            Day { day, condition, rows, ids, expected, gaps }
        })
        .collect()
}

/// Ids that each day would have if none of those that are contiguous were missing. Ids between two
/// days count for the one on which the stream goes on.
pub(crate) fn expected(stored: &BTreeMap<i64, Stored>) -> BTreeMap<i64, u64> {
    let mut before: Option<u64> = None;
    let count = |(day, stored): (&i64, &Stored)| {
        let last = stored.last.major;
        let ids = match before {
            Some(before) => last.saturating_sub(before),
            None => last.saturating_sub(stored.first_id).saturating_add(1),
        };
        before = Some(before.unwrap_or(0).max(last));
        // Around midnight, ids and times need not agree on the day.
        (*day, ids.max(stored.ids))
    };
    stored.iter().map(count).collect()
}

/// The ids that the venue gave to what is no trade, of which a record says so; by the day on which
/// the stream goes on behind them.
fn skipped_by_day(
    kind: Kind,
    stored: &BTreeMap<i64, Stored>,
    gaps: &[(Event, Gap)],
) -> BTreeMap<i64, u64> {
    let mut days = BTreeMap::new();
    let begin = stored.values().map(|stored| stored.first_id).min();
    for (first, last) in skipped(kind, gaps) {
        if begin.is_some_and(|begin| begin < first)
            && let Some(day) = day_behind(stored, last)
        {
            let ids: &mut u64 = days.entry(day).or_default();
            *ids = ids.saturating_add((last - first).saturating_add(1));
        }
    }
    days
}

/// The ids that the venue gave to what is no trade, of which a record says so: ascending, none twice.
pub(crate) fn skipped(kind: Kind, gaps: &[(Event, Gap)]) -> Vec<(u64, u64)> {
    let of = gaps.iter().filter(|(_, gap)| gap.of == kind && gap.cause == Cause::Skipped);
    let mut skipped: Vec<(u64, u64)> =
        of.map(|(_, gap)| ids(gap)).filter(|(first, last)| first <= last).collect();
    skipped.sort_unstable();
    let mut apart: Vec<(u64, u64)> = Vec::with_capacity(skipped.len());
    for (first, last) in skipped {
        match apart.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            Some(_) | None => apart.push((first, last)),
        }
    }
    apart
}

/// How much of what is expected is there, from 0 to 1; exactly 1 only if nothing is missing.
pub(crate) fn fraction(ids: u64, expected: u64) -> f64 {
    let parts = u128::from(ids) * 1_000_000 / u128::from(expected.max(1));
    f64::from(u32::try_from(parts.min(1_000_000)).unwrap_or(1_000_000)) / 1_000_000.0
}

/// A healed gap of trades was filled; a healed book is whole again, but its updates in between are
/// gone.
fn leaves_a_hole(kind: Kind, gap: &Gap) -> bool {
    gap.of == kind && (gap.state != GapState::Healed || kind == Kind::Book)
}

/// Whether what is missing may still come.
fn is_being_filled(gap: &Gap) -> bool {
    gap.state == GapState::Open && is_contiguous(gap.of)
}

/// First and last day of a gap; one that is open still ends with the record.
pub(crate) fn span(event: &Event, gap: &Gap) -> (i64, i64) {
    let since = gap.since.unwrap_or_else(|| event.time());
    let until = gap.until.unwrap_or_else(|| event.time());
    (since.day(), until.max(since).day())
}

/// What the gap records say about missing ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// They are lost.
    Lost,
    /// They are missing, and may still come.
    Open,
    /// They were fetched, and yet are not there.
    Healed,
    /// Nothing, at least of some of them.
    Unexplained,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Open => "open",
            Self::Healed => "healed",
            Self::Unexplained => "unexplained",
        }
    }

    /// Whether it accounts for ids that are missing. That they were fetched does not.
    pub(crate) const fn explains(self) -> bool {
        match self {
            Self::Lost | Self::Open => true,
            Self::Healed | Self::Unexplained => false,
        }
    }
}

/// Ids that are missing, and what the gap records say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) verdict: Verdict,
}

impl Hole {
    /// How many ids.
    pub(crate) const fn ids(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// The ids that a gap record speaks of, both ends included.
pub(crate) fn ids(gap: &Gap) -> (u64, u64) {
    let first = gap.after_id.map_or(0, |id| id.saturating_add(1));
    (first, gap.before_id.map_or(u64::MAX, |id| id.saturating_sub(1)))
}

/// Matches holes with gap records.
pub(crate) fn explain(kind: Kind, holes: &[(u64, u64)], gaps: &[(Event, Gap)]) -> Vec<Hole> {
    let known = |states: &[GapState]| {
        // One without an end says where something began to be missing, and explains no hole.
        let ended = gaps.iter().filter(|(_, gap)| gap.of == kind && gap.before_id.is_some());
        let of = ended.filter(|(_, gap)| states.contains(&gap.state));
        let mut known: Vec<(u64, u64)> = of.map(|(_, gap)| ids(gap)).collect();
        known.sort_unstable();
        known
    };
    let lost = known(&[GapState::Lost]);
    let missing = known(&[GapState::Lost, GapState::Open]);
    let all = known(&[GapState::Lost, GapState::Open, GapState::Healed]);
    let verdict = |hole: (u64, u64)| {
        if covers(&lost, hole) {
            Verdict::Lost
        } else if covers(&missing, hole) {
            Verdict::Open
        } else if covers(&all, hole) {
            Verdict::Healed
        } else {
            Verdict::Unexplained
        }
    };
    let hole = |hole: &(u64, u64)| Hole { first: hole.0, last: hole.1, verdict: verdict(*hole) };
    holes.iter().map(hole).collect()
}

/// Whether ranges, sorted, contain every id of a hole. Neighbours may do it together.
fn covers(known: &[(u64, u64)], (first, last): (u64, u64)) -> bool {
    let mut need = first;
    for (from, to) in known {
        if *from > need {
            return false;
        }
        if *to >= last {
            return true;
        }
        need = need.max(to.saturating_add(1));
    }
    false
}

/// What of some holes is left without these ids; both ascending, and none overlap.
pub(crate) fn without(holes: &[(u64, u64)], known: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::with_capacity(holes.len());
    for (first, last) in holes.iter().copied() {
        let mut next = Some(first);
        let at = known.partition_point(|(_, to)| *to < first);
        for (from, to) in known[at..].iter().copied().take_while(|(from, _)| *from <= last) {
            let Some(start) = next.filter(|start| to >= *start && from <= last) else { continue };
            if from > start {
                left.push((start, from - 1));
            }
            next = to.checked_add(1).filter(|next| *next <= last);
        }
        left.extend(next.map(|start| (start, last)));
    }
    left
}

/// The day on which a stream goes on behind a hole that ends with this id.
pub(crate) fn day_behind(stored: &BTreeMap<i64, Stored>, last: u64) -> Option<i64> {
    stored.iter().find(|(_, stored)| stored.last.major > last).map(|(day, _)| *day)
}

/// The date of a day, as `YYYY-MM-DD`.
pub(crate) fn date(day: i64) -> String {
    let nanos = day.saturating_mul(86_400_000_000_000);
    let date = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    date.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// The day `ago` before `now`, counted from the epoch.
pub(crate) fn day_before(now: i64, ago: Duration) -> i64 {
    let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
    UnixNanos::new(now.saturating_sub(ago)).day()
}
