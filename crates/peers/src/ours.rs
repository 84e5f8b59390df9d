//! Ours, measured as the others are: the adapters that the collector runs, and the book that
//! readers of the bus keep.

#[cfg(test)]
mod tests;

use crate::answer::{Answer, Measured, Task, median};
use crate::case::{Case, Dialect};
use crate::frames::{self, Frames};
use anyhow::{bail, ensure};
use book::Follower;
use model::{Body, BookType};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use units::UnixNanos;
use venue::{Adapter, FrameType, Message};

/// When every frame is received.
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// Measures a case.
///
/// # Errors
///
/// Its files are not there, a frame is refused, or a book falls out of step.
pub(crate) fn measure(task: Task, case: &Case, folder: &Path) -> anyhow::Result<Answer> {
    if task.needs_book() && !case.is_book {
        let unsupported = Some(format!("{} are no updates of a book", case.name));
        return Ok(Answer { measured: None, unsupported });
    }
    let frames = frames::read(case, folder)?;
    let measured = match case.dialect {
        Dialect::BinanceSpot => with(venue_binance::Spot::new(), task, &frames)?,
        Dialect::BinancePerp => with(venue_binance::Perp::new(), task, &frames)?,
        Dialect::Okx => with(venue_okx::Spot::new(), task, &frames)?,
        Dialect::DeribitOptions => with(venue_deribit::Options::new(), task, &frames)?,
    };
    Ok(Answer { measured: Some(measured), unsupported: None })
}

fn with<A: Adapter + Clone>(
    mut adapter: A,
    task: Task,
    frames: &Frames,
) -> anyhow::Result<Measured> {
    let mut first = decode(&mut adapter, &frames.first)?;
    for message in &mut first {
        begin(message);
    }
    let messages = decode(&mut adapter, &frames.measured)?;
    let nanos = match task {
        Task::Decode => median(|| decode_pass(&adapter, &frames.measured)),
        Task::Apply => {
            in_step(&mut follow(&first), &messages)?;
            median(|| apply_pass(&first, &messages))
        }
        Task::Both => {
            in_step(&mut follow(&first), &messages)?;
            median(|| both_pass(&adapter, &first, &frames.measured))
        }
    };
    Ok(Measured {
        frames: frames.measured.len() as u64,
        events: messages.len() as u64,
        levels: Some(messages.iter().map(levels).sum()),
        nanos,
    })
}

/// What frames become.
fn decode<A: Adapter>(adapter: &mut A, frames: &[String]) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for frame in frames {
        match adapter.parse(frame.as_bytes(), NOW, &mut messages) {
            Ok(FrameType::Data(_)) => {}
            Ok(other) => bail!("{} is no data: {frame}", other.as_str()),
            Err(error) => bail!("{error}: {frame}"),
        }
    }
    Ok(messages)
}

/// Makes a snapshot of what [`frames`] wrote as a frame of the stream of updates.
fn begin(message: &mut Message) {
    if let Body::Book(book) = &mut message.event.body {
        book.book_type = BookType::Snapshot;
        (book.first_id, book.prev_id) = (None, None);
    }
}

fn levels(message: &Message) -> u64 {
    match &message.event.body {
        Body::Book(book) => (book.bids.len() + book.asks.len()) as u64,
        Body::Trade(_)
        | Body::AggTrade(_)
        | Body::Bbo(_)
        | Body::Ticker(_)
        | Body::Kline(_)
        | Body::Mark(_)
        | Body::Funding(_)
        | Body::OpenInterest(_)
        | Body::Liquidation(_)
        | Body::LongShortRatio(_)
        | Body::VolatilityIndex(_)
        | Body::Gap(_)
        | Body::Status(_) => 0,
    }
}

/// The books that the first messages begin, by slot.
fn follow(first: &[Message]) -> Vec<Follower> {
    let count = first.iter().map(|message| message.slot.index() + 1).max().unwrap_or_default();
    let mut books: Vec<Follower> = (0..count).map(|_| Follower::new(0)).collect();
    for message in first {
        books[message.slot.index()].take(&message.event, None);
    }
    books
}

/// Whether every message finds its book, and leaves it in step.
fn in_step(books: &mut [Follower], messages: &[Message]) -> anyhow::Result<()> {
    for message in messages {
        let Some(book) = books.get_mut(message.slot.index()) else {
            bail!("{} has no snapshot", message.event.instrument.name);
        };
        let effect = book.take(&message.event, None);
        ensure!(book.is_in_step(), "{}: {effect:?}", message.event.instrument.name);
    }
    Ok(())
}

fn decode_pass<A: Adapter + Clone>(adapter: &A, frames: &[String]) -> Duration {
    let (mut adapter, mut messages) = (adapter.clone(), Vec::new());
    let began = Instant::now();
    for frame in frames {
        // Whether it is refused was looked at before.
        adapter.parse(black_box(frame.as_bytes()), NOW, &mut messages).ok();
        black_box(&messages);
        messages.clear();
    }
    began.elapsed()
}

fn apply_pass(first: &[Message], messages: &[Message]) -> Duration {
    let mut books = follow(first);
    let began = Instant::now();
    for message in messages {
        black_box(books[message.slot.index()].take(black_box(&message.event), None));
    }
    began.elapsed()
}

fn both_pass<A: Adapter + Clone>(adapter: &A, first: &[Message], frames: &[String]) -> Duration {
    let (mut adapter, mut messages, mut books) = (adapter.clone(), Vec::new(), follow(first));
    let began = Instant::now();
    for frame in frames {
        adapter.parse(black_box(frame.as_bytes()), NOW, &mut messages).ok();
        for message in messages.drain(..) {
            black_box(books[message.slot.index()].take(&message.event, None));
        }
    }
    began.elapsed()
}
