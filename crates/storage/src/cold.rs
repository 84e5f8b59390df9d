//! The cold store: the embedded archive, or ClickHouse.
//!
//! Both are driven from blocking threads: one reads files there, the other waits there for its
//! server.

use catalog::{Coverage, Filter, Holes, Page, Query, StreamKey};
use model::{Event, Kind};
use std::ops::RangeInclusive;
use tokio::runtime::Handle as Runtime;

/// Reads one kind's rows beside its writer; cheap to clone. Its methods block.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    Archive(archive::Reader),
    Warehouse(warehouse::Reader, Runtime),
}

/// How much a kind's table holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stats {
    Archive(archive::Stats),
    Warehouse(warehouse::Stats),
}

impl Reader {
    pub(crate) fn query(&self, query: &Query) -> anyhow::Result<Page> {
        Ok(match self {
            Self::Archive(reader) => reader.query(query)?,
            Self::Warehouse(reader, runtime) => runtime.block_on(reader.query(query))?,
        })
    }

    pub(crate) fn streams(&self, filter: &Filter) -> anyhow::Result<Vec<StreamKey>> {
        Ok(match self {
            Self::Archive(reader) => reader.streams(filter),
            Self::Warehouse(reader, runtime) => runtime.block_on(reader.streams(filter))?,
        })
    }

    pub(crate) fn coverage(&self, filter: &Filter) -> anyhow::Result<Vec<Coverage>> {
        Ok(match self {
            Self::Archive(reader) => reader.coverage(filter),
            Self::Warehouse(reader, runtime) => runtime.block_on(reader.coverage(filter))?,
        })
    }

    pub(crate) fn holes(&self, stream: &StreamKey) -> anyhow::Result<Holes> {
        Ok(match self {
            Self::Archive(reader) => reader.holes(stream)?,
            Self::Warehouse(reader, runtime) => runtime.block_on(reader.holes(stream))?,
        })
    }

    pub(crate) fn stats(&self) -> anyhow::Result<Stats> {
        Ok(match self {
            Self::Archive(reader) => Stats::Archive(reader.stats()),
            Self::Warehouse(reader, runtime) => Stats::Warehouse(runtime.block_on(reader.stats())?),
        })
    }
}

/// The one writer of a kind's rows. Its methods block.
#[derive(Debug)]
pub(crate) enum Table {
    Archive(archive::Table),
    Warehouse(warehouse::Table, Runtime),
}

/// What became of the rows of a cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Appended {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
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

impl Table {
    /// The embedded archive's table, which is rolled into Parquet.
    pub(crate) const fn archive(&mut self) -> Option<&mut archive::Table> {
        match self {
            Self::Archive(table) => Some(table),
            Self::Warehouse(..) => None,
        }
    }

    /// Whether a write can be left alone in the middle of it: it is repeated unchanged then.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self, Self::Warehouse(..))
    }

    /// The stream sequences of the cut that the process before had begun; its blocks belong into
    /// one cut again. The archive's segments need no such thing.
    pub(crate) fn begun(&self) -> Option<RangeInclusive<u64>> {
        match self {
            Self::Archive(_) => None,
            Self::Warehouse(table, _) => table.begun(),
        }
    }

    /// An empty cut for this table.
    pub(crate) fn cut(&self, kind: Kind) -> Cut {
        match self {
            Self::Archive(_) => Cut::Archive(archive::Cut::new(kind)),
            Self::Warehouse(..) => Cut::Warehouse(warehouse::Cut::new(kind)),
        }
    }

    /// Stores a cut that [`Table::cut`] has started; it is durable once this returns.
    pub(crate) fn append(&mut self, cut: &Cut) -> anyhow::Result<Appended> {
        match (self, cut) {
            (Self::Archive(table), Cut::Archive(cut)) => {
                let archive::Appended { stored, duplicates } = table.append(cut)?;
                Ok(Appended { stored, duplicates })
            }
            (Self::Warehouse(table, runtime), Cut::Warehouse(cut)) => {
                let warehouse::Appended { stored, duplicates } =
                    runtime.block_on(table.append(cut))?;
                Ok(Appended { stored, duplicates })
            }
            (Self::Archive(_) | Self::Warehouse(..), Cut::Archive(_) | Cut::Warehouse(_)) => {
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
            Self::Warehouse(table, runtime) => {
                let gone = if dry_run {
                    runtime.block_on(table.expired(day))
                } else {
                    runtime.block_on(table.expire(day))
                };
                Ok(gone?.into_iter().map(Expired::from).collect())
            }
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
        let warehouse::ExpiredDay { table, date, rows, bytes } = day;
        Self { path: format!("{table}/{date}"), date, rows, bytes }
    }
}

/// The blocks that are stored and acknowledged together.
#[derive(Debug)]
pub(crate) enum Cut {
    Archive(archive::Cut),
    Warehouse(warehouse::Cut),
}

impl Cut {
    /// Begins the rows of a block; `id` is its `Nats-Msg-Id`, empty if it had none.
    pub(crate) fn block(&mut self, stream_seq: u64, id: &str, payload: &[u8]) {
        match self {
            Self::Archive(cut) => cut.block(stream_seq, id),
            Self::Warehouse(cut) => cut.block(stream_seq, id, payload),
        }
    }

    /// Adds a row of the block begun last; an error says why this store cannot have it.
    pub(crate) fn push(&mut self, event: Event, json: &[u8]) -> Result<(), String> {
        match self {
            Self::Archive(cut) => cut.push(&event, json).map_err(|error| error.to_string()),
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
