//! The work that blocks: blocks become cuts, cuts become rows.

use crate::cold::{Cut, Table};
use crate::rejects::Rejects;
use anyhow::Context as _;
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
        let mut cut = self.table.cut(self.kind);
        let begun = self.table.begun();
        let is_begun =
            |block: &Block| begun.as_ref().is_some_and(|begun| begun.contains(&block.stream_seq));
        let mut before: Option<&Block> = None;
        for block in blocks {
            let inside = is_begun(block);
            // A cut that was begun is made of the same blocks again, whatever the limits are now.
            let edge = before.is_some_and(|before| is_begun(before) != inside);
            let full = cut.rows() >= limits.rows_max
                || cut.bytes() + block.payload.len() > limits.bytes_max;
            if (edge || full && !inside) && cut.blocks() > 0 {
                self.append(&cut, &mut stored)?;
                cut = self.table.cut(self.kind);
            }
            self.add(&mut cut, block, &mut stored);
            before = Some(block);
        }
        self.append(&cut, &mut stored)?;
        self.rejects.flush().context("record rows that cannot be stored")?;
        Ok(stored)
    }

    fn append(&mut self, cut: &Cut, stored: &mut Stored) -> anyhow::Result<()> {
        if cut.blocks() == 0 {
            return Ok(());
        }
        let appended = self.table.append(cut)?;
        stored.rows += appended.stored;
        stored.duplicates += appended.duplicates;
        stored.cuts += usize::from(appended.stored > 0);
        Ok(())
    }

    fn add(&mut self, cut: &mut Cut, block: &Block, stored: &mut Stored) {
        let id = block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default();
        let mut is_begun = false;
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
            if !is_begun {
                cut.block(block.stream_seq, &id, &block.payload);
                is_begun = true;
            }
            let reason = if event.kind() == self.kind { "value" } else { "kind" };
            if let Err(error) = cut.push(event, row) {
                self.reject(block, &id, (reason, &error), row, stored);
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
