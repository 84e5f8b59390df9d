//! Tables: the one writer of a kind's rows.

use crate::client::Connection;
use crate::columns::names;
use crate::cut::{Appended, Cut, CutId, Stream};
use crate::error::Error;
use crate::filter::Filter;
use crate::journal::{Entry, Journal};
use crate::refusal::ACCESS_DENIED;
use crate::torn::{self, Before, Landed};
use crate::{Reader, Warehouse};
use bytes::Bytes;
use catalog::{Extent, StreamKey};
use model::{Identity, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::RangeInclusive;
use std::path::Path;

mod isolate;

pub use isolate::{Isolated, Refusal};

/// The rows of one day of a cut, as they are sent, however often.
#[derive(Debug, Clone)]
struct Insert {
    token: String,
    day: u16,
    /// How many rows it has.
    count: usize,
    rows: Vec<Bytes>,
    /// The stream sequences of these rows, if there are no others of the day with them.
    seqs: Option<(u64, u64)>,
    /// Whether it was sent before, and may have arrived.
    was_sent: bool,
    /// What the table was like before it was sent.
    before: Option<Before>,
    /// Parts that the server has made of it and cannot read.
    torn: Vec<String>,
}

impl Insert {
    /// An insert of a cut, which `was_sent` by an earlier process, perhaps.
    fn new(cut: CutId, day: u16, count: usize, rows: Vec<Bytes>, was_sent: bool) -> Self {
        let (token, torn) = (format!("{cut}-{day}"), Vec::new());
        Self { token, day, count, rows, seqs: None, was_sent, before: None, torn }
    }

    fn landed(&self, kind: Kind) -> Landed<'_> {
        let before = self.before.unwrap_or_default();
        Landed { kind, day: self.day, rows: self.count, before, torn: &self.torn }
    }

    /// Sends it, under the name that it has; whether it is to be sent again under another one.
    async fn send(
        &mut self,
        connection: &Connection,
        kind: Kind,
        sql: &str,
    ) -> Result<bool, Error> {
        if self.before.is_none() {
            let before = torn::look(connection, kind, self.day).await?;
            self.before = Some(if self.was_sent { before.of_earlier() } else { before });
        }
        let is_repeated = mem::replace(&mut self.was_sent, true);
        connection.insert(sql, &self.token, &self.rows).await?;
        let is_there = self.settle(connection, kind, is_repeated).await?;
        if !is_there {
            tracing::warn!(%kind, "the server knows an insert and does not have its rows: sent again");
            self.rename();
        }
        Ok(!is_there)
    }

    /// Looks whether what was answered can be read where that is doubtful. If it cannot, it is to be
    /// sent again, under another name, for the server knows this one; and once that can be read,
    /// what cannot is taken out. Returns whether it is there.
    async fn settle(
        &mut self,
        connection: &Connection,
        kind: Kind,
        is_repeated: bool,
    ) -> Result<bool, Error> {
        let mut found = torn::torn(connection, self.landed(kind)).await?;
        let doubtful = self.seqs.filter(|_| is_repeated && !connection.layout().is_cluster());
        if let (None, Some(seqs)) = (&found, doubtful) {
            match torn::is_there(connection, self.landed(kind), seqs).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.is_damage() => {
                    found = torn::unreadable(connection, self.landed(kind)).await?;
                    if found.is_none() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(part) = found {
            self.tear(part.clone());
            return Err(Error::Torn { kind, part });
        }
        while let Some(part) = self.torn.last() {
            torn::take_out(connection, kind, part).await?;
            tracing::warn!(%kind, part, "a part that could not be read was inserted anew and taken out");
            self.torn.pop();
        }
        Ok(true)
    }

    /// Gives it a name that the server does not know.
    fn rename(&mut self) {
        self.token.push('+');
        self.was_sent = false;
    }

    /// Takes it that the server cannot read the part that it has made of it.
    fn tear(&mut self, part: String) {
        self.torn.push(part);
        self.rename();
    }
}

/// A cut whose insert was begun and is not known to have ended well.
#[derive(Debug)]
struct Pending {
    cut: CutId,
    appended: Appended,
    /// What is still to be sent.
    inserts: Vec<Insert>,
    identities: Vec<(StreamKey, Vec<Identity>)>,
    /// The same of streams with rows that stand for several ids.
    extents: Vec<(StreamKey, Vec<Extent>)>,
}

/// The one writer of a kind's rows.
///
/// A row is stored once [`Table::append`] has returned. After an error the table stays usable, and
/// what was begun is finished first, unchanged.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    warehouse: Warehouse,
    journal: Journal,
    /// The cut that the process before had begun, until its blocks are settled.
    begun: Option<Entry>,
    pending: Option<Pending>,
    /// What was pending last, until its blocks come again.
    done: Option<(CutId, Appended)>,
    filter: Filter,
    /// How often the warehouse was prepared when the filter was filled.
    generation: u64,
    /// Whether the last attempt failed, so that the server may still be away.
    failed: bool,
    /// Parts that nothing can be done about.
    given_up: BTreeSet<Option<String>>,
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
        Ok(Self {
            kind,
            warehouse,
            journal,
            begun,
            pending: None,
            done: None,
            filter: Filter::default(),
            generation: 0,
            failed: false,
            given_up: BTreeSet::new(),
        })
    }

    /// The stream sequences of the cut that was begun before the process ended. When its blocks
    /// come again, they are to be put into one cut again, which makes them the same insert.
    #[must_use]
    pub fn begun(&self) -> Option<RangeInclusive<u64>> {
        self.begun.map(|entry| entry.first_seq..=entry.last_seq)
    }

    /// Notes that nothing more is to be done with the blocks up to here: they are stored, and what of
    /// them was refused is set aside. Until then the cut that was begun is made of the same blocks
    /// whenever they are given again.
    pub fn settled(&mut self, stream_seq: u64) {
        self.begun = self.begun.filter(|begun| begun.last_seq > stream_seq);
    }

    /// Finishes what was begun and may not have arrived, and asks a server that failed whether it is
    /// back: to be called before a cut is made, which would be for nothing while it is away. A part
    /// that was found to be damaged, by a query or here, is replaced by what it was merged from, if
    /// that is still there.
    ///
    /// # Errors
    ///
    /// [`Error`] as from [`Table::append`].
    pub async fn resume(&mut self) -> Result<(), Error> {
        if self.failed {
            self.warehouse.probe().await?;
            self.failed = false;
        }
        self.heal().await;
        let resumed = self.prepare_and_finish().await;
        self.failed = resumed.is_err();
        resumed
    }

    /// Stores the rows of a cut that are not stored yet; once this returns they survive a power
    /// cut, and the cut's blocks may be acknowledged.
    ///
    /// Besides the server it waits for one small file to be synced.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not known that everything is stored; the blocks must not be acknowledged
    /// then, and a cut of the same blocks is to be given again.
    pub async fn append(&mut self, cut: Cut) -> Result<Appended, Error> {
        let appended = self.try_append(cut).await;
        self.failed = appended.is_err();
        appended
    }

    /// Does what can be done about damage.
    async fn heal(&mut self) {
        let Some(damage) = self.warehouse.connection().take_damage(self.kind) else { return };
        if self.given_up.contains(&damage.part) {
            return;
        }
        let healed = self.warehouse.heal(self.kind, &damage).await;
        let is_in_vain = match &healed {
            Ok(is_replaced) => !is_replaced,
            Err(error) => error.is_one_of(&[ACCESS_DENIED]),
        };
        if is_in_vain {
            self.given_up.insert(damage.part);
        }
        if let Err(error) = healed {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot replace a damaged part by what it was merged from");
        }
    }

    async fn try_append(&mut self, mut cut: Cut) -> Result<Appended, Error> {
        if cut.kind != self.kind {
            return Err(Error::Kind { expected: self.kind, found: cut.kind });
        }
        self.prepare_and_finish().await?;
        if let Some((id, appended)) = self.done.take()
            && id == cut.id()
        {
            return Ok(appended);
        }
        self.keep_fresh(&mut cut).await?;
        self.pending = Some(self.begin(cut)?);
        self.finish().await?;
        Ok(self.done.take().map(|(_, appended)| appended).unwrap_or_default())
    }

    async fn prepare_and_finish(&mut self) -> Result<(), Error> {
        let generation = self.warehouse.prepare().await?;
        if generation != self.generation {
            // The tables were looked at anew: perhaps they are others than before.
            (self.filter, self.generation) = (Filter::default(), generation);
        }
        self.finish().await
    }

    /// A reader of this table.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.warehouse.reader(self.kind)
    }

    /// Gives up the cut that was begun last, after the server has refused it for its rows: others
    /// may be given next. What of it is stored all the same is asked of the server.
    pub(crate) fn give_up(&mut self) {
        (self.pending, self.done) = (None, None);
        self.forget();
    }

    /// Has it ask again what is stored.
    pub(crate) fn forget(&mut self) {
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

    /// Leaves of a cut the rows that are not stored yet, by stream, in the order of identity.
    async fn keep_fresh(&mut self, cut: &mut Cut) -> Result<(), Error> {
        cut.sort();
        let connection = self.warehouse.connection();
        let fresh = self.filter.fresh(connection, self.kind, &cut.streams).await?;
        for (stream, fresh) in cut.streams.iter_mut().zip(fresh) {
            stream.keep(fresh);
        }
        Ok(())
    }

    /// Writes the journal and makes the inserts, one per day.
    fn begin(&mut self, cut: Cut) -> Result<Pending, Error> {
        let (rows, id) = (cut.rows(), cut.id());
        let days = days(&cut);
        let stored: usize = days.values().map(Vec::len).sum();
        self.note(&cut, stored)?;
        // The process before may have sent it.
        let was_sent = self.begun.is_some_and(|begun| begun.cut == id);
        let seqs = cut.seqs();
        let Cut { rows: block, streams, .. } = cut;
        let mut inserts: Vec<Insert> =
            if days.len() == 1 && stored == rows && days.values().all(|rows| is_in_order(rows)) {
                let insert = |day: &u16| Insert::new(id, *day, rows, Vec::new(), was_sent);
                let mut inserts: Vec<Insert> = days.keys().map(insert).collect();
                inserts[0].rows = block.finish();
                inserts
            } else {
                let insert = |(day, rows): (&u16, &Vec<usize>)| {
                    Insert::new(id, *day, rows.len(), block.select(rows), was_sent)
                };
                days.iter().map(insert).collect()
            };
        inserts.iter_mut().for_each(|insert| insert.seqs = Some(seqs));
        let fresh = streams.into_iter().filter(|stream| !stream.identities.is_empty());
        let (wide, single): (Vec<Stream>, Vec<Stream>) =
            fresh.partition(|stream| !stream.wide.is_empty());
        let extents = wide.into_iter().map(|stream| (stream.extents(), stream.key));
        Ok(Pending {
            cut: id,
            appended: Appended { stored, duplicates: rows - stored },
            inserts,
            identities: single.into_iter().map(|s| (s.key, s.identities)).collect(),
            extents: extents.map(|(extents, key)| (key, extents)).collect(),
        })
    }

    /// Notes a cut in the journal, unless nothing of it is to be sent.
    fn note(&mut self, cut: &Cut, rows: usize) -> Result<(), Error> {
        if rows == 0 {
            return Ok(());
        }
        let (first_seq, last_seq) = cut.seqs();
        self.journal.begin(&Entry { first_seq, last_seq, cut: cut.id() })
    }

    /// Sends what is pending, unchanged, until nothing is.
    async fn finish(&mut self) -> Result<(), Error> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let connection = self.warehouse.connection();
        let sql = insert_sql(connection, self.kind);
        while let Some(insert) = pending.inserts.last_mut() {
            let sent = insert.send(connection, self.kind, &sql).await;
            if matches!(sent, Err(Error::Refused { .. })) {
                // Perhaps the table is gone, or another: it is looked at before the next attempt.
                self.warehouse.look_again();
            }
            let is_again = sent?;
            if !is_again {
                pending.inserts.pop();
            }
        }
        if let Some(pending) = self.pending.take() {
            for (stream, identities) in &pending.identities {
                self.filter.add(stream, identities);
            }
            for (stream, extents) in &pending.extents {
                self.filter.add_extents(stream, extents);
            }
            self.done = Some((pending.cut, pending.appended));
        }
        Ok(())
    }
}

/// The rows of a cut that are to be sent, by day, in the order in which the table keeps them.
fn days(cut: &Cut) -> BTreeMap<u16, Vec<usize>> {
    let mut streams: Vec<&Stream> = cut.streams.iter().collect();
    streams.sort_by_cached_key(|Stream { key, .. }| {
        (key.venue.as_str(), key.market.as_str(), key.symbol.clone())
    });
    let mut days: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    // The rows of the day of the row before, which mostly goes on.
    let (mut day, mut rows) = (0, Vec::new());
    for row in streams.into_iter().flat_map(|stream| stream.rows.iter().copied()) {
        if cut.days[row] != day {
            days.entry(day).or_default().append(&mut rows);
            day = cut.days[row];
            rows = mem::take(days.entry(day).or_default());
        }
        rows.push(row);
    }
    days.entry(day).or_default().append(&mut rows);
    days.retain(|_, rows| !rows.is_empty());
    days
}

fn is_in_order(rows: &[usize]) -> bool {
    rows.iter().enumerate().all(|(place, row)| place == *row)
}

fn insert_sql(connection: &Connection, kind: Kind) -> String {
    let (database, table) = (connection.database(), connection.layout().all(kind));
    format!("INSERT INTO {database}.{table} ({}) FORMAT Native", names(kind))
}

#[cfg(test)]
impl Table {
    /// The first half of [`Table::append`]: everything but the sending.
    pub(crate) async fn begin_only(&mut self, mut cut: Cut) {
        self.keep_fresh(&mut cut).await.unwrap();
        self.pending = Some(self.begin(cut).unwrap());
    }

    /// The second half.
    pub(crate) async fn finish_only(&mut self) -> Appended {
        self.finish().await.unwrap();
        self.done.take().unwrap().1
    }

    /// Takes it that the server has torn what it was sent last, and has it read that.
    pub(crate) async fn tear(&mut self) -> Result<Option<String>, Error> {
        let insert = self.pending.as_mut().unwrap().inserts.last_mut().unwrap();
        let connection = self.warehouse.connection();
        let sql = insert_sql(connection, self.kind);
        connection.insert(&sql, &insert.token, &insert.rows).await?;
        let found = torn::unreadable(connection, insert.landed(self.kind)).await?;
        if let Some(part) = &found {
            insert.tear(part.clone());
        }
        Ok(found)
    }
}
