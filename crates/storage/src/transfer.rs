//! Moves whole days from ClickHouse into the archive.
//!
//! ```text
//! copy     rows → segments of the archive, synced, then Parquet     both have the day
//! compare  every row of ClickHouse, read back from the archive      both have the day
//! confirm  ClickHouse still has exactly these rows                  both have the day
//! drop     the partition, unless some came since                    the archive has it
//! ```
//!
//! Only the drop, and each page of the copy, has the writer to itself: rows go on being stored while a
//! day is compared. That has a limit, and ends when whoever asked has gone.
//!
//! Copying drops what the archive has already, so a move that was interrupted anywhere is repeated
//! and finds its own rows. Until then ClickHouse has everything; while both have a day, what is
//! read of both counts once.

use crate::cold::{Both, Reader, Table, texts};
use crate::figures::Handle;
use crate::writer::Command;
use anyhow::Context as _;
use catalog::{Page, Query, StreamKey};
use model::{Identity, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::vec;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use units::UnixNanos;
use warehouse::{ExpiredDay, Fingerprint};

const DAY_NANOS: i64 = 86_400_000_000_000;
/// Rows compared before the thread is given back.
const TURN_ROWS: usize = 50_000;

/// Something that is done with a table while nothing else is.
pub(crate) struct Work(Box<dyn FnOnce(&mut Table) + Send>);

impl Work {
    pub(crate) fn run(self, table: &mut Table) {
        (self.0)(table);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// A row of ClickHouse that the archive does not have as it is.
#[derive(Debug, thiserror::Error)]
#[error("after {equal} rows that are the same, {what}; the day stays in ClickHouse")]
pub(crate) struct Mismatch {
    equal: u64,
    what: String,
}

/// A day that was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Rows read from ClickHouse.
    pub(crate) rows: u64,
    /// Of those, what the archive did not have.
    pub(crate) fresh: u64,
}

/// Moves the days of one kind.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    kind: Kind,
    handle: &'a Handle,
    both: Both,
}

impl<'a> Transfer<'a> {
    /// `None` if the archive is the store.
    pub(crate) fn new(kind: Kind, handle: &'a Handle) -> Option<Self> {
        match &handle.reader {
            Reader::Archive(_) => None,
            Reader::Warehouse(both) => Some(Self { kind, handle, both: both.clone() }),
        }
    }

    /// The days in ClickHouse that lie before this one.
    pub(crate) async fn days(&self, before: i64) -> anyhow::Result<Vec<ExpiredDay>> {
        Ok(self.both.warehouse.days_before(before).await?)
    }

    /// Copies a day into the archive; its rows are synced once this returns.
    pub(crate) async fn copy(&self, day: i64) -> anyhow::Result<Copied> {
        let (mut query, mut copied) = (of_day(day), Copied::default());
        loop {
            let (page, kind) = (self.both.warehouse.query(&query).await?, self.kind);
            let next = page.next.clone();
            let cut = spawn_blocking(move || cut(kind, &page)).await??;
            copied.rows += count(cut.rows());
            copied.fresh += count(self.keep(cut).await?);
            if next.is_none() {
                break;
            }
            query.after = next;
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Roll(reply)).await?;
        answer.await.context("the service is stopping")?.map_err(anyhow::Error::msg)?;
        Ok(copied)
    }

    /// Reads a day of both stores and compares it row by row. The answer says what was compared.
    pub(crate) async fn compare(&self, day: i64) -> anyhow::Result<Fingerprint> {
        let seen = self.both.warehouse.fingerprint(day).await?;
        let Both { warehouse, runtime, archive } = self.both.clone();
        let there = move |query: &Query| Ok(runtime.block_on(warehouse.query(query))?);
        let here = move |query: &Query| Ok(archive.query(query)?);
        let mut comparison = Comparison::new(there, here, day);
        loop {
            let compared = spawn_blocking(move || {
                let is_done = comparison.advance(TURN_ROWS);
                (comparison, is_done)
            });
            let is_done;
            (comparison, is_done) = compared.await?;
            if is_done? {
                break;
            }
        }
        if comparison.equal != seen.rows {
            let what = format!("and {} there were before: it changes meanwhile", seen.rows);
            return Err(Mismatch { equal: comparison.equal, what }.into());
        }
        Ok(seen)
    }

    /// Drops a day from ClickHouse, if it still has exactly the rows that were compared.
    pub(crate) async fn take_out(&self, day: i64, compared: Fingerprint) -> anyhow::Result<()> {
        let confirmed = self.both.warehouse.confirm(day, compared).await?;
        self.work(move |table| match table {
            Table::Warehouse(remote) => {
                Ok(remote.runtime.block_on(remote.table.drop_day(confirmed))?)
            }
            Table::Archive(_) => anyhow::bail!("the archive is the store"),
        })
        .await
    }

    /// Rows that the archive has.
    #[cfg(test)]
    pub(crate) fn archived(&self) -> u64 {
        let stats = self.both.archive.stats();
        stats.segment_rows + stats.parquet_rows
    }

    /// Stores a cut in the archive, and says how many of its rows were new there.
    async fn keep(&self, cut: archive::Cut) -> anyhow::Result<usize> {
        let stored = self.work(move |table| {
            let archive = table.archive().context("there is no archive")?;
            Ok(archive.append(&cut)?.stored)
        });
        stored.await
    }

    /// Does something with the table, which its writer has in hand.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Table) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (reply, answer) = oneshot::channel();
        let work = move |table: &mut Table| {
            // Whoever has gone needs no answer.
            reply.send(work(table)).ok();
        };
        self.send(Command::Work(Work(Box::new(work)))).await?;
        answer.await.context("the service is stopping")?
    }

    async fn send(&self, command: Command) -> anyhow::Result<()> {
        let sent = self.handle.commands.send(command).await;
        sent.map_err(|_| anyhow::anyhow!("the service is stopping"))
    }
}

/// Asks for a day of all streams.
fn of_day(day: i64) -> Query {
    let at = |day: i64| Some(UnixNanos::new(day.saturating_mul(DAY_NANOS)));
    Query { start: at(day), end: at(day + 1), limit: catalog::PAGE_ROWS_MAX, ..Query::default() }
}

#[derive(Deserialize)]
struct Place {
    stream_seq: u64,
}

/// The rows of a page as a cut of the archive.
fn cut(kind: Kind, page: &Page) -> anyhow::Result<archive::Cut> {
    let (mut cut, mut decoder) = (archive::Cut::new(kind), wire::Decoder::new());
    let (mut json, mut block) = (Vec::new(), None);
    for row in texts(page)? {
        let event = decoder.decode(row.get().as_bytes())?;
        let Place { stream_seq } = serde_json::from_str(row.get())?;
        if block != Some(stream_seq) {
            // Which block it was is all that is known of it.
            cut.block(stream_seq, String::new());
            block = Some(stream_seq);
        }
        json.clear();
        wire::encode(&event, &mut json);
        cut.push(&event, &json)?;
    }
    Ok(cut)
}

/// The rows of a query, one after the other.
struct Rows<F> {
    read: F,
    query: Query,
    page: vec::IntoIter<Box<RawValue>>,
    is_last: bool,
}

impl<F: Fn(&Query) -> anyhow::Result<Page>> Rows<F> {
    fn new(read: F, query: Query) -> Self {
        Self { read, query, page: Vec::new().into_iter(), is_last: false }
    }

    fn next(&mut self) -> anyhow::Result<Option<Box<RawValue>>> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            if self.is_last {
                return Ok(None);
            }
            let page = (self.read)(&self.query)?;
            self.page = texts(&page)?.into_iter();
            self.is_last = page.next.is_none();
            self.query.after = page.next;
        }
    }
}

/// Walks through a day of both stores.
struct Comparison<T, H> {
    there: Rows<T>,
    here: Rows<H>,
    equal: u64,
    decoder: wire::Decoder,
}

impl<T, H> Comparison<T, H>
where
    T: Fn(&Query) -> anyhow::Result<Page>,
    H: Fn(&Query) -> anyhow::Result<Page>,
{
    fn new(there: T, here: H, day: i64) -> Self {
        let (there, here) = (Rows::new(there, of_day(day)), Rows::new(here, of_day(day)));
        Self { there, here, equal: 0, decoder: wire::Decoder::new() }
    }

    /// Compares some rows; `true` if there are no more.
    fn advance(&mut self, rows: usize) -> anyhow::Result<bool> {
        for _ in 0..rows {
            let Some(row) = self.there.next()? else { return Ok(true) };
            self.find(&row)?;
            self.equal += 1;
        }
        Ok(false)
    }

    /// Finds a row of ClickHouse in the archive, which may have more of that day.
    fn find(&mut self, row: &RawValue) -> anyhow::Result<()> {
        loop {
            let Some(kept) = self.here.next()? else {
                return Err(self.mismatch(format!("the archive lacks {row}")));
            };
            if kept.get() == row.get() {
                return Ok(());
            }
            let (kept_key, key) = (self.key(&kept)?, self.key(row)?);
            if kept_key == key {
                return Err(self.mismatch(format!("the archive has {kept} in place of {row}")));
            }
            if kept_key > key {
                return Err(self.mismatch(format!("the archive lacks {row}")));
            }
        }
    }

    fn key(&mut self, row: &RawValue) -> anyhow::Result<(StreamKey, Identity)> {
        let event = self.decoder.decode(row.get().as_bytes())?;
        Ok((StreamKey::from(&*event.instrument), event.identity()))
    }

    fn mismatch(&self, what: String) -> anyhow::Error {
        Mismatch { equal: self.equal, what }.into()
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
