//! How many rows a query would hand out: counted in memory, but for the zones at the ends of its
//! range, of which the times are read.

use crate::Error;
use crate::segment::u64_of;
use crate::shelf::{Store, ZoneRef};
use crate::view::View;
use catalog::{Query, StreamKey, Tallies, Tally};
use units::UnixNanos;

pub(crate) fn tally(view: &View, store: &Store, query: &Query) -> Result<Tallies, Error> {
    let mut tallies = Tallies::new();
    for (key, number) in view.streams.iter().filter(|(key, _)| query.filter.matches(key)) {
        let zones = view.shelf.stream(number).into_iter().flat_map(|shelf| &shelf.zones);
        for zone in zones {
            if let Some(found) = in_zone(store, zone, query)? {
                add(&mut tallies, key, zone.file.place.day, found);
            }
        }
        let times = view.entries(number).map(|entry| UnixNanos::new(entry.time));
        for time in times.filter(|time| query.has_time(*time)) {
            add(&mut tallies, key, time.day(), Tally::one(time));
        }
    }
    Ok(tallies)
}

fn in_zone(store: &Store, zone: &ZoneRef, query: &Query) -> Result<Option<Tally>, Error> {
    let [first, last] = [zone.zone.time_min, zone.zone.time_max].map(UnixNanos::new);
    if query.has_time(first) && query.has_time(last) {
        return Ok(Some(Tally { rows: u64_of(zone.zone.rows), first, last }));
    }
    let is_before = query.start.is_some_and(|start| last < start);
    if is_before || query.end.is_some_and(|end| first >= end) {
        return Ok(None);
    }
    let times = store.times(zone)?;
    let wanted = times.into_iter().filter(|time| query.has_time(*time)).map(Tally::one);
    Ok(wanted.reduce(|mut all, one| {
        all.add(&one);
        all
    }))
}

fn add(tallies: &mut Tallies, key: &StreamKey, day: i64, more: Tally) {
    tallies.entry((key.clone(), day)).and_modify(|known| known.add(&more)).or_insert(more);
}
