//! The identity filter: which rows are stored already.
//!
//! Exact for the whole archive, and in memory almost always: the index of the segments holds every
//! identity that is not yet in Parquet; of the Parquet files the bounds of every zone are known,
//! so an identity above them is new, one inside a zone without holes is stored, and only one
//! inside a zone with holes makes us look into the file.

use crate::Error;
use crate::run::Run;
use crate::shelf::{Store, StreamShelf};
use crate::view::View;
use model::Identity;

/// Says of each of a stream's identities, given in ascending order, whether it is stored.
pub(crate) fn stored(
    view: &View,
    store: &Store,
    stream: u32,
    identities: &[Identity],
) -> Result<Vec<bool>, Error> {
    let mut stored = vec![false; identities.len()];
    for run in view.segments.iter().flat_map(|segment| &segment.runs) {
        in_run(run, stream, identities, &mut stored);
    }
    if let Some(shelf) = view.shelf.stream(stream) {
        in_shelf(shelf, store, identities, &mut stored)?;
    }
    Ok(stored)
}

fn in_run(run: &Run, stream: u32, identities: &[Identity], stored: &mut [bool]) {
    let mut entries = run.stream(stream);
    let Some(last) = entries.last().map(|entry| entry.identity) else { return };
    for (identity, stored) in identities.iter().zip(stored) {
        if *identity > last {
            return;
        }
        let at = entries.partition_point(|entry| entry.identity < *identity);
        entries = &entries[at..];
        *stored |= entries.first().is_some_and(|entry| entry.identity == *identity);
    }
}

fn in_shelf(
    shelf: &StreamShelf,
    store: &Store,
    identities: &[Identity],
    stored: &mut [bool],
) -> Result<(), Error> {
    let (Some(lowest), Some(highest)) = (identities.first(), identities.last()) else {
        return Ok(());
    };
    if shelf.high.is_none_or(|high| *lowest > high) {
        return Ok(());
    }
    // Zones are sorted by their first identity; those that begin above the highest are over.
    let end = shelf.zones.partition_point(|zone| zone.zone.first <= *highest);
    for zone in shelf.zones[..end].iter().filter(|zone| zone.zone.last >= *lowest) {
        let from = identities.partition_point(|identity| *identity < zone.zone.first);
        let to = identities.partition_point(|identity| *identity <= zone.zone.last);
        if from == to || stored[from..to].iter().all(|stored| *stored) {
            continue;
        }
        if zone.zone.dense {
            // Bounds compare the minor as well; between them only the major may differ.
            for (identity, stored) in identities[from..to].iter().zip(&mut stored[from..to]) {
                *stored |= identity.minor == zone.zone.first.minor;
            }
            continue;
        }
        let known = match store.identities(zone) {
            Ok(known) => known,
            Err(error) if error.is_transient() => return Err(error),
            // What a damaged file holds cannot be read by anybody: a row is better stored again.
            Err(_) => continue,
        };
        for (identity, stored) in identities[from..to].iter().zip(&mut stored[from..to]) {
            *stored |= known.binary_search(identity).is_ok();
        }
    }
    Ok(())
}
