//! Which files are one recording, and whose frames are in it.

use anyhow::{Context as _, bail};
use model::{Market, Venue};
use std::fs;
use std::path::{Path, PathBuf};

/// What the name of a recording ends in.
const SUFFIXES: [&str; 3] = [".tsv", ".tsv.gz", ".tsv.zst"];

/// The files of one connection, in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recording {
    pub(super) venue: Venue,
    pub(super) market: Market,
    pub(super) files: Vec<PathBuf>,
}

/// The recordings that files and folders are. Files of one folder are one recording; a folder may
/// be that of a connection, or have those of several inside.
///
/// Whose frames they are is told, or is in the name of the folder as the collector gives it:
/// `binance-spot-0`.
///
/// # Errors
///
/// A folder cannot be read or has no recording, or nobody says whose frames they are.
pub(super) fn recordings(
    paths: &[PathBuf],
    told: Option<(Venue, Market)>,
) -> anyhow::Result<Vec<Recording>> {
    let mut found: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for file in files(paths)? {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        match found.iter_mut().find(|(known, _)| *known == folder) {
            Some((_, files)) => files.push(file),
            None => found.push((folder, vec![file])),
        }
    }
    let recording = |(folder, files): (PathBuf, Vec<PathBuf>)| {
        let (venue, market) = told.or_else(|| named(&folder)).with_context(|| {
            format!(
                "the folder of {} is not named <venue>-<market>-…: give --venue and --market",
                files[0].display()
            )
        })?;
        anyhow::Ok(Recording { venue, market, files })
    };
    found.into_iter().map(recording).collect()
}

/// The market in the name of a folder such as `binance-spot-0`.
fn named(folder: &Path) -> Option<(Venue, Market)> {
    let mut words = folder.file_name()?.to_str()?.split('-');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = list(path)?;
        let folders: Vec<_> = inside.iter().filter(|path| path.is_dir()).cloned().collect();
        for folder in folders {
            inside.extend(list(&folder)?);
        }
        inside.retain(|path| path.is_file() && is_recording(path));
        if inside.is_empty() {
            bail!("no recording in {}: their names end in {}", path.display(), SUFFIXES.join(", "));
        }
        // Their names are the times when they began.
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn list(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("list {}", folder.display()))?;
    Ok(entries.iter().map(fs::DirEntry::path).collect())
}

fn is_recording(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_connections_is_a_recording_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in [
            "okx-perp-0/20261126T060000.000000000Z.tsv.zst",
            "binance-spot-0/20261126T060000.000000000Z.tsv.zst",
            "binance-spot-0/20261126T050000.000000000Z.tsv.zst",
            "binance-spot-0/notes.txt",
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "").unwrap();
        }
        let spot = Recording {
            venue: Venue::Binance,
            market: Market::Spot,
            files: vec![
                path("binance-spot-0/20261126T050000.000000000Z.tsv.zst"),
                path("binance-spot-0/20261126T060000.000000000Z.tsv.zst"),
            ],
        };
        let perp = Recording {
            venue: Venue::Okx,
            market: Market::Perp,
            files: vec![path("okx-perp-0/20261126T060000.000000000Z.tsv.zst")],
        };
        let all = recordings(&[dir.path().to_owned()], None).unwrap();
        assert_eq!(all, [spot.clone(), perp]);
        assert_eq!(recordings(&[path("binance-spot-0")], None).unwrap(), [spot]);
    }

    #[test]
    fn files_keep_the_order_they_are_given_in_and_the_market_that_is_told() {
        let paths = [PathBuf::from("x/b.tsv"), PathBuf::from("x/a.tsv")];
        let told = Some((Venue::Deribit, Market::Option));
        let found = recordings(&paths, told).unwrap();
        assert_eq!((found.len(), &found[0].files[..]), (1, &paths[..]));
        assert_eq!((found[0].venue, found[0].market), (Venue::Deribit, Market::Option));
    }

    #[test]
    fn what_cannot_be_a_recording_is_refused_with_the_remedy() {
        let error = recordings(&[PathBuf::from("x/a.tsv")], None).unwrap_err().to_string();
        assert!(error.contains("x/a.tsv") && error.contains("give --venue"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let error = recordings(&[dir.path().to_owned()], None).unwrap_err().to_string();
        assert!(error.contains(".tsv.zst"), "{error}");
    }
}
