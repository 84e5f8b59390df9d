//! A recording as a market: the frames exactly as they were received, at their own or another pace.

use crate::frame::Frame;
use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// One thing that happens in a recording.
#[derive(Debug)]
pub enum Step {
    /// The venue sent a frame.
    Frame(Box<Frame>),
    /// The venue answered a snapshot request.
    Snapshot {
        /// The instrument asked for.
        instrument: String,
        /// The answer.
        book: SnapshotData,
    },
}

/// The answer of `GET /api/v3/depth`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotData {
    /// The update id.
    pub last_update_id: u64,
    /// Bids: price and quantity.
    pub bids: Vec<(String, String)>,
    /// Asks: price and quantity.
    pub asks: Vec<(String, String)>,
}

/// How snapshots of the book were asked for; the older form is in recordings of its time.
const SNAPSHOTS: [&str; 2] = ["GET /api/v3/depth?", "GET /api/v1/depth?"];

/// A recording, read whole; instants are counted from its first line.
#[derive(Debug)]
pub struct Playback {
    steps: VecDeque<(Duration, Step)>,
    instruments: Vec<String>,
}

impl Playback {
    /// Reads a `.tsv`, `.tsv.gz` or `.tsv.zst` recording.
    ///
    /// # Errors
    ///
    /// An unreadable file, or a line of another form, with its number.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let reader: Box<dyn Read> = match path.extension().and_then(|ext| ext.to_str()) {
            Some("gz") => Box::new(MultiGzDecoder::new(file)),
            Some("zst") => Box::new(zstd::Decoder::new(file)?),
            Some(_) | None => Box::new(file),
        };
        let mut playback = Self { steps: VecDeque::new(), instruments: Vec::new() };
        let mut first = None;
        for (i, line) in BufReader::new(reader).lines().enumerate() {
            let place = || format!("{}:{}", path.display(), i + 1);
            let line = line.with_context(place)?;
            let Some((nanos, source, text)) = split(&line) else {
                bail!("{}: not <recv_ns> TAB <source> TAB <frame>", place());
            };
            let first = *first.get_or_insert(nanos);
            let at = Duration::from_nanos(nanos.saturating_sub(first));
            playback.take(at, source, text).with_context(place)?;
        }
        Ok(playback)
    }

    fn take(&mut self, at: Duration, source: &str, text: &str) -> anyhow::Result<()> {
        if source == "ws" {
            if let Some(frame) = Frame::recorded(text)? {
                self.note(frame.stream.split('@').next().unwrap_or_default().to_uppercase());
                self.steps.push_back((at, Step::Frame(Box::new(frame))));
            }
        } else if let Some(query) = SNAPSHOTS.iter().find_map(|path| source.strip_prefix(path)) {
            let symbol = query.split('&').find_map(|pair| pair.strip_prefix("symbol="));
            let instrument = symbol.context("the depth request names no symbol")?.to_owned();
            let book = serde_json::from_str(text)?;
            self.steps.push_back((at, Step::Snapshot { instrument, book }));
        }
        Ok(())
    }

    fn note(&mut self, instrument: String) {
        if !self.instruments.contains(&instrument) {
            self.instruments.push(instrument);
        }
    }

    /// The instruments it has frames of.
    #[must_use]
    pub fn instruments(&self) -> &[String] {
        &self.instruments
    }

    /// The next step due at `at`, counted from the first line.
    pub fn next_until(&mut self, at: Duration) -> Option<Step> {
        let (due, _) = self.steps.front()?;
        (*due <= at).then(|| self.steps.pop_front().expect("a front exists").1)
    }

    /// Whether everything was played.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.steps.is_empty()
    }
}

fn split(line: &str) -> Option<(u64, &str, &str)> {
    let (nanos, rest) = line.split_once('\t')?;
    let (source, text) = rest.split_once('\t')?;
    Some((nanos.parse().ok()?, source, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_recording_plays_in_its_own_time() {
        let mut file = tempfile::NamedTempFile::with_suffix(".tsv").unwrap();
        let trade = r#"{"stream":"abcusdt@trade","data":{"s":"ABCUSDT","t":1,"p":"1.0","q":"2.0","T":5,"m":true}}"#;
        let depth = r#"{"lastUpdateId":7,"bids":[["1","2"]],"asks":[]}"#;
        writeln!(file, "1000000000\tws\t{trade}").unwrap();
        writeln!(file, "1000000500\tsent\t{{}}").unwrap();
        for path in ["/api/v3/depth", "/api/v1/depth"] {
            writeln!(file, "3000000000\tGET {path}?symbol=ABCUSDT&limit=5\t{depth}").unwrap();
        }
        let mut playback = Playback::open(file.path()).unwrap();
        assert_eq!(playback.instruments(), ["ABCUSDT"]);
        assert!(matches!(playback.next_until(Duration::ZERO), Some(Step::Frame(_))));
        assert!(playback.next_until(Duration::from_secs(1)).is_none());
        for _ in SNAPSHOTS {
            let step = playback.next_until(Duration::from_secs(2)).unwrap();
            let Step::Snapshot { instrument, book } = step else { panic!("a snapshot is due") };
            assert_eq!((instrument.as_str(), book.last_update_id), ("ABCUSDT", 7));
        }
        assert!(playback.is_over());
    }

    #[test]
    fn a_line_of_another_form_is_named() {
        let mut file = tempfile::NamedTempFile::with_suffix(".tsv").unwrap();
        writeln!(file, "nonsense").unwrap();
        let error = Playback::open(file.path()).unwrap_err();
        assert!(error.to_string().contains(":1"), "{error}");
    }
}
