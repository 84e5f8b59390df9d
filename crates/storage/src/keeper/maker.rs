//! Blocks → cuts: what is done with rows before the store is asked anything.
//!
//! Nothing of it depends on what is stored, so the next cuts are made while the last are stored.

use crate::cold::Cut;
use crate::rejects::{Rejected, Row};
use bus::Block;
use model::{Body, Event, Kind};
use std::collections::BTreeMap;
use std::mem;
use std::ops::{Range, RangeInclusive};
use wire::Reason;

/// When a cut is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// What some blocks were made into.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Each with the places of its blocks among those given.
    pub(super) cuts: Vec<(Cut, Range<usize>)>,
    pub(super) rejected: Vec<Rejected>,
    /// Rows that are in no cut, by reason.
    pub(super) left_out: BTreeMap<&'static str, usize>,
    /// When the oldest event of each block was received, those not counted that were asked for
    /// later.
    pub(super) received: Vec<i64>,
}

/// Makes the cuts of one kind.
#[derive(Debug)]
pub(crate) struct Maker {
    kind: Kind,
    is_remote: bool,
    decoder: wire::Decoder,
}

/// What is to be done with a row.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack; a box would be an allocation for each row"
)]
pub(super) enum Verdict {
    Store(Event),
    /// By rule it is for the live lane only; stored, it would pass for the closed one.
    Forming,
    Unreadable(String),
}

impl Maker {
    pub(crate) fn new(kind: Kind, is_remote: bool) -> Self {
        Self { kind, is_remote, decoder: wire::Decoder::new() }
    }

    /// Makes as many cuts of some blocks as the limits ask for. Of those with a sequence in `begun`
    /// it makes one, whatever the limits are now.
    pub(crate) fn make(
        &mut self,
        blocks: &[Block],
        limits: Limits,
        begun: Option<&RangeInclusive<u64>>,
    ) -> Made {
        let mut made = Made::default();
        let mut cut = self.cut();
        let is_begun = |block: &Block| begun.is_some_and(|begun| begun.contains(&block.stream_seq));
        // Where the cut's blocks begin.
        let mut from = 0;
        for (at, block) in blocks.iter().enumerate() {
            let inside = is_begun(block);
            let edge = at > 0 && is_begun(&blocks[at - 1]) != inside;
            let full = cut.rows() >= limits.rows_max
                || cut.bytes() + block.payload.len() > limits.bytes_max;
            if (edge || full && !inside) && cut.blocks() > 0 {
                made.cuts.push((mem::replace(&mut cut, self.cut()), from..at));
                from = at;
            }
            self.add(&mut cut, block, &mut made);
        }
        if cut.blocks() > 0 {
            made.cuts.push((cut, from..blocks.len()));
        }
        made
    }

    fn cut(&self) -> Cut {
        Cut::new(self.kind, self.is_remote)
    }

    fn add(&mut self, cut: &mut Cut, block: &Block, made: &mut Made) {
        let id = msg_id(block);
        let (mut is_begun, mut oldest) = (false, None::<i64>);
        for row in Row::all(block) {
            let event = match self.judge(row.json) {
                Verdict::Store(event) => event,
                Verdict::Forming => {
                    *made.left_out.entry("forming").or_default() += 1;
                    continue;
                }
                Verdict::Unreadable(text) => {
                    made.reject(&row, self.kind, Reason::Unreadable, &text);
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
                made.reject(&row, self.kind, reason, &error);
            }
        }
        made.received.extend(oldest);
    }

    /// Says what is to be done with a row.
    pub(super) fn judge(&mut self, json: &[u8]) -> Verdict {
        match self.decoder.decode(json) {
            Ok(event) if is_forming(&event) => Verdict::Forming,
            Ok(event) => Verdict::Store(event),
            Err(error) => Verdict::Unreadable(error.to_string()),
        }
    }
}

impl Made {
    fn reject(&mut self, row: &Row<'_>, kind: Kind, reason: Reason, detail: &str) {
        *self.left_out.entry(reason.as_str()).or_default() += 1;
        self.rejected.push(row.rejected(kind, reason, detail));
    }
}

/// Its `Nats-Msg-Id`, empty if it had none.
pub(super) fn msg_id(block: &Block) -> String {
    block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default()
}

const fn is_forming(event: &Event) -> bool {
    matches!(&event.body, Body::Kline(kline) if !kline.closed)
}
