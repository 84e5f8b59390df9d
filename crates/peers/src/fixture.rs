//! Committed frames, read again and again: what is left between two runs of different length is
//! what reading them takes, to the instruction.

#[cfg(test)]
mod tests;

use anyhow::{Context as _, bail};
use book::OrderBook;
use model::{Body, Book};
use std::hint::black_box;
use units::UnixNanos;
use venue::{Adapter, Message};

/// A name, what reads it, and a frame, one a line; lines of one name follow one another.
const FRAMES: &str = include_str!("../testdata/frames.tsv");

/// When every frame is received.
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// The committed frames, by name.
///
/// # Panics
///
/// If the committed file is damaged.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = rows().map(|(name, ..)| name).collect();
    names.dedup();
    names
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FRAMES.lines().map(|line| {
        let (name, rest) = line.split_once('\t').expect("a line has three fields");
        let (dialect, frame) = rest.split_once('\t').expect("a line has three fields");
        (name, dialect, frame)
    })
}

/// Reads the frames of a name so often.
pub(crate) fn repeat(wanted: &str, times: u32) -> anyhow::Result<()> {
    let rows: Vec<_> = rows().filter(|(name, ..)| *name == wanted).collect();
    let (_, dialect, _) = rows.first().with_context(|| format!("there is no frame {wanted}"))?;
    let frames: Vec<&[u8]> = rows.iter().map(|(_, _, frame)| frame.as_bytes()).collect();
    match *dialect {
        "binance" => parse(venue_binance::Spot::new(), &frames, times),
        "binance-perp" => parse(venue_binance::Perp::new(), &frames, times),
        "okx" => parse(venue_okx::Spot::new(), &frames, times),
        "deribit" => parse(venue_deribit::Perp::new(), &frames, times),
        "binance-applied" => apply(venue_binance::Spot::new(), &frames, times),
        other => bail!("nothing reads {other}"),
    }
}

fn parse<A: Adapter>(mut adapter: A, frames: &[&[u8]], times: u32) -> anyhow::Result<()> {
    let mut messages = Vec::new();
    for _ in 0..times {
        for frame in frames {
            adapter.parse(black_box(frame), NOW, &mut messages)?;
            black_box(&messages);
            messages.clear();
        }
    }
    Ok(())
}

fn apply<A: Adapter>(mut adapter: A, frames: &[&[u8]], times: u32) -> anyhow::Result<()> {
    let mut messages = Vec::new();
    for frame in frames {
        adapter.parse(frame, NOW, &mut messages)?;
    }
    let updates: Vec<Book> = messages.into_iter().filter_map(update).collect();
    let mut book = OrderBook::new();
    for _ in 0..times {
        for update in &updates {
            book.apply(black_box(&update.bids), black_box(&update.asks));
            black_box((book.best_bid(), book.best_ask()));
        }
    }
    Ok(())
}

fn update(message: Message) -> Option<Book> {
    if let Body::Book(book) = message.event.body { Some(book) } else { None }
}
