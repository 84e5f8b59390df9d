//! What was added to the configuration by hand, and what taken away from it.

use anyhow::Context as _;
use model::{Instrument, InstrumentId, Listing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use venue::{Glob, Selection};

/// What a market is asked for by hand.
#[derive(Debug)]
pub(crate) enum Order {
    /// To record something, or not to.
    Change(Change),
    /// To read the venue's list now; the answer is the reason if that failed.
    Refresh(oneshot::Sender<Result<Refreshed, Arc<str>>>),
}

/// Something to be changed while the collector runs.
#[derive(Debug)]
pub(crate) struct Change {
    /// Whether it is to be recorded.
    pub(crate) wanted: bool,
    pub(crate) symbol: String,
    pub(crate) answer: oneshot::Sender<Result<(), Refusal>>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The venue does not list it, it has ended, or the configuration excludes it.
    Unlisted,
    /// It was not recorded anyway.
    Unrecorded,
    /// The change cannot be kept.
    Unkept(Arc<str>),
}

/// By symbol, what another look at a list has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refreshed {
    /// New on the list.
    pub(crate) listed: Vec<String>,
    /// Not on it any more, or as closed.
    pub(crate) delisted: Vec<String>,
    /// Recorded from now on.
    pub(crate) followed: Vec<String>,
    /// Not recorded any more.
    pub(crate) left: Vec<String>,
}

impl Refreshed {
    /// Compares two lists, each with what is recorded of it.
    pub(crate) fn between(
        before: (&[Instrument], &BTreeSet<Arc<InstrumentId>>),
        after: (&[Instrument], &BTreeSet<Arc<InstrumentId>>),
    ) -> Self {
        let [was_listed, is_listed] = [before.0, after.0].map(|list| {
            let open = list.iter().filter(|it| it.listing != Listing::Closed);
            open.map(|it| Arc::clone(&it.id)).collect::<BTreeSet<_>>()
        });
        let only = |these: &BTreeSet<Arc<InstrumentId>>, those: &BTreeSet<Arc<InstrumentId>>| {
            these.difference(those).map(|id| id.symbol.to_string()).collect()
        };
        Self {
            listed: only(&is_listed, &was_listed),
            delisted: only(&was_listed, &is_listed),
            followed: only(after.1, before.1),
            left: only(before.1, after.1),
        }
    }
}

/// What differs from the configuration, until it is ordered otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    added: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl Changes {
    /// Takes an order over the ones before it.
    #[must_use]
    pub(crate) fn with(&self, symbol: &str, wanted: bool) -> Self {
        let mut changes = self.clone();
        let (to, from) = if wanted {
            (&mut changes.added, &mut changes.removed)
        } else {
            (&mut changes.removed, &mut changes.added)
        };
        from.remove(symbol);
        to.insert(symbol.to_owned());
        changes
    }

    /// The configured selection with these changes.
    pub(crate) fn over(&self, configured: &Selection) -> Selection {
        let mut selection = configured.clone();
        let is_new = |symbol: &&String| !configured.symbols.contains(symbol);
        selection.symbols.extend(self.added.iter().filter(is_new).cloned());
        // A symbol has none of a pattern's characters: it stands for itself.
        selection.exclude.extend(self.removed.iter().map(Glob::new));
        selection
    }

    /// Reads what earlier runs were ordered; nothing if there is no file.
    ///
    /// # Errors
    ///
    /// If the file exists and cannot be read.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Replaces the file, so that after any crash the old or the new one is there, whole.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// The file of a market in the state directory.
pub(crate) fn path(directory: &Path, market: &str) -> PathBuf {
    directory.join(format!("subscriptions-{market}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured() -> Selection {
        Selection {
            symbols: vec!["A-USDT".to_owned()],
            patterns: vec![Glob::new("*-EUR")],
            exclude: vec![Glob::new("X-*")],
            ..Selection::default()
        }
    }

    #[test]
    fn the_last_order_about_a_symbol_counts() {
        let changes = Changes::default().with("B-USDT", true).with("A-USDT", false);
        let selection = changes.over(&configured());
        assert_eq!(selection.symbols, ["A-USDT", "B-USDT"]);
        assert_eq!(selection.exclude, [Glob::new("X-*"), Glob::new("A-USDT")]);
        let changes = changes.with("A-USDT", true).with("B-USDT", false).with("B-USDT", false);
        let selection = changes.over(&configured());
        assert_eq!(selection.symbols, ["A-USDT"]);
        assert_eq!(selection.exclude, [Glob::new("X-*"), Glob::new("B-USDT")]);
        assert_eq!(Changes::default().over(&configured()), configured());
    }

    #[test]
    fn what_is_ordered_outlives_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "binance-spot");
        assert_eq!(Changes::load(&path).unwrap(), Changes::default());
        let changes = Changes::default().with("B-USDT", true).with("A-USDT", false);
        changes.store(&path).unwrap();
        assert_eq!(Changes::load(&path).unwrap(), changes);
        fs::write(&path, b"{\"added\":").unwrap();
        assert!(Changes::load(&path).is_err());
    }
}
