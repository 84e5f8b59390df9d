//! Queries: pages of rows in the order of identity, merged from segments and Parquet files.
//!
//! A page goes by key, not by position: its cursor is the last row handed out, so rows that arrive
//! and segments that roll between two pages neither repeat nor skip a row that was there.

use crate::Error;
use crate::columns::StoredRow;
use crate::roll::Window;
use crate::run::Entry;
use crate::shelf::{Store, ZoneRef};
use crate::view::{SegmentView, View};
use catalog::{Cursor, Order, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, Query, StreamKey};
use model::{Event, Identity};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::vec;
use units::UnixNanos;

/// Reads one page.
pub(crate) fn read(view: &View, store: &Store, query: &Query) -> Result<Page, Error> {
    let mut page = Page::default();
    let mut last: Option<Cursor> = None;
    let mut windows: BTreeMap<u64, Window> = BTreeMap::new();
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    for (key, number) in streams(view, query) {
        let after = query.after.as_ref().filter(|after| after.stream == *key);
        let mut merge = Merge::new(view, store, query, number, after.map(|after| after.identity));
        while let Some(found) = merge.next()? {
            if page.count == limit || page.rows.len() >= PAGE_BYTES_MAX {
                page.next = last;
                return Ok(page);
            }
            last = Some(Cursor { stream: key.clone(), identity: found.identity() });
            push(&mut page, &found, &mut windows)?;
        }
    }
    Ok(page)
}

fn streams<'a>(view: &'a View, query: &'a Query) -> Vec<(&'a StreamKey, u32)> {
    let after = query.after.as_ref().map(|after| &after.stream);
    let matching = view.streams.iter().filter(|(key, _)| query.filter.matches(key));
    match query.order {
        Order::Ascending => matching.filter(|(key, _)| after.is_none_or(|a| *key >= a)).collect(),
        Order::Descending => {
            matching.rev().filter(|(key, _)| after.is_none_or(|a| *key <= a)).collect()
        }
    }
}

/// Adds a row to a page.
fn push(
    page: &mut Page,
    row: &Found<'_>,
    windows: &mut BTreeMap<u64, Window>,
) -> Result<(), Error> {
    let pushed = match row {
        Found::Entry(segment, entry) => {
            let window = windows.entry(segment.number).or_default();
            let json = window.row(segment, entry)?;
            page.push(entry.stream_seq, |rows| rows.extend_from_slice(json))
        }
        Found::Row(row) => page.push(row.stream_seq, |rows| wire::encode(&row.event, rows)),
    };
    pushed.map_err(|error| Error::damaged(Path::new("segment"), error.to_string()))
}

/// A row that was found, not yet read if it is in a segment.
enum Found<'a> {
    Entry(&'a SegmentView, Entry),
    Row(Box<StoredRow>),
}

impl Found<'_> {
    fn identity(&self) -> Identity {
        match self {
            Self::Entry(_, entry) => entry.identity,
            Self::Row(row) => row.event.identity(),
        }
    }
}

/// An identity turned so that smaller always comes first.
type SortKey = (u64, u64);

/// What a query asks of one stream.
struct Range {
    descending: bool,
    after: Option<Identity>,
    start: i64,
    end: Option<i64>,
}

impl Range {
    const fn sort_key(&self, identity: Identity) -> SortKey {
        if self.descending {
            (!identity.major, !identity.minor)
        } else {
            (identity.major, identity.minor)
        }
    }

    fn is_behind(&self, identity: Identity) -> bool {
        self.after.is_none_or(|after| self.sort_key(identity) > self.sort_key(after))
    }

    fn has_time(&self, time: i64) -> bool {
        self.start <= time && self.end.is_none_or(|end| time < end)
    }

    fn wants(&self, event: &Event) -> bool {
        self.is_behind(event.identity()) && self.has_time(event.time().as_i64())
    }

    fn touches(&self, zone: &ZoneRef) -> bool {
        let zone = &zone.zone;
        let far = if self.descending { zone.first } else { zone.last };
        self.is_behind(far)
            && zone.time_max >= self.start
            && self.end.is_none_or(|end| zone.time_min < end)
    }

    /// What is left of a run behind the cursor.
    fn rest<'a>(&self, entries: &'a [Entry]) -> &'a [Entry] {
        let Some(after) = self.after else { return entries };
        if self.descending {
            &entries[..entries.partition_point(|entry| entry.identity < after)]
        } else {
            &entries[entries.partition_point(|entry| entry.identity <= after)..]
        }
    }
}

/// A sorted supply of rows.
enum Source<'a> {
    Run(&'a SegmentView, &'a [Entry]),
    /// A zone that nobody needed yet.
    Zone(&'a ZoneRef),
    /// A zone that was read.
    Rows(vec::IntoIter<StoredRow>),
}

/// Merges the sources of one stream; a zone is read only when its turn comes.
struct Merge<'a> {
    store: &'a Store,
    range: Range,
    sources: Vec<Source<'a>>,
    /// The next row of each source, or for a zone not yet read the first it can have.
    heap: BinaryHeap<Reverse<(SortKey, usize)>>,
}

impl<'a> Merge<'a> {
    fn new(
        view: &'a View,
        store: &'a Store,
        query: &Query,
        stream: u32,
        after: Option<Identity>,
    ) -> Self {
        let range = Range {
            descending: query.order == Order::Descending,
            after,
            start: query.start.map_or(i64::MIN, UnixNanos::as_i64),
            end: query.end.map(UnixNanos::as_i64),
        };
        let mut merge = Self { store, range, sources: Vec::new(), heap: BinaryHeap::new() };
        for segment in &view.segments {
            for run in &segment.runs {
                let entries = merge.range.rest(run.stream(stream));
                merge.add(Source::Run(segment, entries));
            }
        }
        let zones = view.shelf.stream(stream).map_or(&[][..], |shelf| &shelf.zones);
        for zone in zones {
            if merge.range.touches(zone) {
                merge.add(Source::Zone(zone));
            }
        }
        merge
    }

    fn add(&mut self, source: Source<'a>) {
        let index = self.sources.len();
        self.sources.push(source);
        self.queue(index);
    }

    /// Puts a source in line again, unless it has nothing more.
    fn queue(&mut self, index: usize) {
        let range = &self.range;
        let next = match &mut self.sources[index] {
            Source::Run(_, entries) => {
                skip_other_times(entries, range);
                let next = if range.descending { entries.last() } else { entries.first() };
                next.map(|entry| entry.identity)
            }
            Source::Zone(zone) if range.descending => Some(zone.zone.last),
            Source::Zone(zone) => Some(zone.zone.first),
            Source::Rows(rows) => rows.as_slice().first().map(|row| row.event.identity()),
        };
        if let Some(identity) = next {
            self.heap.push(Reverse((range.sort_key(identity), index)));
        }
    }

    fn next(&mut self) -> Result<Option<Found<'a>>, Error> {
        while let Some(Reverse((_, index))) = self.heap.pop() {
            let found = match &mut self.sources[index] {
                Source::Run(segment, entries) => {
                    let next = if self.range.descending {
                        entries.split_off_last()
                    } else {
                        entries.split_off_first()
                    };
                    next.map(|entry| Found::Entry(segment, *entry))
                }
                Source::Zone(zone) => {
                    let mut rows = self.store.rows(zone)?;
                    rows.retain(|row| self.range.wants(&row.event));
                    if self.range.descending {
                        rows.reverse();
                    }
                    self.sources[index] = Source::Rows(rows.into_iter());
                    None
                }
                Source::Rows(rows) => rows.next().map(|row| Found::Row(Box::new(row))),
            };
            self.queue(index);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn skip_other_times(entries: &mut &[Entry], range: &Range) {
    let wanted = |entry: &Entry| range.has_time(entry.time);
    if range.descending {
        let end = entries.iter().rposition(wanted).map_or(0, |last| last + 1);
        *entries = &entries[..end];
    } else {
        let start = entries.iter().position(wanted).unwrap_or(entries.len());
        *entries = &entries[start..];
    }
}
