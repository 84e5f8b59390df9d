//! Books of the cold store → hot store.
//!
//! ```text
//! live lane   ············ 13 14 15 16 17 ▶   kept from here on
//! cold store  snapshot 10, 11 12 13 14 ···    read again after each cut, until both meet
//! ```
//!
//! What is stored lags behind the live lane by the length of a cut. So the hot store keeps what the
//! live lane says of a book before it is read here, and a book is in step once the diffs that are
//! stored reach those that were kept. A book that does not get there in time is read again some
//! rounds later, unless the live lane has brought a snapshot, which it does each minute.

use super::{Left, Unread, Which, only, streams};
use crate::cold::Reader;
use crate::figures::Handle;
use crate::hot::desk::{Seed, StoredBook};
use crate::rows;
use book::Follower;
use catalog::{Cursor, Order, Query, StreamKey};
use model::{Body, BookType, Event, Kind};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use units::UnixNanos;

/// Books read side by side: they and what is kept of them take some ten megabytes.
const BOOKS_MAX: usize = 128;
/// Rows read of a book at most: a quarter of an hour of updates each 100 ms, and a third more. The
/// collector publishes a whole snapshot every quarter of an hour.
const ROWS_MAX: usize = 12_000;
/// Rows read at a time.
const PAGE_ROWS: usize = 2_000;
/// How old a row may be: the books of instruments that are gone are nobody's business.
const AGE_MAX_NS: i64 = 3_600_000_000_000;
/// How long the store may take to reach what was kept: several cuts.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks at what was stored since.
const PAUSE: Duration = Duration::from_millis(250);

/// A book as far as it was read.
struct Growing {
    key: StreamKey,
    book: Follower,
    /// The newest row that was read.
    last: Option<Cursor>,
}

/// Seeds every book that the live lane has not brought by then, some at a time.
pub(super) async fn seed(
    which: Which,
    handle: &Handle,
    seeds: &mpsc::Sender<Seed>,
) -> anyhow::Result<Left> {
    let Some(streams) = streams(Kind::Book, which, &handle.reader).await? else {
        return Ok(Left::ALL);
    };
    let (mut unread, mut behind) = (Unread::default(), Vec::new());
    for keys in streams.chunks(BOOKS_MAX) {
        let mut wanted = Vec::with_capacity(keys.len());
        for key in keys {
            if ask(seeds, |reply| Seed::Expect(key.clone(), reply)).await {
                wanted.push(Growing::new(key.clone()));
            }
        }
        behind.extend(grow(handle, seeds, wanted, &mut unread).await?);
        for key in keys {
            // Without a hot store the service is stopping.
            seeds.send(Seed::Settle(key.clone())).await.ok();
        }
    }
    Ok(Left { behind, ..unread.left(Kind::Book) })
}

/// Reads books until they meet what was kept of them, or the time is over; returns which do not.
async fn grow(
    handle: &Handle,
    seeds: &mpsc::Sender<Seed>,
    mut books: Vec<Growing>,
    unread: &mut Unread,
) -> anyhow::Result<Vec<StreamKey>> {
    let mut figures = handle.figures.clone();
    let until = Instant::now() + SETTLE_MAX;
    let start = UnixNanos::new(daemon::clock::now().saturating_sub(AGE_MAX_NS));
    loop {
        figures.mark_unchanged();
        let mut behind = Vec::with_capacity(books.len());
        for book in books {
            let (reader, key) = (handle.reader.clone(), book.key.clone());
            match spawn_blocking(move || book.read(&reader, start)).await? {
                // Nothing of the last hour: its instrument is gone.
                Ok(book) if book.last.is_none() => {}
                Ok(book) => {
                    if !hand_over(seeds, &book).await {
                        behind.push(book);
                    }
                }
                Err(error) => unread.add(key, error),
            }
        }
        books = behind;
        if books.is_empty() {
            return Ok(Vec::new());
        }
        sleep(PAUSE).await;
        let more = timeout_at(until, figures.changed()).await;
        let is_more = more.is_ok_and(|changed| changed.is_ok());
        if !is_more || Instant::now() >= until {
            tracing::debug!(books = books.len(), "the store is too far behind for books");
            return Ok(books.into_iter().map(|book| book.key).collect());
        }
    }
}

/// Gives the hot store what was read of a book. Whether it is in step there.
async fn hand_over(seeds: &mpsc::Sender<Seed>, growing: &Growing) -> bool {
    let Growing { key, book, .. } = growing;
    if !book.is_in_step() {
        return false;
    }
    let stored =
        StoredBook { key: key.clone(), book: book.snapshot(), recv_time: book.recv_time() };
    ask(seeds, |reply| Seed::Book(stored, reply)).await
}

/// Asks the hot store; without one the answer is no.
async fn ask(
    seeds: &mpsc::Sender<Seed>,
    question: impl FnOnce(oneshot::Sender<bool>) -> Seed,
) -> bool {
    let (reply, answer) = oneshot::channel();
    seeds.send(question(reply)).await.is_ok() && answer.await.unwrap_or(false)
}

impl Growing {
    fn new(key: StreamKey) -> Self {
        Self { key, book: Follower::new(0), last: None }
    }

    /// Reads what is stored of it and was not read yet.
    fn read(mut self, reader: &Reader, start: UnixNanos) -> anyhow::Result<Self> {
        let events = match &self.last {
            None => newest(reader, &self.key, start)?,
            Some(last) => later(reader, last)?,
        };
        for event in &events {
            self.book.take(event, None);
        }
        if let Some(event) = events.last() {
            self.last = Some(Cursor { stream: self.key.clone(), identity: event.identity() });
        }
        Ok(self)
    }
}

/// The rows from the newest snapshot on, oldest first.
fn newest(reader: &Reader, key: &StreamKey, start: UnixNanos) -> anyhow::Result<Vec<Event>> {
    let (filter, order) = (only(key.clone()), Order::Descending);
    let mut query =
        Query { filter, order, start: Some(start), limit: PAGE_ROWS, ..Query::default() };
    let (mut events, mut decoder) = (Vec::new(), wire::Decoder::new());
    loop {
        let page = reader.query(&query)?;
        rows::each(&page, &mut decoder, |event, _| events.push(event))?;
        let is_whole = events.iter().any(is_snapshot);
        if is_whole || page.next.is_none() || events.len() >= ROWS_MAX {
            events.reverse();
            return Ok(events);
        }
        query.after = page.next;
    }
}

/// The rows behind one.
fn later(reader: &Reader, last: &Cursor) -> anyhow::Result<Vec<Event>> {
    let filter = only(last.stream.clone());
    let query = Query { filter, limit: PAGE_ROWS, after: Some(last.clone()), ..Query::default() };
    let page = reader.query(&query)?;
    let mut events = Vec::with_capacity(page.count);
    rows::each(&page, &mut wire::Decoder::new(), |event, _| events.push(event))?;
    Ok(events)
}

fn is_snapshot(event: &Event) -> bool {
    matches!(&event.body, Body::Book(book) if book.book_type == BookType::Snapshot)
}
