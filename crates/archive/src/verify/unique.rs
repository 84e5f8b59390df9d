//! No two rows of a stream have the same identity, in whichever files they are.
//!
//! Within a file the order shows it. Between files only zones whose bounds overlap can share
//! an identity, so only those are read.

use super::finding::{Check, Findings};
use crate::Error;
use crate::segment::u64_of;
use crate::shelf::{Shelf, Store, ZoneRef};
use crate::stream::Streams;
use model::Identity;
use std::path::Path;
use std::sync::Arc;

pub(super) fn check<'a>(
    shelf: &Shelf,
    streams: &Streams,
    store: &Store,
    row_groups: &dyn Fn(&Path) -> Option<&'a [u64]>,
    findings: &mut Findings,
) -> Result<(), Error> {
    for (key, number) in streams.iter() {
        let mut open: Vec<&ZoneRef> = Vec::new();
        for zone in shelf.stream(number).map_or(&[][..], |stream| &stream.zones) {
            open.retain(|other| other.zone.last >= zone.zone.first);
            for other in open.iter().filter(|other| !Arc::ptr_eq(&other.file, &zone.file)) {
                let Some((identity, row)) = common(store, other, zone)? else { continue };
                let path = &zone.file.entry.path;
                let groups = row_groups(path).unwrap_or_default();
                let before: u64 = groups.iter().take(zone.zone.row_group).sum();
                let row = before + u64_of(zone.zone.start + row);
                let what = || {
                    let (major, other) = (identity.major, other.file.entry.path.display());
                    format!("{key} {major} is in {other}, too")
                };
                findings.add(Check::Duplicate, &Path::new("parquet").join(path), Some(row), what);
            }
            open.push(zone);
        }
    }
    Ok(())
}

/// The first identity that both zones have, and its row in the second.
fn common(store: &Store, a: &ZoneRef, b: &ZoneRef) -> Result<Option<(Identity, usize)>, Error> {
    let (a, b) = match (store.extents(a), store.extents(b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(error), _) | (_, Err(error)) => {
            // Compacted or expired meanwhile; what cannot be read was found already.
            let told = error.is_missing() || !error.is_transient();
            return if told { Ok(None) } else { Err(error) };
        }
    };
    let mut rows = b.iter().enumerate();
    Ok(rows.find_map(|(row, extent)| {
        let found = a.binary_search_by_key(&extent.identity, |known| known.identity);
        found.is_ok().then_some((extent.identity, row))
    }))
}
