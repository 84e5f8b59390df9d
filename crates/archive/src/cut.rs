//! A cut: the blocks that are stored, and acknowledged, together.

use crate::Error;
use catalog::{Extent, StreamKey};
use model::{Event, Identity, InstrumentId, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One row of a cut, in the order of arrival; its bytes follow those of the row before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index into the cut's own stream list.
    pub(crate) stream: u32,
    /// Bytes of its JSON.
    pub(crate) len: u32,
    pub(crate) identity: Identity,
    /// The first of the ids that it stands for. A record does not say it: the JSON does.
    pub(crate) first: u64,
    /// The event's time, nanoseconds since the epoch.
    pub(crate) time: i64,
    pub(crate) stream_seq: u64,
}

impl Row {
    pub(crate) const fn extent(&self) -> Extent {
        Extent { identity: self.identity, first: self.first }
    }
}

/// The blocks that are stored and acknowledged together: one record of the segment.
#[derive(Debug, Clone)]
pub struct Cut {
    pub(crate) kind: Kind,
    pub(crate) blocks: Vec<(u64, String)>,
    pub(crate) streams: Vec<StreamKey>,
    pub(crate) rows: Vec<Row>,
    pub(crate) body: Vec<u8>,
    /// Holding the instruments keeps their addresses, which are the keys, from being used again.
    instruments: BTreeMap<usize, (Arc<InstrumentId>, u32)>,
}

impl Cut {
    /// Starts an empty cut.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            blocks: Vec::new(),
            streams: Vec::new(),
            rows: Vec::new(),
            body: Vec::new(),
            instruments: BTreeMap::new(),
        }
    }

    /// Begins the rows of the block with this stream sequence; `id` is its `Nats-Msg-Id`, empty if
    /// it had none.
    pub fn block(&mut self, stream_seq: u64, id: impl Into<String>) {
        self.blocks.push((stream_seq, id.into()));
    }

    /// Adds a row of the block begun last: the event, and its JSON as it came over the bus.
    ///
    /// # Errors
    ///
    /// [`Error::Kind`] if the event is of another kind than the cut, [`Error::CutTooLarge`] if the
    /// row has more than 4 GiB.
    pub fn push(&mut self, event: &Event, json: &[u8]) -> Result<(), Error> {
        if event.kind() != self.kind {
            return Err(Error::Kind { expected: self.kind, found: event.kind() });
        }
        let len =
            u32::try_from(json.len()).map_err(|_| Error::CutTooLarge { bytes: json.len() })?;
        let stream = self.stream(&event.instrument);
        let Extent { identity, first } = Extent::of(event);
        self.body.extend_from_slice(json);
        self.rows.push(Row {
            stream,
            len,
            identity,
            first,
            time: event.time().as_i64(),
            stream_seq: self.blocks.last().map_or(0, |(seq, _)| *seq),
        });
        Ok(())
    }

    /// Rows so far, duplicates included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of JSON so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Number of blocks so far.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The highest stream sequence inside: what to acknowledge through once the cut is stored.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.blocks.iter().map(|(seq, _)| *seq).max()
    }

    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.blocks.iter().map(|(seq, _)| *seq).min()
    }

    fn stream(&mut self, instrument: &Arc<InstrumentId>) -> u32 {
        // Decoders intern instruments, so the address finds the stream without comparing texts.
        let address = Arc::as_ptr(instrument).addr();
        let next = u32::try_from(self.streams.len()).expect("fewer streams than rows");
        let (_, number) = self.instruments.entry(address).or_insert_with(|| {
            self.streams.push(StreamKey::from(&**instrument));
            (Arc::clone(instrument), next)
        });
        *number
    }
}

/// What became of the rows of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows that were new, and are on disk now.
    pub stored: usize,
    /// Rows of which an id was stored before.
    pub duplicates: usize,
}
