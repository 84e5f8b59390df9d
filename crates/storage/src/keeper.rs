//! The work on the disk: blocks become cuts, cuts become rows.

use crate::rejects::Rejects;
use anyhow::Context as _;
use archive::{Cut, Table};
use bus::Block;
use model::{Body, Event, Kind};
use std::collections::BTreeMap;

/// When a cut is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// What became of some blocks.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) rows: usize,
    pub(crate) duplicates: usize,
    pub(crate) cuts: usize,
    /// Rows that were not stored, by reason.
    pub(crate) rejected: BTreeMap<&'static str, usize>,
}

/// What one kind needs on the blocking thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) kind: Kind,
    pub(crate) table: Table,
    decoder: wire::Decoder,
    rejects: Rejects,
}

impl Keeper {
    pub(crate) fn new(kind: Kind, table: Table, rejects: Rejects) -> Self {
        Self { kind, table, decoder: wire::Decoder::new(), rejects }
    }

    /// Stores the rows of some blocks, in as many cuts as the limits make it.
    ///
    /// Once this returns, all of them are durable or on record as rejected, and may be
    /// acknowledged. After an error some may be stored; the same blocks can be given again.
    pub(crate) fn store(&mut self, blocks: &[Block], limits: Limits) -> anyhow::Result<Stored> {
        self.rejects.discard();
        let mut stored = Stored::default();
        let mut cut = Cut::new(self.kind);
        for block in blocks {
            let full = cut.rows() >= limits.rows_max
                || cut.bytes() + block.payload.len() > limits.bytes_max;
            if full && cut.blocks() > 0 {
                self.append(&cut, &mut stored)?;
                cut = Cut::new(self.kind);
            }
            self.add(&mut cut, block, &mut stored);
        }
        self.append(&cut, &mut stored)?;
        self.rejects.flush().context("record rows that cannot be stored")?;
        Ok(stored)
    }

    fn append(&mut self, cut: &Cut, stored: &mut Stored) -> anyhow::Result<()> {
        let appended = self.table.append(cut)?;
        stored.rows += appended.stored;
        stored.duplicates += appended.duplicates;
        stored.cuts += usize::from(appended.stored > 0);
        Ok(())
    }

    fn add(&mut self, cut: &mut Cut, block: &Block, stored: &mut Stored) {
        let id = block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default();
        for row in wire::events(&block.payload) {
            let event = match self.decoder.decode(row) {
                Ok(event) => event,
                Err(error) => {
                    let text = error.to_string();
                    self.reject(block, &id, ("unreadable", &text), row, stored);
                    continue;
                }
            };
            if is_forming(&event) {
                // By rule it is for the live lane only; stored, it would pass for the closed one.
                *stored.rejected.entry("forming").or_default() += 1;
                continue;
            }
            if cut.last_seq() != Some(block.stream_seq) {
                cut.block(block.stream_seq, &*id);
            }
            if let Err(error) = cut.push(&event, row) {
                self.reject(block, &id, ("kind", &error.to_string()), row, stored);
            }
        }
    }

    fn reject(
        &mut self,
        block: &Block,
        id: &str,
        (reason, text): (&'static str, &str),
        row: &[u8],
        stored: &mut Stored,
    ) {
        *stored.rejected.entry(reason).or_default() += 1;
        self.rejects.add(block.stream_seq, id, text, row);
    }
}

const fn is_forming(event: &Event) -> bool {
    matches!(&event.body, Body::Kline(kline) if !kline.closed)
}
