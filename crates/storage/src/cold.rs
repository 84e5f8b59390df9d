//! The cold store: the embedded archive, or ClickHouse with the archive for the days that were moved.
//!
//! Both are driven from blocking threads: one reads files there, the other waits there for its
//! server.

use catalog::{Coverage, Days, Filter, Page, Query, Ranges, StreamKey, Tallies};
use model::{Event, Kind};
use serde_json::value::RawValue;
use std::ops::RangeInclusive;
use tokio::runtime::Handle as Runtime;

mod union;

/// Reads one kind's rows beside its writer; cheap to clone. Its methods block.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    Archive(archive::Reader),
    Warehouse(Both),
}

/// Reads ClickHouse and what was moved from there into the archive, as one.
#[derive(Debug, Clone)]
pub(crate) struct Both {
    pub(crate) warehouse: warehouse::Reader,
    pub(crate) runtime: Runtime,
    pub(crate) archive: archive::Reader,
}

/// The rows of a page, one by one, as they are.
pub(crate) fn texts(page: &Page) -> serde_json::Result<Vec<Box<RawValue>>> {
    let mut text = Vec::with_capacity(page.rows.len() + 2);
    text.push(b'[');
    text.extend_from_slice(&page.rows);
    text.push(b']');
    serde_json::from_slice(&text)
}

/// How much a kind's table holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stats {
    Archive(archive::Stats),
    /// The second is what was moved into the archive.
    Warehouse(warehouse::Stats, archive::Stats),
}

impl Reader {
    pub(crate) fn query(&self, query: &Query) -> anyhow::Result<Page> {
        Ok(match self {
            Self::Archive(reader) => reader.query(query)?,
            Self::Warehouse(both) => both.query(query)?,
        })
    }

    /// How many rows a query would hand out, by stream and day.
    pub(crate) fn tally(&self, query: &Query) -> anyhow::Result<Tallies> {
        Ok(match self {
            Self::Archive(reader) => reader.tally(query)?,
            Self::Warehouse(both) => both.tally(query)?,
        })
    }

    pub(crate) fn streams(&self, filter: &Filter) -> anyhow::Result<Vec<StreamKey>> {
        Ok(match self {
            Self::Archive(reader) => reader.streams(filter),
            Self::Warehouse(both) => both.streams(filter)?,
        })
    }

    pub(crate) fn coverage(&self, filter: &Filter, days: &Days) -> anyhow::Result<Vec<Coverage>> {
        Ok(match self {
            Self::Archive(reader) => reader.coverage(filter, days),
            Self::Warehouse(both) => both.coverage(filter, days)?,
        })
    }

    /// Which of these ids are stored.
    pub(crate) fn ranges(
        &self,
        stream: &StreamKey,
        ids: &RangeInclusive<u64>,
    ) -> anyhow::Result<Ranges> {
        Ok(match self {
            Self::Archive(reader) => reader.ranges(stream, ids)?,
            Self::Warehouse(both) => both.ranges(stream, ids)?,
        })
    }

    /// The embedded archive: the store itself, or what was moved into it.
    pub(crate) const fn archive(&self) -> &archive::Reader {
        match self {
            Self::Archive(reader) => reader,
            Self::Warehouse(both) => &both.archive,
        }
    }

    pub(crate) fn stats(&self) -> anyhow::Result<Stats> {
        Ok(match self {
            Self::Archive(reader) => Stats::Archive(reader.stats()),
            Self::Warehouse(Both { warehouse, runtime, archive }) => {
                Stats::Warehouse(runtime.block_on(warehouse.stats())?, archive.stats())
            }
        })
    }
}

/// The one writer of a kind's rows. Its methods block.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per kind, and it is not copied about")]
pub(crate) enum Table {
    Archive(archive::Table),
    Warehouse(Box<Remote>),
}

/// Writes into ClickHouse, and keeps the archive that days are moved into.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) table: warehouse::Table,
    pub(crate) runtime: Runtime,
    pub(crate) archive: archive::Table,
}

/// What became of the rows of a cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Appended {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
}

impl From<warehouse::Appended> for Appended {
    fn from(warehouse::Appended { stored, duplicates }: warehouse::Appended) -> Self {
        Self { stored, duplicates }
    }
}

/// A day of rows that is old, or was taken out.
#[derive(Debug, Clone)]
pub(crate) struct Expired {
    /// A file, or a partition of a table.
    pub(crate) path: String,
    pub(crate) date: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Remote {
    /// Stores what is stored nowhere yet, neither in ClickHouse nor in the archive.
    fn append(&mut self, mut cut: warehouse::Cut) -> anyhow::Result<Appended> {
        self.leave_out_moved(&mut cut)?;
        Ok(self.runtime.block_on(self.table.append(cut))?.into())
    }

    /// Leaves out of a cut what is in the archive.
    fn leave_out_moved(&self, cut: &mut warehouse::Cut) -> Result<(), archive::Error> {
        let archive = self.archive.reader();
        // However old its days are: a book that rests has the same snapshot for weeks.
        cut.leave_out(|stream, extents| archive.stored(stream, extents))
    }

    /// Stores the rows of a cut that was refused for some of them, and says which.
    pub(crate) fn isolate(
        &mut self,
        mut cut: warehouse::Cut,
        refused_max: usize,
    ) -> anyhow::Result<warehouse::Isolated> {
        self.leave_out_moved(&mut cut)?;
        Ok(self.runtime.block_on(self.table.isolate(cut, refused_max))?)
    }

    fn expire(&mut self, day: i64, dry_run: bool) -> anyhow::Result<Vec<Expired>> {
        let Self { table, runtime, archive } = self;
        let moved = if dry_run { archive.expired(day) } else { archive.expire(day)? };
        let gone = if dry_run {
            runtime.block_on(table.reader().days_before(day))?
        } else {
            runtime.block_on(table.expire(day))?
        };
        Ok(moved
            .into_iter()
            .map(Expired::from)
            .chain(gone.into_iter().map(Expired::from))
            .collect())
    }
}

impl Table {
    /// The embedded archive's table, which is rolled into Parquet; with ClickHouse, the one that
    /// days are moved into.
    pub(crate) fn archive(&mut self) -> Option<&mut archive::Table> {
        match self {
            Self::Archive(table) => Some(table),
            Self::Warehouse(remote) => Some(&mut remote.archive),
        }
    }

    /// Whether a write can be left alone in the middle of it: it is repeated unchanged then.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self, Self::Warehouse(_))
    }

    /// The stream sequences of the cut that the process before had begun; its blocks belong into
    /// one cut again. The archive's segments need no such thing.
    pub(crate) fn begun(&self) -> Option<RangeInclusive<u64>> {
        match self {
            Self::Archive(_) => None,
            Self::Warehouse(remote) => remote.table.begun(),
        }
    }

    /// Notes that nothing more is to be done with the blocks up to here.
    pub(crate) fn settled(&mut self, stream_seq: u64) {
        match self {
            Self::Archive(_) => {}
            Self::Warehouse(remote) => remote.table.settled(stream_seq),
        }
    }

    /// Finishes what may hang in the air, and asks whether the store is there: a cut that is made
    /// while it is not is made for nothing.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Archive(_) => Ok(()),
            Self::Warehouse(remote) => Ok(remote.runtime.block_on(remote.table.resume())?),
        }
    }

    /// Stores a cut for this store; it is durable once this returns.
    pub(crate) fn append(&mut self, cut: Cut) -> anyhow::Result<Appended> {
        match (self, cut) {
            (Self::Archive(table), Cut::Archive(cut)) => {
                let archive::Appended { stored, duplicates } = table.append(&cut)?;
                Ok(Appended { stored, duplicates })
            }
            (Self::Warehouse(remote), Cut::Warehouse(cut)) => remote.append(*cut),
            (Self::Archive(_) | Self::Warehouse(_), Cut::Archive(_) | Cut::Warehouse(_)) => {
                anyhow::bail!("a cut of another store")
            }
        }
    }

    /// Takes out the days before this one, or only says which they are.
    pub(crate) fn expire(&mut self, day: i64, dry_run: bool) -> anyhow::Result<Vec<Expired>> {
        match self {
            Self::Archive(table) => {
                let gone = if dry_run { table.expired(day) } else { table.expire(day)? };
                Ok(gone.into_iter().map(Expired::from).collect())
            }
            Self::Warehouse(remote) => remote.expire(day, dry_run),
        }
    }
}

impl From<archive::Expired> for Expired {
    fn from(file: archive::Expired) -> Self {
        let archive::Expired { path, date, rows, bytes } = file;
        Self { path: path.display().to_string(), date, rows, bytes }
    }
}

impl From<warehouse::ExpiredDay> for Expired {
    fn from(day: warehouse::ExpiredDay) -> Self {
        let warehouse::ExpiredDay { table, date, rows, bytes, .. } = day;
        Self { path: format!("{table}/{date}"), date, rows, bytes }
    }
}

/// The blocks that are stored and acknowledged together.
#[derive(Debug)]
pub(crate) enum Cut {
    Archive(archive::Cut),
    Warehouse(Box<warehouse::Cut>),
}

impl Cut {
    /// An empty cut for the one store or the other.
    pub(crate) fn new(kind: Kind, is_remote: bool) -> Self {
        if is_remote {
            Self::Warehouse(Box::new(warehouse::Cut::new(kind)))
        } else {
            Self::Archive(archive::Cut::new(kind))
        }
    }

    /// Begins the rows of a block; `id` is its `Nats-Msg-Id`, empty if it had none.
    pub(crate) fn block(&mut self, stream_seq: u64, id: &str, payload: &[u8]) {
        match self {
            Self::Archive(cut) => cut.block(stream_seq, id),
            Self::Warehouse(cut) => cut.block(stream_seq, id, payload),
        }
    }

    /// Adds a row of the block begun last; an error says why this store cannot have it.
    pub(crate) fn push(&mut self, event: &Event, json: &[u8]) -> Result<(), String> {
        match self {
            Self::Archive(cut) => cut.push(event, json).map_err(|error| error.to_string()),
            Self::Warehouse(cut) => cut.push(event).map_err(|error| error.to_string()),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Archive(cut) => cut.rows(),
            Self::Warehouse(cut) => cut.rows(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Archive(cut) => cut.bytes(),
            Self::Warehouse(cut) => cut.bytes(),
        }
    }

    pub(crate) fn blocks(&self) -> usize {
        match self {
            Self::Archive(cut) => cut.blocks(),
            Self::Warehouse(cut) => cut.blocks(),
        }
    }
}
