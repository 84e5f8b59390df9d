//! What the fuzzers call, and the tests that replay their corpora: what an earlier run left on the
//! disk.

use crate::block::Block;
use crate::handover::Handover;
use units::UnixNanos;

/// When the checkpoint is read, in nanoseconds since the Unix epoch.
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// Reads bytes as the note of a block in the spool, and says whether it is one.
///
/// # Panics
///
/// If something does not hold that the start after a crash relies on.
pub fn spool_note(data: &[u8]) -> bool {
    let Ok(block) = Block::restore(data, data.to_vec()) else { return false };
    assert!(block.runs.len() <= data.len(), "{} runs", block.runs.len());
    let again = Block::restore(&block.note(), data.to_vec()).expect("we wrote it ourselves");
    assert_eq!(again, block);
    // What the runs say is taken in, whatever ids they have.
    let mut handover = Handover::default();
    handover.found(block.id.subject, &block.runs);
    handover.acked(block.id.subject, &block.runs);
    reads_back(&handover);
    true
}

/// Reads bytes as a checkpoint, and says whether it is one.
///
/// # Panics
///
/// If something does not hold that the start after a crash relies on.
pub fn checkpoint(data: &[u8]) -> bool {
    let Ok(mut handover) = Handover::decode(data) else { return false };
    handover.settle();
    let again = reads_back(&handover);
    // Nothing of it is in the spool, so nothing is left out.
    assert_eq!(again, handover);
    let last_ids = handover.last_ids();
    let records = handover.unrecorded(&last_ids, NOW);
    assert!(last_ids.len() + records.len() <= data.len(), "{} records", records.len());
    true
}

/// What is written of it can be read, and is then written alike.
fn reads_back(handover: &Handover) -> Handover {
    let written = handover.encode();
    let again = Handover::decode(&written).expect("we wrote it ourselves");
    let mut settled = again.clone();
    settled.settle();
    let written = settled.encode();
    let same = Handover::decode(&written).expect("we wrote it ourselves");
    assert_eq!(same, settled);
    again
}
