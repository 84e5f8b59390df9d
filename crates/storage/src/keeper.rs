//! The work that blocks: blocks become cuts, cuts become rows.

use crate::cold::{Cut, Table};
use crate::rejects::{Rejects, Row};
use anyhow::Context as _;
use bus::Block;
use maker::{Verdict, msg_id};
use model::Kind;
use std::collections::BTreeMap;
use telemetry::Chain;
use wire::Reason;

mod maker;

pub(crate) use maker::{Limits, Made, Maker};

/// Rows of one cut that the store may refuse. With more it is the table that is wrong, and the rows
/// wait for it to be put right.
const REFUSED_MAX: usize = 64;

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
    maker: Maker,
    rejects: Rejects,
}

impl Keeper {
    pub(crate) fn new(kind: Kind, table: Table, rejects: Rejects) -> Self {
        let maker = Maker::new(kind, table.is_remote());
        Self { kind, table, maker, rejects }
    }

    /// Stores the rows of some blocks, in the cuts that were made of them, or in as many as the
    /// limits ask for.
    ///
    /// Once this returns, all of them are durable or set aside, and may be acknowledged. After an
    /// error some may be stored; the same blocks can be given again, and are made into cuts again.
    pub(crate) fn store(
        &mut self,
        blocks: &[Block],
        limits: Limits,
        made: Option<Made>,
    ) -> anyhow::Result<Stored> {
        self.rejects.discard();
        match self.table.resume() {
            // What hung in the air is refused for its rows: the cut is made again, and taken apart.
            Err(error) if is_of_rows(&error) => {}
            resumed => resumed?,
        }
        // A cut that was begun is made of the same blocks again.
        let begun = self.table.begun();
        let made = made.unwrap_or_else(|| self.maker.make(blocks, limits, begun.as_ref()));
        let Made { cuts, rejected, left_out, received } = made;
        self.rejects.add_all(rejected);
        let mut stored = Stored { received, rejected: left_out, ..Stored::default() };
        for (cut, places) in cuts {
            self.append(cut, &blocks[places], &mut stored)?;
        }
        self.rejects.flush()?;
        if let Some(last) = blocks.last() {
            self.table.settled(last.stream_seq);
        }
        Ok(stored)
    }

    fn append(&mut self, cut: Cut, blocks: &[Block], stored: &mut Stored) -> anyhow::Result<()> {
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
                let Verdict::Store(event) = self.maker.judge(row.json) else { continue };
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
