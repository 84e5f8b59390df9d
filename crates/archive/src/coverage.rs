//! What is stored of each stream, and which ids.

use crate::Error;
use crate::run::Entry;
use crate::segment::u64_of;
use crate::shelf::{Store, ZoneRef};
use crate::view::View;
use catalog::{Coverage, Day, Days, Extent, Filter, Ranges, StreamKey};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use units::UnixNanos;

pub(crate) fn coverage(view: &View, filter: &Filter, days: &Days) -> Vec<Coverage> {
    let matching = view.streams.iter().filter(|(key, _)| filter.matches(key));
    matching
        .filter_map(|(key, number)| Coverage::of(key.clone(), tally(view, number, days)))
        .collect()
}

fn tally(view: &View, number: u32, days: &Days) -> BTreeMap<i64, Day> {
    let mut found = BTreeMap::new();
    let zones = view.shelf.stream(number).into_iter().flat_map(|shelf| &shelf.zones);
    for ZoneRef { file, zone } in zones.filter(|zone| days.contains(&zone.file.place.day)) {
        let more = Day {
            rows: u64_of(zone.rows),
            ids: zone.ids_count(),
            first_id: zone.floor().major,
            first: zone.first,
            last: zone.last,
            time_first: UnixNanos::new(zone.time_min),
            time_last: UnixNanos::new(zone.time_max),
        };
        add(&mut found, file.place.day, more);
    }
    for entry in view.entries(number) {
        let Entry { identity, first: first_id, time, .. } = *entry;
        let ids = entry.extent().count();
        let time = UnixNanos::new(time);
        if days.contains(&time.day()) {
            let (first, last) = (identity, identity);
            let (time_first, time_last) = (time, time);
            let more = Day { rows: 1, ids, first_id, first, last, time_first, time_last };
            add(&mut found, time.day(), more);
        }
    }
    found
}

fn add(days: &mut BTreeMap<i64, Day>, day: i64, more: Day) {
    days.entry(day).and_modify(|known| known.add(&more)).or_insert(more);
}

pub(crate) fn ranges(
    view: &View,
    store: &Store,
    stream: &StreamKey,
    ids: &RangeInclusive<u64>,
) -> Result<Ranges, Error> {
    let mut ranges = Ranges::default();
    let Some(number) = view.streams.number(stream) else { return Ok(ranges) };
    // What of some ids is asked for.
    let within = |(first, last): (u64, u64)| {
        let asked = (first.max(*ids.start()), last.min(*ids.end()));
        (asked.0 <= asked.1).then_some(asked)
    };
    for zone in view.shelf.stream(number).into_iter().flat_map(|shelf| &shelf.zones) {
        let Some(asked) = within((zone.zone.floor().major, zone.zone.last.major)) else { continue };
        if zone.zone.is_whole() {
            ranges.known.push(asked);
        } else {
            let extents = store.extents(zone)?;
            extents.iter().map(Extent::ids).filter_map(within).for_each(|ids| ranges.push(ids));
        }
    }
    let extents = view.entries(number).map(|entry| entry.extent().ids());
    extents.filter_map(within).for_each(|ids| ranges.push(ids));
    Ok(ranges)
}
