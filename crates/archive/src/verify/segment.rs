//! The records of a segment, and the rows in them.

use super::finding::{Check, Findings};
use crate::Error;
use crate::cut::Row;
use crate::segment::record::Record;
use crate::segment::{Scan, scan, u64_of};
use catalog::StreamKey;
use model::Kind;
use std::path::{Path, PathBuf};

/// What a segment was found to be.
pub(super) struct Checked {
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) unfinished_bytes: u64,
}

pub(super) fn check(
    path: &Path,
    number: u64,
    kind: Kind,
    findings: &mut Findings,
) -> Result<Checked, Error> {
    let read = || std::fs::read(path).map_err(Error::io("cannot read", path));
    let (mut bytes, mut scan) = read().map(|bytes| (scan(&bytes), bytes)).map(|(s, b)| (b, s))?;
    if scan.spoilt.is_some() {
        // A record may have been caught while it was written; damage stays what it is.
        bytes = read()?;
        scan = crate::segment::scan(&bytes);
    }
    let name = PathBuf::from(format!("segments/{kind}/{number:010}.seg"));
    damages(&scan, &name, findings);
    let mut rows = 0;
    let mut decoder = wire::Decoder::new();
    for (at, record) in &scan.records {
        let mut body = &bytes[at + record.body_at..at + record.len];
        for row in &record.rows {
            let (json, rest) = body.split_at(usize::try_from(row.len).expect("32 bits fit"));
            body = rest;
            if let Err(what) = check_row(kind, json, row, record, &mut decoder) {
                findings.add(Check::SegmentRow, &name, Some(rows), || what);
            }
            rows += 1;
        }
    }
    let unfinished = if scan.spoilt.is_some() { 0 } else { bytes.len().saturating_sub(scan.end) };
    Ok(Checked { bytes: u64_of(bytes.len()), rows, unfinished_bytes: u64_of(unfinished) })
}

fn damages(scan: &Scan, name: &Path, findings: &mut Findings) {
    for bytes in scan.damages.iter().chain(&scan.spoilt) {
        let before = |(at, _): &&(usize, Record)| *at < bytes.start;
        let rows = scan.records.iter().take_while(before).map(|(_, r)| u64_of(r.rows.len())).sum();
        let what = || format!("bytes {} to {} are no intact record", bytes.start, bytes.end);
        findings.add(Check::Record, name, Some(rows), what);
    }
}

fn check_row(
    kind: Kind,
    json: &[u8],
    row: &Row,
    record: &Record,
    decoder: &mut wire::Decoder,
) -> Result<(), String> {
    let event = decoder.decode(json).map_err(|error| format!("it is no event: {error}"))?;
    let stream = usize::try_from(row.stream).ok().and_then(|index| record.streams.get(index));
    if event.kind() != kind {
        return Err(format!("it is a {} event", event.kind()));
    }
    if stream != Some(&StreamKey::from(&*event.instrument)) {
        return Err("the index says another stream".to_owned());
    }
    if event.identity() != row.identity || event.time().as_i64() != row.time {
        return Err("the index says another identity or time".to_owned());
    }
    if !(record.first_seq..=record.last_seq).contains(&row.stream_seq) {
        let (seq, Record { first_seq, last_seq, .. }) = (row.stream_seq, record);
        return Err(format!("stream_seq {seq} is not in {first_seq} to {last_seq}"));
    }
    Ok(())
}
