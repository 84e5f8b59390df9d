//! Does a gateway return what the ledger says was sent, id by id?

mod client;
#[cfg(test)]
mod tests;

use crate::dialect::{self, Dialect, binance_spot};
use crate::ledger::{self, Line, VOLATILITY_INDEX};
use crate::tally::{Answer, Sent, Tally, content};
pub use client::Client;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Ids shown of each kind of difference.
const SHOWN: usize = 5;

/// A row of the gaps query, as far as it is compared.
#[derive(Debug, Clone, Deserialize)]
pub struct GapRow {
    /// The same for every version of one record.
    pub gap_id: String,
    /// The highest one counts.
    pub version: u64,
    /// The kind of the missing events.
    pub of: String,
    /// The venue's own name.
    pub instrument: String,
    /// The last id before the hole.
    pub after_id: Option<u64>,
    /// The first id after the hole.
    pub before_id: Option<u64>,
    /// Why.
    pub cause: String,
    /// `open`, `healed` or `lost`.
    pub state: String,
}

/// The latest version of each record.
#[must_use]
pub fn latest(gaps: &[GapRow]) -> Vec<&GapRow> {
    let mut latest: BTreeMap<&str, &GapRow> = BTreeMap::new();
    for gap in gaps {
        let known = latest.entry(&gap.gap_id).or_insert(gap);
        if known.version < gap.version {
            *known = gap;
        }
    }
    latest.into_values().collect()
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Ids in the ledger.
    pub sent: usize,
    /// Ids returned: a row may stand for several.
    pub returned: usize,
    /// Ids not returned, but inside a gap record.
    pub in_gaps: usize,
    /// Ids not returned, but covered by a snapshot: what they changed is in it.
    pub in_snapshots: usize,
    /// Ids neither returned nor explained.
    pub missing: Vec<u64>,
    /// Ids returned more than once.
    pub doubled: Vec<u64>,
    /// Ids returned that were never sent.
    pub unknown: Vec<u64>,
    /// Ids returned with another price, quantity, side or time.
    pub changed: Vec<u64>,
}

impl Report {
    /// Whether every id came back exactly once and unchanged, or is explained.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let Self { missing, doubled, unknown, changed, .. } = self;
        [missing, doubled, unknown, changed].iter().all(|ids| ids.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, returned, in_gaps, in_snapshots, .. } = self;
        write!(f, "sent {sent}, returned {returned}, in gap records {in_gaps}")?;
        if *in_snapshots > 0 {
            write!(f, ", in snapshots {in_snapshots}")?;
        }
        for (what, ids) in [
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("never sent", &self.unknown),
            ("changed", &self.changed),
        ] {
            write!(f, ", {what} {}", ids.len())?;
            if !ids.is_empty() {
                let shown: Vec<String> = ids.iter().take(SHOWN).map(u64::to_string).collect();
                let more = if ids.len() > SHOWN { ", …" } else { "" };
                write!(f, " ({}{more})", shown.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Ids that need not come back: those inside gap records.
#[derive(Debug, Default)]
struct Explained {
    /// First and last, ascending and apart.
    ranges: Vec<(u64, u64)>,
}

impl Explained {
    fn by<'a>(gaps: impl Iterator<Item = &'a GapRow>) -> Self {
        let mut spans: Vec<(u64, u64)> = gaps.filter_map(GapRow::span).collect();
        spans.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, last) in spans {
            match ranges.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                Some(_) | None => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    fn has(&self, id: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < id);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= id)
    }
}

/// Where an id is that did not come back.
#[derive(Debug, Clone, Copy)]
enum Whereabouts {
    GapRecord,
    Snapshot,
    Nowhere,
}

impl Whereabouts {
    const fn in_gap_record(is_there: bool) -> Self {
        if is_there { Self::GapRecord } else { Self::Nowhere }
    }
}

/// What a comparison found, of what is missing some explained.
fn report(tally: &Tally, explained: impl Fn(u64) -> Whereabouts) -> Report {
    let [doubled, unknown, changed] = tally.wrong().map(<[u64]>::to_vec);
    let mut report = Report {
        sent: tally.sent(),
        returned: tally.returned(),
        doubled,
        unknown,
        changed,
        ..Report::default()
    };
    for Sent { id, .. } in tally.missing() {
        match explained(*id) {
            Whereabouts::GapRecord => report.in_gaps += 1,
            Whereabouts::Snapshot => report.in_snapshots += 1,
            Whereabouts::Nowhere => report.missing.push(*id),
        }
    }
    report
}

/// Compares the trades of one instrument.
#[must_use]
pub fn trades(tally: &Tally, gaps: &[GapRow]) -> Report {
    contiguous(tally, gaps, "trade")
}

/// Compares what has ids without holes.
fn contiguous(tally: &Tally, gaps: &[GapRow], kind: &str) -> Report {
    // One that was healed says that its trades are here.
    let standing = latest(gaps).into_iter().filter(|gap| gap.state != "healed");
    let explained = Explained::by(standing.filter(|gap| gap.of == kind));
    report(tally, |id| Whereabouts::in_gap_record(explained.has(id)))
}

/// Compares the book diffs of one instrument by their last update id.
#[must_use]
pub fn books(tally: &Tally, snapshots: &BTreeSet<u64>, gaps: &[GapRow]) -> Report {
    let explained = Explained::by(gaps.iter().filter(|gap| gap.of == "book"));
    // What came before the first snapshot is in it, and so is the diff it stands at.
    let covered =
        |id| snapshots.contains(&id) || snapshots.first().is_some_and(|first| id <= *first);
    report(tally, |id| match covered(id) {
        true => Whereabouts::Snapshot,
        false => Whereabouts::in_gap_record(explained.has(id)),
    })
}

/// Compares the values of a volatility index by their times. They have no ids, so no record says
/// which are missing: after a fault some may be.
#[must_use]
pub fn values(tally: &Tally, faults: usize) -> Report {
    report(tally, |_| Whereabouts::in_gap_record(faults > 0))
}

impl GapRow {
    /// The first and last id of the open interval. A gap whose end is unknown covers nothing yet.
    fn span(&self) -> Option<(u64, u64)> {
        let first = self.after_id.map_or(Some(0), |after| after.checked_add(1))?;
        let last = self.before_id?.checked_sub(1)?;
        (first <= last).then_some((first, last))
    }
}

/// What a ledger says was sent, and what came back of it.
#[derive(Debug)]
pub struct Streams {
    dialect: Arc<dyn Dialect>,
    trades: BTreeMap<Arc<str>, Tally>,
    books: BTreeMap<Arc<str>, Books>,
    /// The values of volatility indices, each by its time.
    values: BTreeMap<Arc<str>, Tally>,
    /// The faults it notes.
    pub faults: usize,
}

/// The book diffs of an instrument, and the snapshots that came back with them.
#[derive(Debug, Default)]
struct Books {
    tally: Tally,
    snapshots: BTreeSet<u64>,
}

/// What one comparison found, by stream.
#[derive(Debug, Default)]
pub struct Compared {
    /// What is wrong.
    pub reports: BTreeMap<String, Report>,
    /// What was returned.
    pub answers: BTreeMap<String, Answer>,
    /// The gap records.
    pub gaps: Vec<GapRow>,
}

impl Streams {
    /// Reads a ledger, line by line.
    ///
    /// # Errors
    ///
    /// As [`ledger::visit`].
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let (mut trades, mut books, mut values) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut faults = 0;
        ledger::visit(path, |line| match line {
            Line::Trade { instrument, seq: id, price, qty, side, venue_time: time } => {
                push(
                    &mut trades,
                    instrument,
                    Sent { id, content: content(price, qty, side, time), time },
                );
            }
            Line::Book { instrument, last_id: id } => {
                push(&mut books, instrument, Sent { id, content: 0, time: 0 });
            }
            Line::Figure { instrument, figure: VOLATILITY_INDEX, value, venue_time: time } => {
                push(&mut values, instrument, value_sent(value, time));
            }
            Line::Bbo | Line::Figure { .. } => {}
            Line::Fault => faults += 1,
        })?;
        let books = books.into_iter().map(|(name, sent)| {
            (name, Books { tally: Tally::new(sent), snapshots: BTreeSet::new() })
        });
        Ok(Self {
            dialect: ledger::market(path)?.map_or_else(binance_spot, dialect::of),
            trades: trades.into_iter().map(|(name, sent)| (name, Tally::new(sent))).collect(),
            books: books.collect(),
            values: values.into_iter().map(|(name, sent)| (name, Tally::new(sent))).collect(),
            faults,
        })
    }

    /// The ids of a stream, by the kind of its events and the venue's own name.
    #[must_use]
    pub fn tally(&self, of: &str, instrument: &str) -> Option<&Tally> {
        match of {
            "trade" => self.trades.get(instrument),
            "book" => self.books.get(instrument).map(|books| &books.tally),
            _ => None,
        }
    }

    /// The trades, by the venue's own name.
    pub fn trades(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.trades.iter().map(|(name, tally)| (&**name, tally))
    }

    /// Asks for every row and compares.
    ///
    /// # Errors
    ///
    /// A gateway that does not answer.
    pub async fn compare(&mut self, client: &Client) -> anyhow::Result<Compared> {
        let mut found =
            Compared { gaps: client.gaps_of(&*self.dialect).await?, ..Compared::default() };
        let kind = self.dialect.trade_kind();
        for (instrument, tally) in &mut self.trades {
            let answer = client.trades(&*self.dialect, instrument, tally).await?;
            let gaps = of_instrument(&found.gaps, instrument);
            let report = contiguous(tally, &gaps, kind.as_str());
            found.add(format!("{instrument} {kind}"), report, answer);
        }
        for (instrument, Books { tally, snapshots }) in &mut self.books {
            let answer = client.books(&*self.dialect, instrument, tally, snapshots).await?;
            let report = books(tally, snapshots, &of_instrument(&found.gaps, instrument));
            found.add(format!("{instrument} book"), report, answer);
        }
        for (instrument, tally) in &mut self.values {
            let answer = client.values(&*self.dialect, instrument, tally).await?;
            let report = values(tally, self.faults);
            found.add(format!("{instrument} {VOLATILITY_INDEX}"), report, answer);
        }
        Ok(found)
    }

    /// Asks for every row of these instruments of Binance's spot market, and looks at nothing but
    /// their ids.
    ///
    /// # Errors
    ///
    /// A service that does not answer.
    pub async fn answers(
        names: &[&str],
        client: &Client,
    ) -> anyhow::Result<BTreeMap<String, Answer>> {
        let mut answers = BTreeMap::new();
        for name in names {
            for (kind, query) in [("trade", "trades"), ("book", "books")] {
                let mut answer = Answer::default();
                client.ids(query, name, |id| answer.take(id)).await?;
                answers.insert(format!("{name} {kind}"), answer);
            }
        }
        Ok(answers)
    }

    /// The ids of one of the streams that [`Streams::answers`] names, in the order of the answer.
    ///
    /// # Errors
    ///
    /// As [`Streams::answers`], and a stream that has no such name.
    pub async fn ids(stream: &str, client: &Client) -> anyhow::Result<Vec<u64>> {
        let (query, name) = match stream.split_once(' ') {
            Some((name, "trade")) => ("trades", name),
            Some((name, "book")) => ("books", name),
            Some(_) | None => anyhow::bail!("`{stream}` is no stream that is compared"),
        };
        let mut ids = Vec::new();
        client.ids(query, name, |id| ids.push(id)).await?;
        Ok(ids)
    }
}

impl Compared {
    fn add(&mut self, stream: String, report: Report, answer: Answer) {
        self.answers.insert(stream.clone(), answer);
        self.reports.insert(stream, report);
    }

    /// Whether something was compared and all of it agrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        !self.reports.is_empty() && self.reports.values().all(Report::agrees)
    }
}

/// A value of a volatility index, as it is sent and as it comes back. Its time is its identity.
fn value_sent(value: &str, time: i64) -> Sent {
    Sent { id: time.cast_unsigned(), content: content(value, "", "", time), time }
}

fn push(streams: &mut BTreeMap<Arc<str>, Vec<Sent>>, instrument: &str, sent: Sent) {
    match streams.get_mut(instrument) {
        Some(known) => known.push(sent),
        None => drop(streams.insert(Arc::from(instrument), vec![sent])),
    }
}

fn of_instrument(gaps: &[GapRow], instrument: &str) -> Vec<GapRow> {
    gaps.iter().filter(|gap| gap.instrument == instrument).cloned().collect()
}
