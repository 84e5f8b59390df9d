//! A cut: the blocks that are stored, and acknowledged, together.

use crate::Error;
use crate::columns::columns;
use crate::encode::{self, Keys};
use crate::native::{Block, u64_of};
use catalog::{Extent, StreamKey};
use model::{Event, Identity, InstrumentId, Kind};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The blocks that are stored and acknowledged together, by one insert per day.
///
/// Rows become columns as they come; nothing of an event is kept beside them.
#[derive(Debug)]
pub struct Cut {
    pub(crate) kind: Kind,
    pub(crate) rows: Block,
    /// The day of each row.
    pub(crate) days: Vec<u16>,
    pub(crate) streams: Vec<Stream>,
    /// Where in that list a stream is.
    places: BTreeMap<StreamKey, usize>,
    /// Holding the instruments keeps their addresses, which are the keys, from being used again.
    instruments: BTreeMap<usize, (Arc<InstrumentId>, Place)>,
    /// The instrument of the row before.
    last: Option<(usize, Place)>,
    /// Where the rows of each block begin.
    begins: Vec<usize>,
    blocks: usize,
    bytes: usize,
    first_seq: u64,
    last_seq: u64,
    ids: Sha256,
}

/// Where the rows of an instrument belong.
#[derive(Debug, Clone, Copy)]
struct Place {
    stream: usize,
    keys: Keys,
}

/// The rows of one stream that may be new.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    pub(crate) identities: Vec<Identity>,
    /// Which row of the cut has the identity at the same place.
    pub(crate) rows: Vec<usize>,
    /// Of the rows that stand for several ids, the first of them.
    pub(crate) wide: BTreeMap<usize, u64>,
}

/// Names what a cut was made of: a hash of its blocks' ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutId(pub(crate) [u8; 16]);

impl std::fmt::Display for CutId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Cut {
    /// Starts an empty cut.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            rows: Block::new(columns(kind)),
            days: Vec::new(),
            streams: Vec::new(),
            places: BTreeMap::new(),
            instruments: BTreeMap::new(),
            last: None,
            begins: Vec::new(),
            blocks: 0,
            bytes: 0,
            first_seq: u64::MAX,
            last_seq: 0,
            ids: Sha256::new(),
        }
    }

    /// Begins the rows of the block with this stream sequence. `id` is its `Nats-Msg-Id`; a block
    /// without one is known by its payload.
    pub fn block(&mut self, stream_seq: u64, id: &str, payload: &[u8]) {
        let name = if id.is_empty() { payload } else { id.as_bytes() };
        self.ids.update(u64_of(name.len()).to_le_bytes());
        self.ids.update(name);
        self.first_seq = self.first_seq.min(stream_seq);
        self.last_seq = self.last_seq.max(stream_seq);
        self.begins.push(self.days.len());
        self.blocks += 1;
        self.bytes += payload.len();
    }

    /// Adds a row of the block begun last.
    ///
    /// # Errors
    ///
    /// [`Error::Kind`] if the event is of another kind than the cut, [`Error::Value`] if no column
    /// can hold one of its values.
    pub fn push(&mut self, event: &Event) -> Result<(), Error> {
        if event.kind() != self.kind {
            return Err(Error::Kind { expected: self.kind, found: event.kind() });
        }
        let day = encode::check(event)?;
        let Place { stream, keys } = self.place(&event.instrument);
        let extent = Extent::of(event);
        let identity = extent.identity;
        let stream = &mut self.streams[stream];
        if extent.is_wide() {
            stream.wide.insert(self.days.len(), extent.first);
        }
        stream.identities.push(identity);
        stream.rows.push(self.days.len());
        self.days.push(day);
        encode::push(&mut self.rows, &keys, event, identity, self.last_seq);
        Ok(())
    }

    fn place(&mut self, instrument: &Arc<InstrumentId>) -> Place {
        // Decoders intern instruments, so the address finds the stream without comparing texts.
        let address = Arc::as_ptr(instrument).addr();
        if let Some((last, place)) = self.last
            && last == address
        {
            return place;
        }
        let place = match self.instruments.get(&address) {
            Some((_, place)) => *place,
            None => self.add(instrument),
        };
        self.last = Some((address, place));
        place
    }

    fn add(&mut self, instrument: &Arc<InstrumentId>) -> Place {
        let key = StreamKey::from(&**instrument);
        let keys = encode::keys(&mut self.rows, instrument);
        let stream = *self.places.entry(key.clone()).or_insert_with(|| {
            self.streams.push(Stream::new(key));
            self.streams.len() - 1
        });
        let place = Place { stream, keys };
        let address = Arc::as_ptr(instrument).addr();
        self.instruments.insert(address, (Arc::clone(instrument), place));
        place
    }

    /// Leaves out the rows that `stored` says are kept elsewhere; they count as duplicates. It is
    /// asked for each stream, with rows in the order of identity.
    ///
    /// # Errors
    ///
    /// Whatever `stored` says.
    pub fn leave_out<E>(
        &mut self,
        mut stored: impl FnMut(&StreamKey, &[Extent]) -> Result<Vec<bool>, E>,
    ) -> Result<(), E> {
        self.sort();
        for stream in &mut self.streams {
            let stored = stored(&stream.key, &stream.extents())?;
            stream.keep(stored.into_iter().map(|stored| !stored));
        }
        Ok(())
    }

    /// Puts the rows of each stream in the order of identity, each identity once.
    pub(crate) fn sort(&mut self) {
        self.streams.iter_mut().for_each(Stream::sort);
    }

    /// Where a run of rows is divided in two: between blocks if it has rows of several, else in the
    /// middle.
    pub(crate) fn middle(&self, rows: &Range<usize>) -> usize {
        let middle = rows.start + rows.len() / 2;
        let behind = self.begins.partition_point(|begin| *begin < middle);
        let edges = self.begins[behind.saturating_sub(1)..].iter().take(2).copied();
        let inside = edges.filter(|edge| rows.start < *edge && *edge < rows.end);
        inside.min_by_key(|edge| edge.abs_diff(middle)).unwrap_or(middle)
    }

    /// Rows so far, duplicates included.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows.rows()
    }

    /// Bytes of the blocks so far.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of blocks so far.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.blocks
    }

    pub(crate) const fn seqs(&self) -> (u64, u64) {
        (self.first_seq, self.last_seq)
    }

    pub(crate) fn id(&self) -> CutId {
        CutId::of(self.ids.clone())
    }
}

impl CutId {
    pub(crate) fn of(hash: Sha256) -> Self {
        let hash: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }
}

impl Stream {
    const fn new(key: StreamKey) -> Self {
        Self { key, identities: Vec::new(), rows: Vec::new(), wide: BTreeMap::new() }
    }

    /// Whether no row stands for several ids, or has one below this.
    pub(crate) fn is_single_from(&self, from: u64) -> bool {
        self.wide.is_empty() && self.identities.first().is_none_or(|lowest| lowest.major >= from)
    }

    /// The lowest id that a row stands for.
    pub(crate) fn lowest(&self) -> Option<u64> {
        let lowest = self.identities.first()?.major;
        Some(self.wide.values().copied().fold(lowest, u64::min))
    }

    /// What each row stands for.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let first = |row: &usize, major: u64| self.wide.get(row).copied().unwrap_or(major);
        let rows = self.identities.iter().zip(&self.rows);
        rows.map(|(id, row)| Extent { identity: *id, first: first(row, id.major) }).collect()
    }

    fn sort(&mut self) {
        if self.identities.is_sorted_by(|a, b| a < b) {
            return;
        }
        let identities = self.identities.drain(..);
        let mut pairs: Vec<(Identity, usize)> = identities.zip(self.rows.drain(..)).collect();
        // Stable: of rows alike, the first to arrive stays. One that stands for several ids may not
        // stay, and is no reason to leave another out.
        pairs.sort_by_key(|(identity, _)| *identity);
        let is_wide = |row: usize| self.wide.contains_key(&row);
        pairs.dedup_by(|b, a| a.0 == b.0 && !is_wide(a.1) && !is_wide(b.1));
        (self.identities, self.rows) = pairs.into_iter().unzip();
    }

    /// Keeps the rows of which this says so, one by one.
    pub(crate) fn keep(&mut self, keep: impl IntoIterator<Item = bool>) {
        let keep: Vec<bool> = keep.into_iter().collect();
        if keep.iter().all(|keep| *keep) {
            return;
        }
        let mut of_identities = keep.iter().copied();
        self.identities.retain(|_| of_identities.next().unwrap_or(true));
        let mut of_rows = keep.into_iter();
        self.rows.retain(|_| of_rows.next().unwrap_or(true));
    }
}

/// What became of the rows of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows that were new, and are stored now.
    pub stored: usize,
    /// Rows of which an id was stored before.
    pub duplicates: usize,
}
