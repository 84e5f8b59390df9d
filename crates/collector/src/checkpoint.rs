//! The file that tells the next run what this one had handed over.

use crate::handover::{Handover, Invalid};
use anyhow::Context as _;
use model::{Market, Venue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use telemetry::Chain;
use tokio::task::{JoinHandle, spawn_blocking};

/// Its name in the state directory.
const NAME: &str = "checkpoint.json";

/// Reads the checkpoint; an empty one if there is none, or if it cannot be used: then nothing is
/// known of the run before, which is said in the log.
///
/// # Errors
///
/// If the file exists and cannot be read.
pub(crate) fn load(directory: &Path) -> anyhow::Result<Handover> {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Handover::default()),
        Err(error) => return Err(error).context(format!("read {}", path.display())),
    };
    let usable: Result<Handover, Invalid> = Handover::decode(&text);
    Ok(usable.unwrap_or_else(|error| {
        tracing::error!(error = %Chain(&error), "the checkpoint is unusable, gaps since the last run stay unknown");
        Handover::default()
    }))
}

/// Takes out of the checkpoint what it says of these markets.
///
/// # Errors
///
/// If the file exists and cannot be read, or not be written.
pub(crate) fn forget(directory: &Path, markets: &BTreeSet<(Venue, Market)>) -> anyhow::Result<()> {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(format!("read {}", path.display())),
    };
    // One that is unusable is so for whoever loads it, too.
    let Ok(mut file) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
    for part in ["keys", "open", "breaks"] {
        if let Some(entries) = file.get_mut(part).and_then(Value::as_array_mut) {
            entries
                .retain(|entry| market_of(entry).is_none_or(|market| !markets.contains(&market)));
        }
    }
    let text = serde_json::to_vec(&file).context("write the checkpoint")?;
    store(directory, &text).with_context(|| format!("write {}", path.display()))
}

/// Whose an entry of the checkpoint is.
fn market_of(entry: &Value) -> Option<(Venue, Market)> {
    let name = |key| entry.get(key).and_then(Value::as_str);
    Some((name("venue")?.parse().ok()?, name("market")?.parse().ok()?))
}

/// Replaces the checkpoint, so that after any crash the old or the new one is there, whole.
pub(crate) fn store(directory: &Path, text: &[u8]) -> io::Result<()> {
    replace(directory, NAME, text)
}

/// Replaces a file, so that after any crash the old or the new one is there, whole.
pub(crate) fn replace(directory: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let (path, fresh) = (directory.join(name), directory.join(format!("{name}.new")));
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

/// Writes checkpoints, one at a time, without holding up whoever hands them in.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    directory: PathBuf,
    /// What was handed in last.
    text: Vec<u8>,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl Checkpoints {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory, text: Vec::new(), writing: None }
    }

    /// Begins to write a checkpoint, unless it is the one written last or another is under way:
    /// the next one is a second away.
    pub(crate) fn begin(&mut self, text: Vec<u8>) {
        if self.writing.is_none() && text != self.text {
            self.text.clone_from(&text);
            let directory = self.directory.clone();
            self.writing = Some(spawn_blocking(move || store(&directory, &text)));
        }
    }

    /// Waits for the checkpoint under way; for ever if there is none. Cancel-safe.
    pub(crate) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let result = writing.await.map_err(io::Error::other).flatten();
        self.writing = None;
        if let Err(error) = result {
            // The next one is a second away; until then a crash costs a longer gap record.
            tracing::warn!(error = %error, "cannot write the checkpoint");
            self.text.clear();
        }
    }

    /// Writes a checkpoint and waits until it is there.
    pub(crate) async fn write(&mut self, text: Vec<u8>) {
        if self.writing.is_some() {
            self.written().await;
        }
        self.begin(text);
        if self.writing.is_some() {
            self.written().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), Handover::default());
        let mut handover = Handover::default();
        handover.at("mdb.trade.binance.spot".parse().unwrap(), 7);
        store(directory.path(), &handover.encode()).unwrap();
        assert_eq!(load(directory.path()).unwrap(), handover);
        fs::write(directory.path().join(NAME), b"{\"version\":1").unwrap();
        assert_eq!(load(directory.path()).unwrap(), Handover::default());
    }
}
