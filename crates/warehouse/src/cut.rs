//! A cut: the blocks that are stored, and acknowledged, together.

use crate::Error;
use crate::encode;
use crate::native::u64_of;
use model::{Event, Kind};
use sha2::{Digest as _, Sha256};

/// One row of a cut.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) event: Event,
    pub(crate) stream_seq: u64,
}

/// The blocks that are stored and acknowledged together, by one insert per day.
#[derive(Debug, Clone)]
pub struct Cut {
    pub(crate) kind: Kind,
    pub(crate) rows: Vec<Row>,
    blocks: usize,
    bytes: usize,
    first_seq: u64,
    last_seq: u64,
    ids: Sha256,
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
        let (first_seq, last_seq) = (u64::MAX, 0);
        let ids = Sha256::new();
        Self { kind, rows: Vec::new(), blocks: 0, bytes: 0, first_seq, last_seq, ids }
    }

    /// Begins the rows of the block with this stream sequence. `id` is its `Nats-Msg-Id`; a block
    /// without one is known by its payload.
    pub fn block(&mut self, stream_seq: u64, id: &str, payload: &[u8]) {
        let name = if id.is_empty() { payload } else { id.as_bytes() };
        self.ids.update(u64_of(name.len()).to_le_bytes());
        self.ids.update(name);
        self.first_seq = self.first_seq.min(stream_seq);
        self.last_seq = self.last_seq.max(stream_seq);
        self.blocks += 1;
        self.bytes += payload.len();
    }

    /// Adds a row of the block begun last.
    ///
    /// # Errors
    ///
    /// [`Error::Kind`] if the event is of another kind than the cut, [`Error::Value`] if no column
    /// can hold one of its values.
    pub fn push(&mut self, event: Event) -> Result<(), Error> {
        if event.kind() != self.kind {
            return Err(Error::Kind { expected: self.kind, found: event.kind() });
        }
        encode::check(&event)?;
        self.rows.push(Row { event, stream_seq: self.last_seq });
        Ok(())
    }

    /// Rows so far, duplicates included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the blocks so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of blocks so far.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    pub(crate) fn seqs(&self) -> (u64, u64) {
        (self.first_seq, self.last_seq)
    }

    pub(crate) fn id(&self) -> CutId {
        let hash: [u8; 32] = self.ids.clone().finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        CutId(id)
    }
}

/// What became of the rows of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows that were new, and are stored now.
    pub stored: usize,
    /// Rows whose identity was stored before.
    pub duplicates: usize,
}
