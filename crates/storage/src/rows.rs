//! Rows of a page, one by one, for those who look inside.

use crate::cold::{Reader, texts};
use anyhow::Context as _;
use catalog::{Page, Query};
use model::{Event, Gap, GapState};
use serde_json::value::RawValue;
use units::UnixNanos;

/// Calls `each` with the events of a page and their JSON as it was on the bus.
pub(crate) fn each(
    page: &Page,
    decoder: &mut wire::Decoder,
    mut each: impl FnMut(Event, Vec<u8>),
) -> anyhow::Result<()> {
    let mut text = Vec::with_capacity(page.rows.len() + 2);
    text.push(b'[');
    text.extend_from_slice(&page.rows);
    text.push(b']');
    for row in serde_json::from_slice::<Vec<&RawValue>>(&text)? {
        let event = decoder.decode(row.get().as_bytes())?;
        let mut json = Vec::with_capacity(row.get().len());
        wire::encode(&event, &mut json);
        each(event, json);
    }
    Ok(())
}

/// The events of a page, each behind the stream sequence of its block.
pub(crate) fn stored(page: Page, decoder: &mut wire::Decoder) -> anyhow::Result<Vec<(u64, Event)>> {
    let rows = texts(&page)?;
    // Books are megabytes, and there are several forms of them: one goes before the next comes.
    drop(page);
    let row = |row: Box<RawValue>| {
        let text = row.get().as_bytes();
        let stream_seq = catalog::stream_seq(text).context("a row has no stream sequence")?;
        Ok((stream_seq, decoder.decode(text)?))
    };
    rows.into_iter().map(row).collect()
}

/// Reads every gap record that matches, the newest version of each.
pub(crate) fn gaps(reader: &Reader, mut query: Query) -> anyhow::Result<Vec<(Event, Gap)>> {
    let mut gaps: Vec<(Event, Gap)> = Vec::new();
    let mut decoder = wire::Decoder::new();
    query.limit = catalog::PAGE_ROWS_MAX;
    loop {
        let page = reader.query(&query)?;
        each(&page, &mut decoder, |event, _| {
            let model::Body::Gap(gap) = &event.body else { return };
            let gap = gap.clone();
            // Versions of one gap are neighbours: they share the identity's major.
            match gaps.last_mut().filter(|(_, known)| known.gap_id == gap.gap_id) {
                Some(known) if known.1.version < gap.version => {
                    let since = began(&known.1);
                    *known = (event, gap);
                    known.1.since = known.1.since.or(since);
                }
                Some(known) => known.1.since = known.1.since.or(began(&gap)),
                None => gaps.push((event, gap)),
            }
        })?;
        if page.next.is_none() {
            return Ok(gaps);
        }
        query.after = page.next;
    }
}

/// Since when something is missing, as an earlier version of a record says: a later run that does not
/// know it says only where. One that was closed is of something else.
fn began(earlier: &Gap) -> Option<UnixNanos> {
    earlier.since.filter(|_| earlier.state == GapState::Open)
}
