//! The work that blocks: blocks become cuts, cuts become rows.

use crate::cold::{Cut, Table};
use crate::rejects::{Rejects, Row};
use anyhow::Context as _;
use bus::Block;
use model::{Body, Event, Kind};
use std::collections::BTreeMap;
use telemetry::Chain;
use wire::Reason;

/// Rows of one cut that the store may refuse. With more it is the table that is wrong, and the rows
/// wait for it to be put right.
const REFUSED_MAX: usize = 64;

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
    /// When the oldest event of each block was received, those not counted that were asked for
    /// later.
    pub(crate) received: Vec<i64>,
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

/// What is to be done with a row.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack; a box would be an allocation for each row"
)]
enum Verdict {
    Store(Event),
    /// By rule it is for the live lane only; stored, it would pass for the closed one.
    Forming,
    Unreadable(String),
}

impl Keeper {
    pub(crate) fn new(kind: Kind, table: Table, rejects: Rejects) -> Self {
        Self { kind, table, decoder: wire::Decoder::new(), rejects }
    }

    /// Stores the rows of some blocks, in as many cuts as the limits make it.
    ///
    /// Once this returns, all of them are durable or set aside, and may be acknowledged. After an
    /// error some may be stored; the same blocks can be given again.
    pub(crate) fn store(&mut self, blocks: &[Block], limits: Limits) -> anyhow::Result<Stored> {
        self.rejects.discard();
        let mut stored = Stored::default();
        let mut cut = self.table.cut(self.kind);
        let begun = self.table.begun();
        let is_begun =
            |block: &Block| begun.as_ref().is_some_and(|begun| begun.contains(&block.stream_seq));
        // Where the cut's blocks begin.
        let mut from = 0;
        for (at, block) in blocks.iter().enumerate() {
            let inside = is_begun(block);
            // A cut that was begun is made of the same blocks again, whatever the limits are now.
            let edge = at > 0 && is_begun(&blocks[at - 1]) != inside;
            let full = cut.rows() >= limits.rows_max
                || cut.bytes() + block.payload.len() > limits.bytes_max;
            if (edge || full && !inside) && cut.blocks() > 0 {
                self.append(&cut, &blocks[from..at], &mut stored)?;
                (cut, from) = (self.table.cut(self.kind), at);
            }
            self.add(&mut cut, block, &mut stored);
        }
        self.append(&cut, &blocks[from..], &mut stored)?;
        self.rejects.flush()?;
        Ok(stored)
    }

    fn append(&mut self, cut: &Cut, blocks: &[Block], stored: &mut Stored) -> anyhow::Result<()> {
        if cut.blocks() == 0 {
            return Ok(());
        }
        match self.table.append(cut) {
            Ok(appended) => {
                stored.count(appended);
                Ok(())
            }
            Err(error) if is_of_rows(&error) => self.isolate(blocks, stored),
            Err(error) => Err(error),
        }
    }

    /// Stores the rows of a cut that was refused for some of them, and sets those aside: halves it
    /// until a part is taken, or is a single row.
    ///
    /// Each part has an id of its own, since one the server knows already it would take for stored.
    fn isolate(&mut self, blocks: &[Block], stored: &mut Stored) -> anyhow::Result<()> {
        let rows: Vec<Row<'_>> =
            blocks.iter().flat_map(Row::all).filter(|row| self.is_wanted(row.json)).collect();
        let mut refused = 0;
        let mut parts = vec![&rows[..]];
        while let Some(part) = parts.pop() {
            self.give_up();
            let cut = self.cut(part)?;
            let error = match self.table.append(&cut) {
                Ok(appended) => {
                    stored.count(appended);
                    continue;
                }
                Err(error) if is_of_rows(&error) => error,
                Err(error) => return Err(error),
            };
            if let [row] = part {
                refused += 1;
                if refused > REFUSED_MAX {
                    return Err(error).with_context(|| {
                        format!("more than {REFUSED_MAX} rows are refused: is the table right?")
                    });
                }
                self.reject(row, Reason::Refused, &Chain(error.as_ref()).to_string(), stored);
            } else {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
        self.give_up();
        Ok(())
    }

    fn give_up(&mut self) {
        match &mut self.table {
            Table::Warehouse(remote) => remote.table.give_up(),
            // It refuses no row: what it cannot hold, it says before.
            Table::Archive(_) => {}
        }
    }

    fn cut(&mut self, rows: &[Row<'_>]) -> anyhow::Result<Cut> {
        let mut cut = self.table.cut(self.kind);
        for row in rows {
            if let Verdict::Store(event) = self.judge(row.json) {
                cut.block(row.block.stream_seq, &row.id(self.kind), row.json);
                cut.push(event, row.json).map_err(anyhow::Error::msg)?;
            }
        }
        Ok(cut)
    }

    fn add(&mut self, cut: &mut Cut, block: &Block, stored: &mut Stored) {
        let id = block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default();
        let (mut is_begun, mut oldest) = (false, None::<i64>);
        for row in Row::all(block) {
            let event = match self.judge(row.json) {
                Verdict::Store(event) => event,
                Verdict::Forming => {
                    *stored.rejected.entry("forming").or_default() += 1;
                    continue;
                }
                Verdict::Unreadable(text) => {
                    self.reject(&row, Reason::Unreadable, &text, stored);
                    continue;
                }
            };
            if !is_begun {
                cut.block(block.stream_seq, &id, &block.payload);
                is_begun = true;
            }
            if event.origin.is_none() {
                let recv_time = event.recv_time.as_i64();
                oldest = Some(oldest.map_or(recv_time, |oldest| oldest.min(recv_time)));
            }
            let reason = if event.kind() == self.kind { Reason::Value } else { Reason::Kind };
            if let Err(error) = cut.push(event, row.json) {
                self.reject(&row, reason, &error, stored);
            }
        }
        stored.received.extend(oldest);
    }

    fn judge(&mut self, json: &[u8]) -> Verdict {
        match self.decoder.decode(json) {
            Ok(event) if is_forming(&event) => Verdict::Forming,
            Ok(event) => Verdict::Store(event),
            Err(error) => Verdict::Unreadable(error.to_string()),
        }
    }

    /// Whether a row is one that a cut takes.
    fn is_wanted(&mut self, json: &[u8]) -> bool {
        match self.judge(json) {
            Verdict::Store(event) => self.table.cut(self.kind).push(event, json).is_ok(),
            Verdict::Forming | Verdict::Unreadable(_) => false,
        }
    }

    fn reject(&mut self, row: &Row<'_>, reason: Reason, detail: &str, stored: &mut Stored) {
        *stored.rejected.entry(reason.as_str()).or_default() += 1;
        self.rejects.add(row, reason, detail);
    }
}

impl Stored {
    fn count(&mut self, appended: crate::cold::Appended) {
        self.rows += appended.stored;
        self.duplicates += appended.duplicates;
        self.cuts += usize::from(appended.stored > 0);
    }
}

fn is_of_rows(error: &anyhow::Error) -> bool {
    error.downcast_ref::<warehouse::Error>().is_some_and(warehouse::Error::is_of_rows)
}

const fn is_forming(event: &Event) -> bool {
    matches!(&event.body, Body::Kline(kline) if !kline.closed)
}
