//! Where the run before ended, and where a market stands that begins.

use super::{Parts, Publisher};
use crate::batch::Batch;
use crate::handover::Key;
use crate::recovery::{self, Earlier};
use bus::RequestError;
use daemon::Task;
use model::{Market, Venue};
use std::collections::BTreeMap;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the first feed waits for the bus to say what the run before had stored. Longer would
/// lose more at the venue than it could spare in the record of what is lost.
const RECOVERY_WAIT: Duration = Duration::from_secs(3);

/// Markets that may wait to be told where they stand: more than there are. When full they wait to
/// ask.
pub(crate) const STANDINGS_CAPACITY: usize = 16;

/// Where each stream ended.
pub(crate) type LastIds = BTreeMap<Key, u64>;

/// A market's question where its streams ended: in the run before, or in this one, if it is recorded
/// again.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) of: (Venue, Market),
    pub(crate) answer: oneshot::Sender<LastIds>,
}

impl Publisher {
    /// Finds out where the run before ended. Only then markets are told where they stand.
    pub(super) async fn begin(&mut self, task: &Task) {
        let mut complete = true;
        if !self.parts.handover.positions().is_empty() {
            let connected = async {
                // Without the bus the checkpoint has to do; what the streams know is added later.
                self.bus_state.wait_for(bus::State::is_connected).await.is_ok()
            };
            if task.alive(timeout(RECOVERY_WAIT, connected)).await != Ok(true) {
                tracing::info!("the bus is away, the last run is known by its checkpoint alone");
            }
            complete = self.read_streams(task).await;
        }
        self.parts.handover.settle();
        let last_ids = self.parts.handover.last_ids();
        if complete {
            self.record_inherited(&last_ids);
        } else {
            self.unrecorded = Some(last_ids);
        }
    }

    /// Adds what the streams know. False if they have to be asked again later.
    pub(super) async fn read_streams(&mut self, task: &Task) -> bool {
        let Parts { bus, producer, handover, moved, .. } = &mut self.parts;
        let earlier = Earlier { epoch: producer.epoch, places: &self.places, moved };
        let read = recovery::read_streams(bus, &producer.name, &earlier, handover);
        let Err(error) = task.alive(read).await else { return true };
        tracing::info!(error = %Chain(&error), "cannot read what the last run had stored");
        !matches!(
            error,
            RequestError::NotConnected(_) | RequestError::Disconnected | RequestError::TimedOut(_)
        )
    }

    /// Tells a market where it stands, with all that it had handed in before it asked.
    pub(super) async fn tell(&mut self, standing: Standing, task: &Task) {
        let Standing { of, answer } = standing;
        let batches = &mut self.parts.batches;
        let waiting = batches.len();
        let waiting: Vec<Batch> = (0..waiting).map_while(|_| batches.try_recv().ok()).collect();
        self.append(waiting, task).await;
        let Parts { handover, lane, .. } = &self.parts;
        // A market that is stopped meanwhile wants no answer.
        drop(answer.send(handover.standing(of, lane.held(of))));
    }
}
