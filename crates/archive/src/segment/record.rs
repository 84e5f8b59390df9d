//! The record: one cut as bytes.
//!
//! All integers are little-endian.
//!
//! ```text
//! header   magic "MPC1" · u32 payload bytes · u32 CRC of the payload · u32 CRC of these 12 bytes
//! payload  u64 first and last stream sequence · u32 blocks · u32 streams · u32 rows
//!          blocks × (u64 stream sequence · u16 length · id)
//!          streams × (u16 length · "venue/market/symbol")
//!          rows × (u32 stream · u32 length · u64 major · u64 minor · i64 time · u64 stream sequence)
//!          the rows' JSON, one after the other
//! ```
//!
//! The header has a checksum of its own, so that a damaged length is never followed.

use crate::cut::Row;
use crate::{Cut, Error};
use catalog::StreamKey;
use model::Identity;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 16;
/// How a record begins.
pub(crate) const MAGIC: &[u8; 4] = b"MPC1";

/// A record read back: everything but the rows' JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) streams: Vec<StreamKey>,
    pub(crate) rows: Vec<Row>,
    /// Bytes from the record's begin to the first row's JSON.
    pub(crate) body_at: usize,
    /// Bytes of the whole record.
    pub(crate) len: usize,
}

/// Writes the rows of `cut` that `fresh` names (ascending) as one record.
///
/// Returns the record and where the first row's JSON is in it.
pub(crate) fn encode(cut: &Cut, fresh: &[usize]) -> Result<(Vec<u8>, usize), Error> {
    let mut out = Vec::with_capacity(HEADER + 64 + cut.body.len() + 48 * fresh.len());
    out.extend_from_slice(&[0; HEADER]);
    out.extend_from_slice(&cut.first_seq().unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&cut.last_seq().unwrap_or(0).to_le_bytes());
    for count in [cut.blocks.len(), cut.streams.len(), fresh.len()] {
        out.extend_from_slice(&small(count)?.to_le_bytes());
    }
    for (seq, id) in &cut.blocks {
        out.extend_from_slice(&seq.to_le_bytes());
        text(id, &mut out);
    }
    for stream in &cut.streams {
        text(&stream.to_string(), &mut out);
    }
    for &index in fresh {
        let row = &cut.rows[index];
        out.extend_from_slice(&row.stream.to_le_bytes());
        out.extend_from_slice(&row.len.to_le_bytes());
        out.extend_from_slice(&row.identity.major.to_le_bytes());
        out.extend_from_slice(&row.identity.minor.to_le_bytes());
        out.extend_from_slice(&row.time.to_le_bytes());
        out.extend_from_slice(&row.stream_seq.to_le_bytes());
    }
    let body_at = out.len();
    body(cut, fresh, &mut out);
    let payload = small(out.len() - HEADER)?;
    let checksum = crc32fast::hash(&out[HEADER..]);
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&payload.to_le_bytes());
    out[8..12].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&out[..12]);
    out[12..HEADER].copy_from_slice(&checksum.to_le_bytes());
    Ok((out, body_at))
}

fn body(cut: &Cut, fresh: &[usize], out: &mut Vec<u8>) {
    if fresh.len() == cut.rows.len() {
        out.extend_from_slice(&cut.body);
        return;
    }
    let (mut at, mut wanted) = (0, fresh.iter().peekable());
    for (index, row) in cut.rows.iter().enumerate() {
        let end = at + usize::try_from(row.len).expect("32 bits fit");
        if wanted.next_if_eq(&&index).is_some() {
            out.extend_from_slice(&cut.body[at..end]);
        }
        at = end;
    }
}

fn small(value: usize) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::CutTooLarge { bytes: value })
}

/// Ids and names are far below 64 KiB; one that were not would be cut, never break the record.
fn text(text: &str, out: &mut Vec<u8>) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(len)]);
}

/// The length that the header at the begin of `bytes` declares, if it is an intact header.
pub(crate) fn declared(bytes: &[u8]) -> Option<usize> {
    let mut header = Input(bytes.get(..HEADER)?);
    if header.take(4)? != MAGIC {
        return None;
    }
    let (len, _) = (header.u32()?, header.u32()?);
    if crc32fast::hash(&bytes[..12]) != header.u32()? {
        return None;
    }
    HEADER.checked_add(usize::try_from(len).ok()?)
}

/// Reads the record at the begin of `bytes`, or `None` if there is no intact one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
    let len = declared(bytes)?;
    let checksum = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let payload = bytes.get(HEADER..len)?;
    if crc32fast::hash(payload) != checksum {
        return None;
    }
    let mut input = Input(payload);
    let (first_seq, last_seq) = (input.u64()?, input.u64()?);
    let (blocks, streams, rows) = (input.u32()?, input.u32()?, input.u32()?);
    for _ in 0..blocks {
        input.u64()?;
        input.text()?;
    }
    let streams: Vec<StreamKey> =
        (0..streams).map(|_| input.text()?.parse().ok()).collect::<Option<_>>()?;
    let rows: Vec<Row> = (0..rows).map(|_| input.row()).collect::<Option<_>>()?;
    let body: u64 = rows.iter().map(|row| u64::from(row.len)).sum();
    let known = rows.iter().all(|row| usize::try_from(row.stream).is_ok_and(|s| s < streams.len()));
    if !known || body != u64::try_from(input.0.len()).ok()? {
        return None;
    }
    Some(Record { first_seq, last_seq, streams, rows, body_at: len - input.0.len(), len })
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    fn row(&mut self) -> Option<Row> {
        let (stream, len) = (self.u32()?, self.u32()?);
        let identity = Identity { major: self.u64()?, minor: self.u64()? };
        Some(Row {
            stream,
            len,
            identity,
            first: identity.major,
            time: i64::from_le_bytes(self.take(8)?.try_into().ok()?),
            stream_seq: self.u64()?,
        })
    }
}
