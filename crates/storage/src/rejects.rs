//! Rows that were not stored, kept with the reason.
//!
//! One JSON object a line: `time`, `stream_seq`, `block`, `reason` and the row's bytes in base64.
//! Nothing of the suite reads the files; they are for whoever looks into what went wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Size at which the file becomes the previous one, which is then forgotten: what is kept per kind
/// is twice this at most, and the newest rows always are.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize)]
struct Line<'a> {
    time: i64,
    stream_seq: u64,
    block: &'a str,
    reason: &'a str,
    row_base64: String,
}

/// The file of one kind.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    pending: Vec<u8>,
}

impl Rejects {
    pub(crate) fn new(dir: &Path, kind: model::Kind) -> Self {
        Self { path: dir.join(format!("{kind}.jsonl")), pending: Vec::new() }
    }

    /// Notes a row; it is on disk after the next [`Rejects::flush`].
    pub(crate) fn add(&mut self, stream_seq: u64, block: &str, reason: &str, row: &[u8]) {
        let time = daemon::clock::now();
        let line = Line { time, stream_seq, block, reason, row_base64: STANDARD.encode(row) };
        serde_json::to_writer(&mut self.pending, &line)
            .expect("texts and numbers have a JSON form");
        self.pending.push(b'\n');
    }

    /// Forgets what was noted since the last flush: the blocks will be looked at again.
    pub(crate) fn discard(&mut self) {
        self.pending.clear();
    }

    /// Writes and syncs what was noted.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut file = self.open()?;
        file.write_all(&self.pending)?;
        file.sync_data()?;
        self.pending.clear();
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let full = std::fs::metadata(&self.path).is_ok_and(|file| file.len() >= FILE_BYTES_MAX);
        if full {
            std::fs::rename(&self.path, self.path.with_extension("previous.jsonl"))?;
        }
        OpenOptions::new().create(true).append(true).open(&self.path)
    }
}
