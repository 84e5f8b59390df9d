//! What the streams took of ours after the last checkpoint.
//!
//! A killed collector's checkpoint is up to a second old, and of a block in flight nobody knows
//! whether it arrived. The streams know: they are read from the checkpoint on.

use crate::block::Run;
use crate::handover::Handover;
use bus::{Bus, RequestError};
use model::{Market, Venue};
use std::collections::{BTreeMap, BTreeSet};
use wire::{BlockId, Decoder, DurableSubject, header};

/// Blocks read per kind: many times what one second of the busiest day brings. What lies further
/// back stays unread, and the gap record then covers ids that are stored.
const BLOCKS_MAX: u64 = 20_000;

/// What is known of earlier runs beside their streams.
pub(crate) struct Earlier<'a> {
    /// When this run began.
    pub(crate) epoch: u64,
    /// Where the checkpoint has each subject.
    pub(crate) places: &'a BTreeMap<DurableSubject, u64>,
    /// The markets that were recorded from another host.
    pub(crate) moved: &'a BTreeSet<(Venue, Market)>,
}

/// Adds to `handover` what earlier runs of `producer` had stored.
///
/// # Errors
///
/// [`RequestError`]; what was read until then is in `handover`.
pub(crate) async fn read_streams(
    bus: &Bus,
    producer: &str,
    earlier: &Earlier<'_>,
    handover: &mut Handover,
) -> Result<(), RequestError> {
    let mut decoder = Decoder::new();
    for (kind, position) in handover.positions() {
        let name = wire::stream(kind).name;
        let stream = match bus.stream_info(name).await {
            Ok(stream) => stream.state,
            Err(error) if error.is_stream_not_found() => continue,
            Err(error) => return Err(error),
        };
        // A stream that ends before our position is another one under the same name.
        let after = if position > stream.last_seq { 0 } else { position };
        let first = (after + 1).max(stream.first_seq);
        for seq in first.max(stream.last_seq.saturating_sub(BLOCKS_MAX))..=stream.last_seq {
            let Some(message) = bus.stored(name, seq).await? else { continue };
            let id = message.header(header::MSG_ID).and_then(|id| BlockId::parse(id).ok());
            // What is not ours: a redundant collector's, or sent by hand.
            let id = id.filter(|id| *id.producer == *producer && id.epoch < earlier.epoch);
            if let Some(BlockId { subject, .. }) = id {
                // The checkpoint has it; in another stream of the same name positions say nothing.
                let place = earlier.places.get(&subject).copied().unwrap_or(0);
                let is_known = seq <= place && place <= stream.last_seq;
                // Another host's ids say nothing of where we are.
                let is_foreign = earlier.moved.contains(&(subject.venue, subject.market));
                if !is_known && !is_foreign {
                    note(handover, subject, &message.payload, &mut decoder);
                }
                handover.at(subject, seq);
            }
        }
    }
    Ok(())
}

fn note(handover: &mut Handover, subject: DurableSubject, payload: &[u8], decoder: &mut Decoder) {
    for event in wire::events(payload) {
        match decoder.decode(event) {
            Ok(event) => {
                let runs = [Run::of(&event)];
                handover.handed(subject, &runs);
                handover.acked(subject, &runs);
            }
            Err(error) => tracing::warn!(error = %error, "an event of ours cannot be read back"),
        }
    }
}
