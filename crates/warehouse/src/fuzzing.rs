//! What the fuzzers call, and the tests that replay their corpora: what a server answers.

use crate::Error;
use crate::decode::{self, Answer};
use model::{Body, Event, Kind};
use std::fmt::Debug;

/// Reads bytes as rows: the first byte says of which kind, or that they are instruments.
///
/// Says whether there was a row.
///
/// # Panics
///
/// If something does not hold that queries rely on.
pub fn answer(data: &[u8]) -> bool {
    let Some((first, rows)) = data.split_first() else { return false };
    let Some(kind) = Kind::ALL.get(usize::from(*first)).copied() else {
        return !hold(rows, decode::listed).is_empty();
    };
    let events = hold(rows, |answer| {
        let row = decode::row(answer, kind)?;
        Ok((row.event, row.stream_seq))
    });
    assert!(events.iter().all(|(event, _)| event.kind() == kind));
    // Every level is two numbers.
    let levels: usize = events.iter().map(|(event, _)| levels(event)).sum();
    assert!(levels * 32 <= rows.len(), "{levels} levels in {} bytes", rows.len());
    !events.is_empty()
}

/// Reads rows; cut off anywhere, an answer keeps the rows before, and no other comes of the rest.
fn hold<T: Debug + PartialEq>(
    rows: &[u8],
    row: impl Fn(&mut Answer<'_>) -> Result<T, Error>,
) -> Vec<T> {
    let (said, ends) = read(rows, &row);
    assert!(said.len() <= rows.len(), "{} rows", said.len());
    let cut = rows.len() * usize::from(rows.last().copied().unwrap_or_default()) / 256;
    let whole = ends.iter().filter(|end| **end <= cut).count();
    let (kept, _) = read(&rows[..cut], &row);
    assert_eq!(kept, said[..whole], "cut off at {cut}");
    said
}

/// The rows up to the first that is none, and where each of them ends.
fn read<T>(
    rows: &[u8],
    row: &impl Fn(&mut Answer<'_>) -> Result<T, Error>,
) -> (Vec<T>, Vec<usize>) {
    let (mut said, mut ends) = (Vec::new(), Vec::new());
    let mut answer = Answer::new(rows);
    while !answer.is_empty() {
        let Ok(row) = row(&mut answer) else { break };
        said.push(row);
        ends.push(rows.len() - answer.left());
    }
    (said, ends)
}

fn levels(event: &Event) -> usize {
    let Body::Book(book) = &event.body else { return 0 };
    book.bids.len() + book.asks.len()
}
