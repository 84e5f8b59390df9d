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
        match self.table.resume() {
            // What hung in the air is refused for its rows: the cut is made again, and taken apart.
            Err(error) if is_of_rows(&error) => {}
            resumed => resumed?,
        }
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
                self.append(cut, &blocks[from..at], &mut stored)?;
                (cut, from) = (self.table.cut(self.kind), at);
            }
            self.add(&mut cut, block, &mut stored);
        }
        self.append(cut, &blocks[from..], &mut stored)?;
        self.rejects.flush()?;
        if let Some(last) = blocks.last() {
            self.table.settled(last.stream_seq);
        }
        Ok(stored)
    }

    fn append(&mut self, cut: Cut, blocks: &[Block], stored: &mut Stored) -> anyhow::Result<()> {
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

    /// Stores the rows of a cut that was refused for some of them, and sets those aside.
    fn isolate(&mut self, blocks: &[Block], stored: &mut Stored) -> anyhow::Result<()> {
        let mut cut = warehouse::Cut::new(self.kind);
        // In the order of the cut's rows.
        let mut rows: Vec<Row<'_>> = Vec::new();
        for block in blocks {
            let mut is_begun = false;
            for row in Row::all(block) {
                let Verdict::Store(event) = self.judge(row.json) else { continue };
                // As the cut that was refused was made: it has to have the same name.
                if !is_begun {
                    cut.block(block.stream_seq, &msg_id(block), &block.payload);
                    is_begun = true;
                }
                if cut.push(&event).is_ok() {
                    rows.push(row);
                }
            }
        }
        let remote = match &mut self.table {
            Table::Warehouse(remote) => remote,
            // It refuses no row: what it cannot hold, it says before.
            Table::Archive(_) => anyhow::bail!("the archive refused a row"),
        };
        let isolated = remote.isolate(cut, REFUSED_MAX)?;
        stored.count(isolated.appended.into());
        let too_many = isolated.refused.len() > REFUSED_MAX;
        for warehouse::Refusal { row, error } in isolated.refused {
            if too_many {
                return Err(error).with_context(|| {
                    format!("more than {REFUSED_MAX} rows are refused: is the table right?")
                });
            }
            self.reject(&rows[row], Reason::Refused, &Chain(&error).to_string(), stored);
        }
        Ok(())
    }

    fn add(&mut self, cut: &mut Cut, block: &Block, stored: &mut Stored) {
        let id = msg_id(block);
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
            if let Err(error) = cut.push(&event, row.json) {
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

/// Its `Nats-Msg-Id`, empty if it had none.
fn msg_id(block: &Block) -> String {
    block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default()
}

fn is_of_rows(error: &anyhow::Error) -> bool {
    error.downcast_ref::<warehouse::Error>().is_some_and(warehouse::Error::is_of_rows)
}

const fn is_forming(event: &Event) -> bool {
    matches!(&event.body, Body::Kline(kline) if !kline.closed)
}
