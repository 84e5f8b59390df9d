//! The table's side of compaction: what to merge, and the commit.

use super::Table;
use crate::compaction::{rule, swap};
use crate::manifest::{Manifest, Swap};
use crate::shelf::{Place, ShelfFile, Span};
use crate::{Compacted, Compaction, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Table {
    /// The files that are worth merging most; `None` if there are none. Compact one at a time.
    #[must_use]
    pub fn compact(&self) -> Option<Compaction> {
        let shelf: BTreeMap<&PathBuf, &Arc<ShelfFile>> =
            self.shelf.files.iter().map(|file| (&file.entry.path, file)).collect();
        let mut days: BTreeMap<Place, BTreeMap<Span, Option<&Arc<ShelfFile>>>> = BTreeMap::new();
        for entry in &self.manifest.files {
            let Some((_, place, span)) = Place::parse(&entry.path) else { continue };
            days.entry(place).or_default().insert(span, shelf.get(&entry.path).copied());
        }
        // A file that could not be read at start parts its neighbours, as a large one does.
        let bytes = |file: &Option<&Arc<ShelfFile>>| file.map_or(u64::MAX, |file| file.entry.bytes);
        let sizes = days.iter().map(|(place, files)| {
            (*place, files.iter().map(|(span, file)| (*span, bytes(file))).collect())
        });
        let (place, range) = rule::choose(&sizes.collect())?;
        let chosen = days.remove(&place)?.into_values().skip(range.start).take(range.len());
        Some(Compaction {
            store: Arc::clone(&self.store),
            staging: self.layout.staging.clone(),
            place,
            inputs: chosen.flatten().cloned().collect(),
        })
    }

    /// Makes a merged file count in place of those it was made of, and removes them.
    ///
    /// `false` if one of them no longer counts, because retention has taken the day meanwhile:
    /// the merged file is dropped then.
    ///
    /// # Errors
    ///
    /// [`Error`] if the manifest cannot be replaced or the folders cannot be exchanged, then the
    /// old files still count; or if the old files cannot be removed, then the merged one counts
    /// and recovery removes them.
    pub fn commit_compaction(&mut self, compacted: Compacted) -> Result<bool, Error> {
        self.finish_swap()?;
        let staged = self.layout.staging.join(&compacted.staged);
        let is_input = |path: &Path| compacted.inputs.iter().any(|input| input == path);
        let counting = self.manifest.files.iter().filter(|entry| is_input(&entry.path)).count();
        if counting != compacted.inputs.len() {
            swap::remove_tree(&staged)?;
            return Ok(false);
        }
        let store = Arc::clone(&self.store);
        // Until readers have the new view nobody opens a file, so that none misses one.
        let names = store.names_change();
        self.swap_in(&compacted, &staged)?;
        let Compacted { inputs, file, zones, .. } = compacted;
        let gone = |file: &ShelfFile| inputs.contains(&file.entry.path);
        self.shelf.files.iter().filter(|file| gone(file)).for_each(|file| store.forget(file));
        let shelf = Arc::make_mut(&mut self.shelf);
        shelf.remove(gone);
        shelf.add(file, zones, Arc::make_mut(&mut self.streams));
        self.publish();
        drop(names);
        self.finish_swap()?;
        Ok(true)
    }

    /// The commit, and the new folder in the place of the old one.
    fn swap_in(&mut self, compacted: &Compacted, staged: &Path) -> Result<(), Error> {
        let file = self.layout.parquet.join(&compacted.file.entry.path);
        let folder = file.parent().unwrap_or(&self.layout.parquet);
        let names = |path: &PathBuf| path.file_name().map(ToOwned::to_owned);
        let without = compacted.inputs.iter().filter_map(names).collect();
        swap::link_others(folder, staged, &without).inspect_err(|_| {
            swap::remove_tree(staged).ok();
        })?;
        let manifest = self.manifest_with(compacted);
        let manifests = &self.layout.manifests;
        let swapped = manifest.store(manifests, self.kind);
        if let Err(error) = swapped.and_then(|()| swap::exchange(staged, folder)) {
            // Which manifest is on the disk is not known now. If the old one cannot be written
            // again, the next change writes it, or recovery exchanges the folders.
            if self.manifest.store(manifests, self.kind).is_ok() {
                swap::remove_tree(staged).ok();
            }
            return Err(error);
        }
        self.manifest = manifest;
        Ok(())
    }

    /// The manifest that commits a compaction.
    pub(super) fn manifest_with(&self, compacted: &Compacted) -> Manifest {
        let entry = &compacted.file.entry;
        let mut manifest = self.manifest.clone();
        manifest.files.retain(|entry| !compacted.inputs.contains(&entry.path));
        manifest.files.push(entry.clone());
        manifest.swap = Some(Swap { staged: compacted.staged.clone(), file: entry.path.clone() });
        manifest
    }

    /// Removes the old files of a committed compaction.
    fn finish_swap(&mut self) -> Result<(), Error> {
        let Some(Swap { staged, file }) = &self.manifest.swap else { return Ok(()) };
        let staged = self.layout.staging.join(staged);
        let file = self.layout.parquet.join(file);
        swap::settle(&staged, file.parent().unwrap_or(&self.layout.parquet))?;
        swap::remove_tree(&staged)?;
        self.manifest.swap = None;
        self.manifest.store(&self.layout.manifests, self.kind)
    }
}
