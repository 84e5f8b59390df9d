//! The ledger: one line per id the market produced, on disk before any client sees it.

use crate::dialect::MarketId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

/// The figure that is the value of a volatility index.
pub const VOLATILITY_INDEX: &str = "volatility_index";

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
    /// A figure.
    Figure(FigureEntry),
    /// A fault injected on purpose.
    Fault(FaultEntry),
}

/// A trade as the market made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeEntry {
    /// The venue.
    pub venue: Arc<str>,
    /// The market.
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

/// A figure that the venue says of an instrument every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FigureEntry {
    /// The venue.
    pub venue: Arc<str>,
    /// The market.
    pub market: Arc<str>,
    /// The venue's own name.
    pub instrument: Arc<str>,
    /// Which figure, by the name that it is recorded under: `index_price`, `mark_iv` or
    /// [`VOLATILITY_INDEX`].
    pub figure: String,
    /// Canonical decimal.
    pub value: String,
    /// Nanoseconds since the Unix epoch.
    pub venue_time: i64,
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

/// A line of a ledger, as far as a comparison needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A trade; see [`TradeEntry`].
    #[expect(missing_docs, reason = "they are the fields of `TradeEntry`")]
    Trade {
        instrument: &'a str,
        seq: u64,
        price: &'a str,
        qty: &'a str,
        side: &'a str,
        venue_time: i64,
    },
    /// A book diff; see [`BookEntry`].
    #[expect(missing_docs, reason = "they are the fields of `BookEntry`")]
    Book { instrument: &'a str, last_id: u64 },
    /// A best bid and offer.
    Bbo,
    /// A figure; see [`FigureEntry`].
    #[expect(missing_docs, reason = "they are the fields of `FigureEntry`")]
    Figure { instrument: &'a str, figure: &'a str, value: &'a str, venue_time: i64 },
    /// A fault injected on purpose.
    Fault,
}

/// The members of all kinds of lines, borrowed: [`Entry`] copies each text, which takes its time
/// with millions.
#[derive(Deserialize)]
struct Flat<'a> {
    kind: &'a str,
    #[serde(default)]
    instrument: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    price: &'a str,
    #[serde(default)]
    qty: &'a str,
    #[serde(default)]
    side: &'a str,
    #[serde(default)]
    venue_time: i64,
    #[serde(default)]
    last_id: u64,
    #[serde(default)]
    figure: &'a str,
    #[serde(default)]
    value: &'a str,
}

impl<'a> Flat<'a> {
    fn line(self) -> Option<Line<'a>> {
        let Self { kind, instrument, seq, price, qty, side, venue_time, last_id, figure, value } =
            self;
        match kind {
            "trade" => Some(Line::Trade { instrument, seq, price, qty, side, venue_time }),
            "book" => Some(Line::Book { instrument, last_id }),
            "bbo" => Some(Line::Bbo),
            "figure" => Some(Line::Figure { instrument, figure, value, venue_time }),
            "fault" => Some(Line::Fault),
            _ => None,
        }
    }
}

/// Reads a ledger of any length, line by line.
///
/// # Errors
///
/// As [`read`].
pub fn visit(path: &Path, mut take: impl FnMut(Line<'_>)) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut text, mut number) = (Vec::new(), 0_u64);
    while reader.read_until(b'\n', &mut text)? > 0 {
        number += 1;
        let place = || format!("{}:{number}", path.display());
        let invalid =
            |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", place()));
        let flat: Flat<'_> =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        let kind = flat.kind;
        take(flat.line().ok_or_else(|| invalid(format!("`{kind}` is no kind of line")))?);
        text.clear();
    }
    Ok(())
}

/// The market that a ledger is of, by its first line that names one. A ledger has but one.
///
/// # Errors
///
/// As [`read`], and a market that cannot be simulated.
pub fn market(path: &Path) -> io::Result<Option<MarketId>> {
    #[derive(Deserialize)]
    struct Named {
        venue: Option<String>,
        market: Option<String>,
    }
    for line in BufReader::new(File::open(path)?).lines() {
        let Named { venue, market } = serde_json::from_str(&line?)?;
        if let (Some(venue), Some(market)) = (venue, market) {
            let market = format!("{venue}/{market}").parse();
            return market.map(Some).map_err(|why: String| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
            });
        }
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_entry_that_was_written() {
        let name = || Arc::<str>::from("BTCUSDT");
        let (venue, market) = (Arc::<str>::from("binance"), Arc::<str>::from("spot"));
        let entries = [
            Entry::Trade(TradeEntry {
                venue: Arc::clone(&venue),
                market: Arc::clone(&market),
                instrument: name(),
                seq: 7,
                price: "1.5".to_owned(),
                qty: "2".to_owned(),
                side: "buy".to_owned(),
                venue_time: 9,
            }),
            Entry::Book(BookEntry {
                venue: Arc::clone(&venue),
                market: Arc::clone(&market),
                instrument: name(),
                first_id: 3,
                last_id: 5,
            }),
            Entry::Bbo(BboEntry {
                venue: Arc::clone(&venue),
                market: Arc::clone(&market),
                instrument: name(),
                id: 8,
            }),
            Entry::Figure(FigureEntry {
                venue,
                market,
                instrument: name(),
                figure: "index_price".to_owned(),
                value: "1.25".to_owned(),
                venue_time: 9,
            }),
            Entry::Fault(FaultEntry { fault: "gap@\"1s\"".to_owned(), at: 4 }),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::create(Some(&path)).unwrap();
        entries.iter().for_each(|entry| ledger.write(entry).unwrap());
        ledger.flush().unwrap();
        let mut lines = Vec::new();
        visit(&path, |line| lines.push(format!("{line:?}"))).unwrap();
        let (instrument, price, qty, side) = ("BTCUSDT", "1.5", "2", "buy");
        let expected = [
            Line::Trade { instrument, seq: 7, price, qty, side, venue_time: 9 },
            Line::Book { instrument, last_id: 5 },
            Line::Bbo,
            Line::Figure { instrument, figure: "index_price", value: "1.25", venue_time: 9 },
            Line::Fault,
        ];
        assert_eq!(lines, expected.map(|line| format!("{line:?}")));
        assert_eq!(read(&path).unwrap(), entries);
        assert_eq!(super::market(&path).unwrap().unwrap().to_string(), "binance/spot");
        std::fs::write(&path, "{\"kind\":\"bet\"}\n").unwrap();
        let error = visit(&path, |_| {}).unwrap_err().to_string();
        assert!(error.ends_with(":1: `bet` is no kind of line"), "{error}");
    }
}
