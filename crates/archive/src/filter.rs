//! The identity filter: which rows are stored already.
//!
//! Exact for the whole archive, and in memory almost always: the index of the segments holds every
//! identity that is not yet in Parquet; of the Parquet files the bounds of every zone are known,
//! so an identity above them is new, one inside a zone without holes is stored, and only one
//! inside a zone with holes makes us look into the file.
//!
//! A trade may stand for several ids. It counts as stored if one of them is, whichever row has it:
//! stored beside that row, its quantity would count twice.

use crate::Error;
use crate::run::Run;
use crate::shelf::{Store, StreamShelf};
use crate::view::View;
use catalog::Extent;
use model::Identity;

/// Says of each of a stream's rows, given in the order of identity, whether it is stored.
pub(crate) fn stored(
    view: &View,
    store: &Store,
    stream: u32,
    extents: &[Extent],
) -> Result<Vec<bool>, Error> {
    let mut stored = vec![false; extents.len()];
    let Some(lowest) = extents.iter().map(Extent::floor).min() else { return Ok(stored) };
    for run in view.segments.iter().flat_map(|segment| &segment.runs) {
        in_run(run, stream, (extents, lowest), &mut stored);
    }
    if let Some(shelf) = view.shelf.stream(stream) {
        in_shelf(shelf, store, extents, &mut stored)?;
    }
    Ok(stored)
}

fn in_run(run: &Run, stream: u32, (extents, lowest): (&[Extent], Identity), stored: &mut [bool]) {
    let all = run.stream(stream);
    let Some(last) = all.last().map(|entry| entry.identity) else { return };
    // What arrives mostly lies above everything.
    if lowest > last {
        return;
    }
    // Those below the row before need not be looked at again.
    let mut entries = all;
    for (extent, stored) in extents.iter().zip(stored) {
        let floor = extent.floor();
        if floor > last {
            continue;
        }
        let among = if extent.is_wide() { all } else { entries };
        let rest = &among[among.partition_point(|entry| entry.identity < floor)..];
        *stored |= rest.first().is_some_and(|entry| entry.extent().touches(extent));
        if !extent.is_wide() {
            entries = rest;
        }
    }
}

fn in_shelf(
    shelf: &StreamShelf,
    store: &Store,
    extents: &[Extent],
    stored: &mut [bool],
) -> Result<(), Error> {
    let (Some(lowest), Some(highest)) =
        (extents.iter().map(Extent::floor).min(), extents.last().map(|extent| extent.identity))
    else {
        return Ok(());
    };
    if shelf.high.is_none_or(|high| lowest > high) {
        return Ok(());
    }
    let has_wide = extents.iter().any(Extent::is_wide);
    for zone in &shelf.zones {
        let (floor, last): (Identity, Identity) = (zone.zone.floor(), zone.zone.last);
        if floor > highest || last < lowest {
            continue;
        }
        let from = extents.partition_point(|extent| extent.identity < floor);
        // One that stands for several ids may lie above the zone and reach into it.
        let to = if has_wide {
            extents.len()
        } else {
            extents.partition_point(|extent| extent.identity <= last)
        };
        let reaches = |(extent, stored): (&Extent, &bool)| !*stored && extent.floor() <= last;
        if from >= to || !extents[from..to].iter().zip(&stored[from..to]).any(reaches) {
            continue;
        }
        let near = extents[from..to].iter().zip(&mut stored[from..to]);
        if zone.zone.is_whole() {
            // Bounds compare the minor as well; between them only the major may differ.
            let minor = zone.zone.first.minor;
            for (extent, stored) in near {
                *stored |= extent.identity.minor == minor && extent.first <= last.major;
            }
            continue;
        }
        let known = match store.extents(zone) {
            Ok(known) => known,
            Err(error) if error.is_transient() => return Err(error),
            // What a damaged file holds cannot be read by anybody: a row is better stored again.
            Err(_) => continue,
        };
        for (extent, stored) in near {
            *stored |= extent.is_among(&known);
        }
    }
    Ok(())
}
