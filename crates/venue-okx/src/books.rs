//! Order books: a snapshot, then updates that each name the one before.

use crate::contract::ContractSize;
use crate::fields::{
    Field, Object, Text, TextLevel, contracts, json, millis, must, price, required,
};
use crate::general::{Entry, Subject};
use crate::known::Known;
use crate::unnumbered::{Frame, Ids, Unnumbered};
use model::{Body, Book, BookType, Level};
use serde::Deserialize;
use std::borrow::Cow;
use venue::{ParseError, Reject};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookFrame<'a> {
    #[serde(borrow)]
    asks: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    bids: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    ts: Field<'a>,
    checksum: Option<i64>,
    seq_id: Option<i64>,
    prev_seq_id: Option<i64>,
}

pub(crate) fn read<'a>(
    subject: &Subject<'a>,
    known: &Known,
    unnumbered: &mut Unnumbered,
) -> Result<Vec<Entry<'a>>, ParseError> {
    let name = required(subject.name, "arg.instId")?;
    let book_type = match required(subject.action, "action")? {
        "snapshot" => BookType::Snapshot,
        "update" => BookType::Diff,
        other => {
            return Err(ParseError::new(Reject::UnknownType, format_args!("action {other:?}")));
        }
    };
    let size = known.size(name.as_bytes());
    let frames: Vec<Object<BookFrame<'_>>> = json(subject.data.get().as_bytes())?;
    let mut entries = Vec::with_capacity(frames.len());
    for Object(frame) in frames {
        let venue_time = must(&frame.ts, "ts", millis)?;
        let (bid_texts, ask_texts) = (required(frame.bids, "bids")?, required(frame.asks, "asks")?);
        let (bids, asks) = (levels(&bid_texts, size)?, levels(&ask_texts, size)?);
        let is_snapshot = book_type == BookType::Snapshot;
        let (last_id, prev_id) = match (frame.seq_id, frame.checksum) {
            (Some(seq_id), _) => {
                unnumbered.forget(name);
                numbered(seq_id, frame.prev_seq_id, is_snapshot)?
            }
            (None, Some(checksum)) if checksum != 0 => {
                let (bids, asks) = ((&*bids, &*bid_texts), (&*asks, &*ask_texts));
                let frame = Frame { is_snapshot, venue_time, checksum, bids, asks };
                unnumbered.number(name, &frame)?
            }
            (None, _) => {
                let detail = format_args!("{name} has neither a sequence id nor a checksum");
                return Err(ParseError::new(Reject::Unverifiable, detail));
            }
        };
        let body =
            Body::Book(Book { book_type, first_id: None, last_id, prev_id, part: 0, bids, asks });
        entries.push(Entry { name: Cow::Borrowed(name), venue_time: Some(venue_time), body });
    }
    Ok(entries)
}

/// The ids of a numbered frame: a snapshot's `prevSeqId` is -1.
fn numbered(seq: i64, prev: Option<i64>, is_snapshot: bool) -> Result<Ids, ParseError> {
    let last_id = u64::try_from(seq)
        .map_err(|_| ParseError::new(Reject::OutOfRange, format_args!("`seqId`: {seq}")))?;
    if is_snapshot {
        return Ok((last_id, None));
    }
    match prev.map(u64::try_from) {
        Some(Ok(prev_id)) => Ok((last_id, Some(prev_id))),
        Some(Err(_)) | None => {
            let detail = format_args!("update {seq} does not name the one before");
            Err(ParseError::new(Reject::Unverifiable, detail))
        }
    }
}

/// Reads the levels of a side.
pub(crate) fn levels(
    texts: &[TextLevel<'_>],
    size: ContractSize,
) -> Result<Vec<Level>, ParseError> {
    let contracts = contracts(size);
    let level = |TextLevel { price: Text(at), qty: Text(of) }: &TextLevel<'_>| {
        Ok((price(at, "level")?, contracts(of, "level")?))
    };
    texts.iter().map(level).collect()
}
