//! What is stored of each stream, and which ids are missing.

use crate::Error;
use crate::shelf::Store;
use crate::view::View;
use catalog::{Coverage, Filter, HOLES_MAX, Holes, StreamKey};
use model::Identity;
use std::collections::BTreeMap;
use units::UnixNanos;

struct Tally {
    rows: u64,
    first: Identity,
    last: Identity,
    time_first: i64,
    time_last: i64,
    days: BTreeMap<i64, u64>,
}

impl Tally {
    const fn new() -> Self {
        let (low, high) =
            (Identity { major: 0, minor: 0 }, Identity { major: u64::MAX, minor: u64::MAX });
        Self {
            rows: 0,
            first: high,
            last: low,
            time_first: i64::MAX,
            time_last: i64::MIN,
            days: BTreeMap::new(),
        }
    }

    fn add(&mut self, ids: (Identity, Identity), times: (i64, i64), day: i64, rows: u64) {
        self.rows += rows;
        self.first = self.first.min(ids.0);
        self.last = self.last.max(ids.1);
        self.time_first = self.time_first.min(times.0);
        self.time_last = self.time_last.max(times.1);
        *self.days.entry(day).or_default() += rows;
    }
}

pub(crate) fn coverage(view: &View, filter: &Filter) -> Vec<Coverage> {
    let matching = view.streams.iter().filter(|(key, _)| filter.matches(key));
    matching
        .filter_map(|(key, number)| {
            let tally = tally(view, number);
            (tally.rows > 0).then(|| Coverage {
                stream: key.clone(),
                rows: tally.rows,
                first: tally.first,
                last: tally.last,
                time_first: UnixNanos::new(tally.time_first),
                time_last: UnixNanos::new(tally.time_last),
                days: tally.days,
            })
        })
        .collect()
}

fn tally(view: &View, number: u32) -> Tally {
    let mut tally = Tally::new();
    if let Some(shelf) = view.shelf.stream(number) {
        for zone in &shelf.zones {
            let (zone, day) = (&zone.zone, zone.file.place.day);
            let rows = crate::segment::u64_of(zone.rows);
            tally.add((zone.first, zone.last), (zone.time_min, zone.time_max), day, rows);
        }
    }
    for run in view.segments.iter().flat_map(|segment| &segment.runs) {
        for entry in run.stream(number) {
            let day = UnixNanos::new(entry.time).day();
            tally.add((entry.identity, entry.identity), (entry.time, entry.time), day, 1);
        }
    }
    tally
}

pub(crate) fn holes(view: &View, store: &Store, stream: &StreamKey) -> Result<Holes, Error> {
    let Some(number) = view.streams.number(stream) else { return Ok(Holes::default()) };
    let mut known: Vec<(u64, u64)> = Vec::new();
    if let Some(shelf) = view.shelf.stream(number) {
        for zone in &shelf.zones {
            if zone.zone.dense {
                known.push((zone.zone.first.major, zone.zone.last.major));
            } else {
                extend(&mut known, store.identities(zone)?.iter().copied());
            }
        }
    }
    for run in view.segments.iter().flat_map(|segment| &segment.runs) {
        extend(&mut known, run.stream(number).iter().map(|entry| entry.identity));
    }
    Ok(complement(known))
}

/// Adds ascending ids as ranges.
fn extend(ranges: &mut Vec<(u64, u64)>, ids: impl Iterator<Item = Identity>) {
    for Identity { major, .. } in ids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(major) => *last = major,
            Some(_) | None => ranges.push((major, major)),
        }
    }
}

fn complement(mut known: Vec<(u64, u64)>) -> Holes {
    known.sort_unstable();
    let mut holes = Holes::default();
    let mut known = known.into_iter();
    let Some((_, mut end)) = known.next() else { return holes };
    for (first, last) in known {
        if first > end.saturating_add(1) {
            if holes.ranges.len() == HOLES_MAX {
                holes.truncated = true;
                break;
            }
            holes.ranges.push((end + 1, first - 1));
        }
        end = end.max(last);
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_what_no_range_covers() {
        let known = vec![(10, 12), (1, 3), (4, 4), (11, 20), (25, 25)];
        assert_eq!(complement(known).ranges, [(5, 9), (21, 24)]);
        assert_eq!(complement(Vec::new()), Holes::default());
        assert_eq!(complement(vec![(0, u64::MAX), (3, 4)]).ranges, []);
    }
}
