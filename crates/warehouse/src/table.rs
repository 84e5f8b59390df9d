//! Tables: the one writer of a kind's rows.

use crate::client::Connection;
use crate::columns::{columns, names};
use crate::cut::{Appended, Cut, CutId, Row};
use crate::encode;
use crate::error::Error;
use crate::filter::Filter;
use crate::journal::{Entry, Journal};
use crate::native::Block;
use crate::{Reader, Warehouse, schema};
use bytes::Bytes;
use catalog::StreamKey;
use model::{Identity, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// The rows of one day of a cut, as they are sent, however often.
#[derive(Debug, Clone)]
struct Insert {
    token: String,
    rows: Bytes,
}

/// A cut whose insert was begun and is not known to have ended well.
#[derive(Debug)]
struct Pending {
    cut: CutId,
    last_seq: u64,
    appended: Appended,
    /// What is still to be sent.
    inserts: Vec<Insert>,
    identities: BTreeMap<StreamKey, Vec<Identity>>,
}

/// Rows of one stream.
type Identified<'a> = Vec<(Identity, &'a Row)>;

/// Rows by stream, in the order of identity, each identity once.
type Rows<'a> = BTreeMap<StreamKey, Identified<'a>>;

/// The one writer of a kind's rows.
///
/// A row is stored once [`Table::append`] has returned. After an error the table stays usable, and
/// what was begun is finished first, unchanged.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    warehouse: Warehouse,
    journal: Journal,
    /// The cut that the process before had begun, until it is known to be stored.
    begun: Option<Entry>,
    pending: Option<Pending>,
    filter: Filter,
    /// How often the warehouse was prepared when the filter was filled.
    generation: u64,
}

impl Table {
    /// Opens the writer of a kind whose journal is in `directory`. The server is not asked yet.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`] if the journal cannot be read.
    pub fn open(warehouse: Warehouse, kind: Kind, directory: &Path) -> Result<Self, Error> {
        let (journal, begun) = Journal::open(directory.join(format!("{kind}.cut")))?;
        if let Some(Entry { first_seq, last_seq, cut }) = begun {
            let path = journal.path().display();
            tracing::debug!(%kind, %path, first_seq, last_seq, %cut, "the last cut begun");
        }
        let filter = Filter::default();
        Ok(Self { kind, warehouse, journal, begun, pending: None, filter, generation: 0 })
    }

    /// The stream sequences of the cut that was begun before the process ended. When its blocks
    /// come again, they are to be put into one cut again, which makes them the same insert.
    #[must_use]
    pub fn begun(&self) -> Option<RangeInclusive<u64>> {
        self.begun.map(|entry| entry.first_seq..=entry.last_seq)
    }

    /// Stores the rows of a cut that are not stored yet; once this returns they survive a power
    /// cut, and the cut's blocks may be acknowledged.
    ///
    /// Besides the server it waits for one small file to be synced.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not known that everything is stored; the blocks must not be acknowledged
    /// then, and the same cut is to be given again.
    pub async fn append(&mut self, cut: &Cut) -> Result<Appended, Error> {
        if cut.kind != self.kind {
            return Err(Error::Kind { expected: self.kind, found: cut.kind });
        }
        let generation = self.warehouse.prepare().await?;
        if generation != self.generation {
            // The tables were looked at anew: perhaps they are others than before.
            (self.filter, self.generation) = (Filter::default(), generation);
        }
        if let Some((id, appended)) = self.finish().await?
            && id == cut.id()
        {
            return Ok(appended);
        }
        let fresh = self.fresh(cut).await?;
        self.pending = Some(self.begin(cut, &fresh)?);
        let appended = self.finish().await?.map(|(_, appended)| appended);
        Ok(appended.unwrap_or_default())
    }

    /// A reader of this table.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.warehouse.reader(self.kind)
    }

    /// Gives up the cut that was begun last, after the server has refused it for its rows: others
    /// may be given next. What of it is stored all the same is asked of the server.
    pub fn give_up(&mut self) {
        self.pending = None;
        self.filter = Filter::default();
    }

    pub(crate) const fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a cut was begun that is not known to be stored.
    pub(crate) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The rows that are not stored yet, by stream, in the order of identity.
    async fn fresh<'a>(&mut self, cut: &'a Cut) -> Result<Rows<'a>, Error> {
        let mut rows = by_stream(cut);
        let identities = |rows: &Identified<'_>| rows.iter().map(|(id, _)| *id).collect();
        let streams: BTreeMap<StreamKey, Vec<Identity>> =
            rows.iter().map(|(key, rows)| (key.clone(), identities(rows))).collect();
        let connection = self.warehouse.connection();
        let fresh = self.filter.fresh(connection, self.kind, &streams).await?;
        for (rows, fresh) in rows.values_mut().zip(fresh) {
            let mut fresh = fresh.into_iter();
            rows.retain(|_| fresh.next().unwrap_or(true));
        }
        Ok(rows)
    }

    /// Writes the journal and makes the inserts, one per day.
    fn begin(&mut self, cut: &Cut, fresh: &Rows<'_>) -> Result<Pending, Error> {
        let columns = columns(self.kind);
        let mut days: BTreeMap<i64, Block> = BTreeMap::new();
        let mut identities = BTreeMap::new();
        for (key, rows) in fresh {
            for (_, row) in rows {
                let day = row.event.time().day();
                let block = days.entry(day).or_insert_with(|| Block::new(&columns));
                encode::push(block, &row.event, row.stream_seq);
            }
            identities.insert(key.clone(), rows.iter().map(|(identity, _)| *identity).collect());
        }
        let stored: usize = days.values().map(Block::rows).sum();
        let ((first_seq, last_seq), id) = (cut.seqs(), cut.id());
        if !days.is_empty() {
            self.journal.begin(&Entry { first_seq, last_seq, cut: id })?;
        }
        let inserts = days.into_iter().map(|(day, block)| Insert {
            token: format!("{id}-{day}"),
            rows: Bytes::from(block.finish()),
        });
        Ok(Pending {
            cut: id,
            last_seq,
            appended: Appended { stored, duplicates: cut.rows() - stored },
            inserts: inserts.collect(),
            identities,
        })
    }

    /// Sends what is pending, unchanged, until nothing is.
    async fn finish(&mut self) -> Result<Option<(CutId, Appended)>, Error> {
        let Some(pending) = &mut self.pending else { return Ok(None) };
        let connection = self.warehouse.connection();
        let sql = insert_sql(connection, self.kind);
        while let Some(insert) = pending.inserts.last() {
            let sent = connection.insert(&sql, &insert.token, insert.rows.clone()).await;
            if matches!(sent, Err(Error::Refused { .. })) {
                // Perhaps the table is gone, or another: it is looked at before the next attempt.
                self.warehouse.look_again();
            }
            sent?;
            pending.inserts.pop();
        }
        let Some(pending) = self.pending.take() else { return Ok(None) };
        for (stream, identities) in &pending.identities {
            self.filter.add(stream, identities);
        }
        self.begun = self.begun.filter(|begun| begun.last_seq > pending.last_seq);
        Ok(Some((pending.cut, pending.appended)))
    }
}

impl Cut {
    /// The same cut without the rows that `stored` says are kept elsewhere; `None` if there are
    /// none. It is asked for each stream, with identities in ascending order.
    ///
    /// # Errors
    ///
    /// Whatever `stored` says.
    pub fn without<E>(
        &self,
        mut stored: impl FnMut(&StreamKey, &[Identity]) -> Result<Vec<bool>, E>,
    ) -> Result<Option<Self>, E> {
        let mut gone: BTreeSet<(StreamKey, Identity)> = BTreeSet::new();
        for (key, rows) in by_stream(self) {
            let identities: Vec<Identity> = rows.iter().map(|(identity, _)| *identity).collect();
            let stored = stored(&key, &identities)?;
            let found = identities.into_iter().zip(stored).filter(|(_, stored)| *stored);
            gone.extend(found.map(|(identity, _)| (key.clone(), identity)));
        }
        if gone.is_empty() {
            return Ok(None);
        }
        let mut cut = self.clone();
        cut.rows.retain(|row| {
            let key = StreamKey::from(&*row.event.instrument);
            !gone.contains(&(key, row.event.identity()))
        });
        Ok(Some(cut))
    }

    /// The earliest day of a row, counted from the epoch, UTC; `None` if there are no rows.
    #[must_use]
    pub fn first_day(&self) -> Option<i64> {
        self.rows.iter().map(|row| row.event.time().day()).min()
    }
}

fn by_stream(cut: &Cut) -> Rows<'_> {
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    let mut streams: Vec<(StreamKey, Identified<'_>)> = Vec::new();
    for row in &cut.rows {
        let instrument = &row.event.instrument;
        // Decoders intern instruments, so the address finds the stream without comparing texts; the
        // cut holds them, so no address is used twice.
        let number = *numbers.entry(Arc::as_ptr(instrument).addr()).or_insert_with(|| {
            streams.push((StreamKey::from(&**instrument), Vec::new()));
            streams.len() - 1
        });
        streams[number].1.push((row.event.identity(), row));
    }
    let mut rows = Rows::new();
    for (key, mut more) in streams {
        rows.entry(key).or_default().append(&mut more);
    }
    for rows in rows.values_mut() {
        // Stable: of rows alike, the first to arrive stays.
        rows.sort_by_key(|(identity, _)| *identity);
        rows.dedup_by_key(|(identity, _)| *identity);
    }
    rows
}

fn insert_sql(connection: &Connection, kind: Kind) -> String {
    let (database, table) = (connection.database(), schema::table(kind));
    format!("INSERT INTO {database}.{table} ({}) FORMAT Native", names(kind))
}

#[cfg(test)]
impl Table {
    /// The first half of [`Table::append`]: everything but the sending.
    pub(crate) async fn begin_only(&mut self, cut: &Cut) {
        let fresh = self.fresh(cut).await.unwrap();
        self.pending = Some(self.begin(cut, &fresh).unwrap());
    }

    /// The second half.
    pub(crate) async fn finish_only(&mut self) -> Appended {
        self.finish().await.unwrap().unwrap().1
    }
}
