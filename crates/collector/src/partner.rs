//! Task: what the other of a redundant pair has on record as missing.
//!
//! Each of a pair records the gaps of its own stream, and only the one that leads fetches. So each
//! reads the stream of gap records: a gap that the other opened is taken up as if it were its own,
//! and one that the other closed is closed here as well. Reading a record twice, or late, costs a
//! few requests and no data: what is fetched twice is told apart by its ids.

use crate::block::Run;
use crate::board::Board;
use crate::outbox::Producer;
use bus::{Bus, RequestError};
use daemon::Task;
use model::{Body, GapState, Kind, Market, Venue};
use std::collections::BTreeSet;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::mpsc;
use wire::{BlockId, Decoder, header};

/// How often it looks for new records.
const INTERVAL: Duration = Duration::from_secs(1);

/// Blocks of records that are looked at from the time before the start: a bad day has hundreds.
const BLOCKS_MAX: u64 = 20_000;

/// Records on their way to the publisher. When full the task waits.
pub(crate) const OVERHEARD_CAPACITY: usize = 64;

/// The task's state.
pub(crate) struct Partner {
    pub(crate) bus: Bus,
    pub(crate) producer: Producer,
    pub(crate) board: Board,
    /// What is recorded here: gaps of anything else are somebody else's.
    pub(crate) markets: BTreeSet<(Venue, Market)>,
    pub(crate) overheard: mpsc::Sender<Vec<Run>>,
    /// The last message of the stream that was read; 0 before the first.
    pub(crate) position: u64,
}

impl Partner {
    /// Reads until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            let Some(read) = task.until_stopped(self.read()).await else { return Ok(()) };
            match read {
                Ok(()) => failing = false,
                // It is tried again; of a bus that is away others tell.
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = Chain(&error);
                        tracing::info!(%error, "cannot read what the other of the pair misses");
                    }
                }
            }
            if !task.sleep(INTERVAL).await {
                return Ok(());
            }
        }
    }

    /// Reads what came since the last time. Cancel-safe.
    async fn read(&mut self) -> Result<(), RequestError> {
        let markets = self.board.names();
        if !markets.is_subset(&self.markets) {
            // Of a market that has come all records are news.
            self.position = 0;
        }
        self.markets = markets;
        let name = wire::stream(Kind::Gap).name;
        let stream = self.bus.stream_info(name).await?.state;
        // A stream that ends before our position is another one under the same name.
        let after = if self.position > stream.last_seq { 0 } else { self.position };
        let oldest = stream.last_seq.saturating_sub(BLOCKS_MAX).max(stream.first_seq);
        let first = if after == 0 { oldest } else { (after + 1).max(stream.first_seq) };
        for seq in first.max(1)..=stream.last_seq {
            if let Some(message) = self.bus.stored(name, seq).await? {
                let id = message.header(header::MSG_ID).and_then(|id| BlockId::parse(id).ok());
                let is_ours = id.is_some_and(|id| id.producer == self.producer.name);
                let runs = self.runs(&message.payload, is_ours);
                // An error means that the publisher is gone, and the process about to be.
                if !runs.is_empty() && self.overheard.send(runs).await.is_err() {
                    return Ok(());
                }
            }
            self.position = seq;
        }
        Ok(())
    }

    /// The gap records of a block that concern us. Of our own those that close a gap: it may be one
    /// that the other had opened, whose record is read before.
    fn runs(&self, payload: &[u8], is_ours: bool) -> Vec<Run> {
        let mut decoder = Decoder::new();
        let events = wire::events(payload).filter_map(|text| {
            let event = decoder.decode(text);
            event.inspect_err(|error| tracing::warn!(%error, "a gap record cannot be read")).ok()
        });
        let concerns = |event: &model::Event| {
            let Body::Gap(gap) = &event.body else { return false };
            let market = (event.instrument.venue, event.instrument.market);
            self.markets.contains(&market) && !(is_ours && gap.state == GapState::Open)
        };
        events.filter(concerns).map(|event| Run::of(&event)).collect()
    }
}
