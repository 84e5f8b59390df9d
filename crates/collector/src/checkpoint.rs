//! The file that tells the next run what this one had handed over.

use crate::handover::{Handover, Invalid};
use anyhow::Context as _;
use daemon::Task;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use telemetry::Chain;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

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

/// Replaces the checkpoint, so that after any crash the old or the new one is there, whole.
pub(crate) fn store(directory: &Path, text: &[u8]) -> io::Result<()> {
    let (path, fresh) = (directory.join(NAME), directory.join("checkpoint.json.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

/// Task: writes whatever the publisher hands out last.
pub(crate) async fn run(
    task: Task,
    directory: PathBuf,
    mut texts: watch::Receiver<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut running = true;
    while running {
        running = task.until_stopped(texts.changed()).await.is_some_and(|changed| changed.is_ok());
        let text = texts.borrow_and_update().clone();
        if text.is_empty() {
            continue;
        }
        let directory = directory.clone();
        let written = task.alive(spawn_blocking(move || store(&directory, &text))).await;
        if let Err(error) = written.context("write the checkpoint")? {
            // The next one is a second away; until then a crash costs a longer gap record.
            tracing::warn!(error = %error, "cannot write the checkpoint");
        }
    }
    Ok(())
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
