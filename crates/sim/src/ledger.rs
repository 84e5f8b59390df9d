//! The ledger: one line per id the market produced, on disk before any client sees it.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A trade.
    Trade(TradeEntry),
    /// A book diff.
    Book(BookEntry),
    /// A best bid and offer.
    Bbo(BboEntry),
    /// A fault injected on purpose.
    Fault(FaultEntry),
}

/// A trade as the market made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeEntry {
    /// The venue, always `binance` so far.
    pub venue: Arc<str>,
    /// The market, always `spot` so far.
    pub market: Arc<str>,
    /// The venue's own name.
    pub instrument: Arc<str>,
    /// The trade id.
    pub seq: u64,
    /// Canonical decimal.
    pub price: String,
    /// Canonical decimal.
    pub qty: String,
    /// The taker's side.
    pub side: String,
    /// Nanoseconds since the Unix epoch.
    pub venue_time: i64,
}

/// A book diff as the market made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookEntry {
    /// The venue.
    pub venue: Arc<str>,
    /// The market.
    pub market: Arc<str>,
    /// The venue's own name.
    pub instrument: Arc<str>,
    /// First update id inside.
    pub first_id: u64,
    /// Last update id inside.
    pub last_id: u64,
}

/// A best bid and offer as the market made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BboEntry {
    /// The venue.
    pub venue: Arc<str>,
    /// The market.
    pub market: Arc<str>,
    /// The venue's own name.
    pub instrument: Arc<str>,
    /// The update id.
    pub id: u64,
}

/// A fault as it was injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// Which fault, in the words of the command line.
    pub fault: String,
    /// Nanoseconds since the Unix epoch.
    pub at: i64,
}

/// Writes the ledger.
#[derive(Debug)]
pub struct Ledger {
    file: Option<BufWriter<File>>,
    entries: u64,
}

impl Ledger {
    /// Creates the file, or keeps no ledger without a path.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { file, entries: 0 })
    }

    /// Adds a line; it is on its way to the disk only after [`Ledger::flush`].
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.entries += 1;
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, entry)?;
        file.write_all(b"\n")
    }

    /// Hands all lines to the system. Called before the frames they name are sent.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), io::Write::flush)
    }

    /// Lines written so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }
}

/// Reads a whole ledger.
///
/// # Errors
///
/// What the file system says, or a line that is no entry, with its number.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let reader = BufReader::new(File::open(path)?);
    let mut entries = Vec::new();
    for (i, line) in reader.lines().enumerate() {
        let entry = serde_json::from_str(&line?).map_err(|error| {
            let place = format!("{}:{}: {error}", path.display(), i + 1);
            io::Error::new(io::ErrorKind::InvalidData, place)
        })?;
        entries.push(entry);
    }
    Ok(entries)
}
