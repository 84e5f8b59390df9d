//! Two stores read as one: ClickHouse, and the archive that old days were moved into.
//!
//! A day is in one of them; while it is moved, and if that was interrupted, it is in both. So what is
//! in both counts once, by identity.

use super::{Both, texts};
use catalog::{
    Coverage, Cursor, Day, Days, Filter, Order, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, Query, Ranges,
    StreamKey, Tallies,
};
use model::Identity;
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::RangeInclusive;

#[cfg(test)]
mod tests;

/// Identities looked at at a time.
const IDENTITIES_MAX: usize = 500_000;

impl Both {
    pub(super) fn query(&self, query: &Query) -> anyhow::Result<Page> {
        let there = self.runtime.block_on(self.warehouse.query(query))?;
        merge(query, there, self.archive.query(query)?)
    }

    pub(super) fn tally(&self, query: &Query) -> anyhow::Result<Tallies> {
        let mut tallies = self.runtime.block_on(self.warehouse.tally(query))?;
        for ((stream, day), moved) in self.archive.tally(query)? {
            let Some(both) = tallies.get_mut(&(stream.clone(), day)) else {
                tallies.insert((stream, day), moved);
                continue;
            };
            // Of a day that is being moved everything that was copied is in both, and of one that
            // was moved nothing: so it is right for a part of a day as well.
            let twice = self.twice(&stream, day)?.0.min(moved.rows).min(both.rows);
            both.add(&moved);
            both.rows -= twice;
        }
        Ok(tallies)
    }

    pub(super) fn streams(&self, filter: &Filter) -> anyhow::Result<Vec<StreamKey>> {
        let mut streams = self.runtime.block_on(self.warehouse.streams(filter))?;
        streams.append(&mut self.archive.streams(filter));
        streams.sort_unstable();
        streams.dedup();
        Ok(streams)
    }

    pub(super) fn ranges(
        &self,
        stream: &StreamKey,
        ids: &RangeInclusive<u64>,
    ) -> anyhow::Result<Ranges> {
        let there = self.runtime.block_on(self.warehouse.ranges(stream, ids))?;
        Ok(there.and(self.archive.ranges(stream, ids)?))
    }

    pub(super) fn coverage(&self, filter: &Filter, days: &Days) -> anyhow::Result<Vec<Coverage>> {
        let there = self.runtime.block_on(self.warehouse.coverage(filter, days))?;
        let mut streams: BTreeMap<StreamKey, BTreeMap<i64, Day>> =
            there.into_iter().map(|coverage| (coverage.stream, coverage.days)).collect();
        for Coverage { stream, days, .. } in self.archive.coverage(filter, days) {
            let known = streams.entry(stream.clone()).or_default();
            for (day, moved) in days {
                let Some(both) = known.get_mut(&day) else {
                    known.insert(day, moved);
                    continue;
                };
                let (rows, ids) = self.twice(&stream, day)?;
                both.add(&moved);
                both.rows = both.rows.saturating_sub(rows);
                both.ids = both.ids.saturating_sub(ids);
            }
        }
        Ok(streams.into_iter().filter_map(|(key, days)| Coverage::of(key, days)).collect())
    }

    /// Rows of a day that are in both stores, and how many ids they stand for.
    fn twice(&self, stream: &StreamKey, day: i64) -> anyhow::Result<(u64, u64)> {
        let (mut after, mut rows, mut ids) = (None, 0_u64, 0_u64);
        loop {
            let some = self.warehouse.extents(stream, day, after, IDENTITIES_MAX);
            let some = self.runtime.block_on(some)?;
            for (extent, is_moved) in some.iter().zip(self.archive.stored(stream, &some)?) {
                rows += u64::from(is_moved);
                ids = ids.saturating_add(if is_moved { extent.count() } else { 0 });
            }
            if some.len() < IDENTITIES_MAX {
                return Ok((rows, ids));
            }
            after = some.last().map(|extent| extent.identity);
        }
    }
}

/// A row of a page: what it is sorted by, and its text.
type Row = ((StreamKey, Identity), Box<RawValue>);

/// One page out of the answers of two stores to one query.
fn merge(query: &Query, one: Page, other: Page) -> anyhow::Result<Page> {
    for (page, is_empty) in [(&one, other.count == 0), (&other, one.count == 0)] {
        if is_empty {
            return Ok(page.clone());
        }
    }
    // Behind the last row of a page that goes on, rows of it are missing here.
    let ends = [&one, &other].map(|page| page.next.clone());
    let is_whole = |key: &(StreamKey, Identity)| {
        let within = |end: &Cursor| {
            order(query, key, &(end.stream.clone(), end.identity)) != Ordering::Greater
        };
        ends.iter().flatten().all(within)
    };
    let (mut one, mut other) = (rows_of(&one)?.peekable(), rows_of(&other)?.peekable());
    let (mut page, mut last) = (Page::default(), None);
    while let Some((key, text)) = next(query, &mut one, &mut other) {
        let full =
            page.count == query.limit.clamp(1, PAGE_ROWS_MAX) || page.rows.len() >= PAGE_BYTES_MAX;
        if full || !is_whole(&key) {
            page.next = last;
            return Ok(page);
        }
        if page.count > 0 {
            page.rows.push(b',');
        }
        page.rows.extend_from_slice(text.get().as_bytes());
        page.count += 1;
        last = Some(Cursor { stream: key.0, identity: key.1 });
    }
    if ends.iter().any(Option::is_some) {
        page.next = last;
    }
    Ok(page)
}

/// Takes the row that comes first, once.
fn next(
    query: &Query,
    one: &mut Peekable<impl Iterator<Item = Row>>,
    other: &mut Peekable<impl Iterator<Item = Row>>,
) -> Option<Row> {
    let first = match (one.peek(), other.peek()) {
        (Some((a, _)), Some((b, _))) => order(query, a, b),
        (Some(_), None) => Ordering::Less,
        (None, _) => Ordering::Greater,
    };
    match first {
        Ordering::Less => one.next(),
        Ordering::Greater => other.next(),
        Ordering::Equal => {
            other.next();
            one.next()
        }
    }
}

fn order(query: &Query, a: &(StreamKey, Identity), b: &(StreamKey, Identity)) -> Ordering {
    match query.order {
        Order::Ascending => a.cmp(b),
        Order::Descending => b.cmp(a),
    }
}

fn rows_of(page: &Page) -> anyhow::Result<impl Iterator<Item = Row> + use<>> {
    let mut decoder = wire::Decoder::new();
    let row = |text: Box<RawValue>| {
        let event = decoder.decode(text.get().as_bytes())?;
        Ok(((StreamKey::from(&*event.instrument), event.identity()), text))
    };
    let rows: anyhow::Result<Vec<Row>> = texts(page)?.into_iter().map(row).collect();
    Ok(rows?.into_iter())
}
