//! Judges the days of a stream: whether its data is there, and whole.

use model::{Event, Gap, GapState, Kind};
use std::collections::BTreeMap;
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// The condition of a stream on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There are rows, and nothing is known to be missing.
    Available,
    /// There are rows, and something is missing.
    Degraded,
    /// There are no rows.
    Missing,
}

impl Condition {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Degraded => "degraded",
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
    /// Gaps that leave something missing on this day.
    pub(crate) gaps: usize,
}

/// Judges every day from the stream's first to its last.
pub(crate) fn days(kind: Kind, rows: &BTreeMap<i64, u64>, gaps: &[(Event, Gap)]) -> Vec<Day> {
    let (Some((first, _)), Some((last, _))) = (rows.first_key_value(), rows.last_key_value())
    else {
        return Vec::new();
    };
    let spans: Vec<(i64, i64)> =
        gaps.iter().filter(|(_, gap)| leaves_a_hole(kind, gap)).map(|(e, g)| span(e, g)).collect();
    (*first..=*last)
        .map(|day| {
            let rows = rows.get(&day).copied().unwrap_or(0);
            let gaps = spans.iter().filter(|(from, to)| (*from..=*to).contains(&day)).count();
            let condition = match (rows, gaps) {
                (0, _) => Condition::Missing,
                (_, 0) => Condition::Available,
                (_, _) => Condition::Degraded,
            };
            Day { day, condition, rows, gaps }
        })
        .collect()
}

/// A healed gap of trades was filled; a healed book is whole again, but its updates in between are
/// gone.
fn leaves_a_hole(kind: Kind, gap: &Gap) -> bool {
    gap.of == kind && (gap.state != GapState::Healed || kind == Kind::Book)
}

/// First and last day of a gap; one that is open still ends with the record.
fn span(event: &Event, gap: &Gap) -> (i64, i64) {
    let since = gap.since.unwrap_or_else(|| event.time());
    let until = gap.until.unwrap_or_else(|| event.time());
    (since.day(), until.max(since).day())
}

/// Ids that are missing, and whether a gap record says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) explained: bool,
}

/// Matches holes with gap records.
pub(crate) fn explain(kind: Kind, holes: &[(u64, u64)], gaps: &[(Event, Gap)]) -> Vec<Hole> {
    let mut known: Vec<(u64, u64)> = gaps
        .iter()
        .filter(|(_, gap)| gap.of == kind)
        .map(|(_, gap)| {
            let first = gap.after_id.map_or(0, |id| id.saturating_add(1));
            (first, gap.before_id.map_or(u64::MAX, |id| id.saturating_sub(1)))
        })
        .collect();
    known.sort_unstable();
    let explains = |first: u64, last: u64| {
        // Neighbouring gap records may explain one hole together.
        let mut need = first;
        for (from, to) in &known {
            if *from > need {
                break;
            }
            if *to >= need {
                if *to >= last {
                    return true;
                }
                need = to + 1;
            }
        }
        false
    };
    holes
        .iter()
        .map(|(first, last)| Hole {
            first: *first,
            last: *last,
            explained: explains(*first, *last),
        })
        .collect()
}

/// The date of a day, as `YYYY-MM-DD`.
pub(crate) fn date(day: i64) -> String {
    let nanos = day.saturating_mul(86_400_000_000_000);
    let date = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    date.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// The day `ago` before `now`, counted from the epoch.
pub(crate) fn day_before(now: i64, ago: std::time::Duration) -> i64 {
    let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
    UnixNanos::new(now.saturating_sub(ago)).day()
}
