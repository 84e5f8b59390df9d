//! From recordings to the files that every program reads, one frame a line.
//!
//! A book has two files: `<case>.first.jsonl` is applied before the time counts, and begins the
//! books; `<case>.jsonl` is what is measured.
//!
//! What is recorded is changed in four ways, so that every program takes it as it would be sent
//! today:
//!
//! - Binance's snapshot is an answer to a request. It becomes a frame of the stream, which every
//!   program can decode.
//! - OKX's recording is older than `seqId` and `prevSeqId`, without which nobody keeps a book today.
//!   They are added as OKX writes them, and the channel becomes `books`, which has no entry fee.
//! - Nor has it the `count` of OKX's trades, how many matches one of them stands for: one each then.
//! - A book that is begun a second time goes on: it was the same book.
//!
//! One case has more levels than its recording: [`Case::filled_to`].

#[cfg(test)]
mod tests;

use crate::case::{Case, Dialect};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use venue::recording::{Record, Source, lines};

/// Frames that are measured of a case, at most: more would say the same.
const FRAMES_MAX: usize = 20_000;

/// The frames of a case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// What begins the books.
    pub(crate) first: Vec<String>,
    /// What is measured.
    pub(crate) measured: Vec<String>,
}

/// Writes the files of a case.
///
/// # Errors
///
/// Its recording is not there, or has none of its frames.
pub(crate) fn write(case: &Case, recordings: &Path, into: &Path) -> anyhow::Result<Frames> {
    let path = recordings.join(case.recording);
    let context = || format!("read {}", path.display());
    let mut text = Vec::new();
    let file = File::open(&path).with_context(context)?;
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).with_context(context)?;
    let frames = select(case, &text).with_context(context)?;
    anyhow::ensure!(
        !frames.measured.is_empty(),
        "{} has no frame of {}",
        path.display(),
        case.name
    );
    for (name, list) in [("first.jsonl", &frames.first), ("jsonl", &frames.measured)] {
        let path = into.join(format!("{}.{name}", case.name));
        let text: String = list.iter().flat_map(|frame| [frame.as_str(), "\n"]).collect();
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(frames)
}

/// Reads what [`write()`] wrote.
///
/// # Errors
///
/// The files are not there.
pub(crate) fn read(case: &Case, folder: &Path) -> anyhow::Result<Frames> {
    let list = |name: &str| -> anyhow::Result<Vec<String>> {
        let path = folder.join(format!("{}.{name}", case.name));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    Ok(Frames { first: list("first.jsonl")?, measured: list("jsonl")? })
}

/// Picks the frames of a case out of a recording.
pub(crate) fn select(case: &Case, text: &[u8]) -> anyhow::Result<Frames> {
    let mut picked = Frames::default();
    let mut books = Books::default();
    for line in lines(text) {
        let record = Record::parse(line)?;
        let frame = std::str::from_utf8(record.frame).context("a frame is no text")?;
        match record.source {
            Source::Get(path) if case.is_book && path.contains("/depth?") => {
                let millis = record.recv_time.as_i64() / 1_000_000;
                picked.first.push(books.snapshot(path, frame, millis, case.filled_to)?);
            }
            Source::Ws if case.marks.iter().all(|mark| frame.contains(mark)) => {
                if case.is_book {
                    books.place(case.dialect, frame, &mut picked)?;
                } else {
                    picked.measured.push(match case.dialect {
                        Dialect::Okx => counted(frame),
                        Dialect::BinanceSpot | Dialect::BinancePerp | Dialect::DeribitOptions => {
                            frame.to_owned()
                        }
                    });
                }
            }
            Source::Ws | Source::Get(_) | Source::Sent | Source::Connect(_) => {}
        }
    }
    if case.is_book {
        books.finish(&mut picked);
    }
    picked.measured.truncate(FRAMES_MAX);
    Ok(picked)
}

/// What is known of the books of a recording while it is read.
#[derive(Debug, Default)]
struct Books {
    /// By instrument, the id at which it stands.
    last: BTreeMap<String, u64>,
    /// Binance's updates, each with its last id: the snapshot may come after some that follow it.
    updates: Vec<(u64, String)>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last: u64,
    #[serde(borrow)]
    bids: Vec<&'a RawValue>,
    #[serde(borrow)]
    asks: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wrapped {
    data: Update,
}

#[derive(Deserialize)]
struct Update {
    u: u64,
}

impl Books {
    /// A snapshot as a frame of the stream of updates, with at least so many levels.
    fn snapshot(
        &mut self,
        path: &str,
        body: &str,
        millis: i64,
        filled_to: Option<usize>,
    ) -> anyhow::Result<String> {
        let Snapshot { last, bids, asks } = serde_json::from_str(body).context("a snapshot")?;
        let each = filled_to.unwrap_or_default() / 2;
        let (bids, asks) = (side(&bids, each, -1)?, side(&asks, each, 1)?);
        let symbol = between(path, "symbol=", "&").context("a snapshot of which symbol?")?;
        self.last.insert(symbol.to_owned(), last);
        let stream = symbol.to_lowercase();
        let (before, is_perp) = (last - 1, path.starts_with("/fapi/"));
        let engine_time = if is_perp { format!(r#""T":{millis},"#) } else { String::new() };
        let linked = if is_perp { format!(r#""pu":{before},"#) } else { String::new() };
        Ok(format!(
            r#"{{"stream":"{stream}@depth@100ms","data":{{"e":"depthUpdate","E":{millis},{engine_time}"s":"{symbol}","U":{last},"u":{last},{linked}"b":{bids},"a":{asks}}}}}"#
        ))
    }

    /// Puts a frame where it belongs.
    fn place(&mut self, dialect: Dialect, frame: &str, picked: &mut Frames) -> anyhow::Result<()> {
        match dialect {
            Dialect::BinanceSpot | Dialect::BinancePerp => {
                let Wrapped { data } = serde_json::from_str(frame).context("an update")?;
                self.updates.push((data.u, frame.to_owned()));
            }
            Dialect::Okx => {
                let name = between(frame, r#""instId":""#, "\"").context("a frame of what?")?;
                let is_first = frame.contains(r#""action":"snapshot""#);
                self.chain(name, is_first, &|ids| numbered(frame, ids), picked);
            }
            Dialect::DeribitOptions => {
                let name =
                    between(frame, r#""channel":"book."#, "\"").context("a frame of what?")?;
                let is_first = frame.contains(r#""type":"snapshot""#);
                self.chain(name, is_first, &|_| frame.to_owned(), picked);
            }
        }
        Ok(())
    }

    /// Places a frame of a book that begins in the stream itself; `write` is handed the id of the
    /// frame and that of the one before.
    fn chain(
        &mut self,
        name: &str,
        is_first: bool,
        write: &dyn Fn((u64, Option<u64>)) -> String,
        picked: &mut Frames,
    ) {
        match (self.last.get(name).copied(), is_first) {
            (None, true) => {
                self.last.insert(name.to_owned(), 1);
                picked.first.push(write((1, None)));
            }
            (Some(before), false) => {
                self.last.insert(name.to_owned(), before + 1);
                picked.measured.push(write((before + 1, Some(before))));
            }
            // Nobody can use an update without a beginning, and a second beginning says nothing new.
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Keeps of Binance's updates those that the snapshot does not cover.
    fn finish(self, picked: &mut Frames) {
        // A recording with updates of several symbols has no place among the cases.
        let last = self.last.into_values().next().unwrap_or_default();
        let after = self.updates.into_iter().filter(|(id, _)| *id > last);
        picked.measured.extend(after.map(|(_, frame)| frame));
    }
}

/// One side of a snapshot, the best level first. It gets levels, up to so many, from a percent beyond
/// the best one on in the direction that prices become worse, 20 ticks apart: where no update of a
/// recording of some minutes goes, and as sparse as those are that do lie there.
fn side(levels: &[&RawValue], count: usize, worse: i64) -> anyhow::Result<String> {
    let mut texts: Vec<String> = levels.iter().map(|level| level.get().to_owned()).collect();
    if texts.len() < count {
        let best = texts.first().context("a side without a level")?;
        let price = between(best, "\"", "\"").context("a level without a price")?;
        let cents = price.split_once('.').map_or(price, |(whole, _)| whole).parse::<i64>()? * 100;
        let added = (1..).map(|at| cents + worse * (cents / 100 + 20 * at));
        texts.extend(
            added.take(count - texts.len()).map(|cents| {
                format!(r#"["{}.{:02}000000","1.00000000"]"#, cents / 100, cents % 100)
            }),
        );
    }
    Ok(format!("[{}]", texts.join(",")))
}

/// A frame of OKX's with the ids that it would have today, on the channel that is open to all.
fn numbered(frame: &str, (id, before): (u64, Option<u64>)) -> String {
    let frame = frame.replacen("books-l2-tbt", "books", 1);
    match frame.strip_suffix("}]}") {
        Some(start) if !frame.contains(r#""seqId":"#) => {
            let before = before.map_or_else(|| "-1".to_owned(), |before| before.to_string());
            format!(r#"{start},"seqId":{id},"prevSeqId":{before}}}]}}"#)
        }
        Some(_) | None => frame,
    }
}

/// A frame of OKX's trades with the counts that it would have today.
fn counted(frame: &str) -> String {
    match frame.split_once(r#""data":["#) {
        Some((head, trades)) if !trades.contains(r#""count":"#) => {
            let trades = trades.replace(r#""}"#, r#"","count":"1"}"#);
            format!(r#"{head}"data":[{trades}"#)
        }
        Some(_) | None => frame.to_owned(),
    }
}

/// What stands after `start` and before `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end).map_or(rest, |(found, _)| found))
}
