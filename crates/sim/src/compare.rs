//! Does a gateway return what the ledger says was sent, id by id?

use crate::ledger::{Entry, TradeEntry};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Rows asked for at a time: the most that storage gives.
const PAGE: usize = 10_000;

/// Ids shown of each kind of difference.
const SHOWN: usize = 5;

/// A row of the trades query, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TradeRow {
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

/// A row of the books query, as far as it is compared.
#[derive(Debug, Clone, Deserialize)]
pub struct BookRow {
    /// `snapshot` or `diff`.
    #[serde(rename = "type")]
    pub book_type: String,
    /// The last update id inside.
    pub last_id: u64,
    /// `prune` for a diff of the collector's own.
    #[serde(default)]
    pub origin: Option<String>,
}

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
    /// Rows returned.
    pub returned: usize,
    /// Ids not returned, but inside a gap record or covered by a snapshot.
    pub in_gaps: usize,
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
        let Self { sent, returned, in_gaps, .. } = self;
        write!(f, "sent {sent}, returned {returned}, in gap records {in_gaps}")?;
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

/// Compares the trades of one instrument.
#[must_use]
pub fn trades(sent: &[&TradeEntry], rows: &[TradeRow], gaps: &[GapRow]) -> Report {
    let mut report = Report { sent: sent.len(), returned: rows.len(), ..Report::default() };
    let expected: BTreeMap<u64, &TradeEntry> =
        sent.iter().map(|entry| (entry.seq, *entry)).collect();
    let mut seen = BTreeSet::new();
    for row in rows {
        if !seen.insert(row.seq) {
            report.doubled.push(row.seq);
        }
        match expected.get(&row.seq) {
            None => report.unknown.push(row.seq),
            Some(entry) if !same(entry, row) => report.changed.push(row.seq),
            Some(_) => {}
        }
    }
    // One that was healed says that its trades are here.
    let gaps: Vec<&GapRow> =
        latest(gaps).into_iter().filter(|gap| gap.of == "trade" && gap.state != "healed").collect();
    for seq in expected.keys().filter(|seq| !seen.contains(seq)) {
        if gaps.iter().any(|gap| gap.covers(*seq)) {
            report.in_gaps += 1;
        } else {
            report.missing.push(*seq);
        }
    }
    report
}

/// Compares the book diffs of one instrument by their last update id.
#[must_use]
pub fn books(sent: &[u64], rows: &[BookRow], gaps: &[GapRow]) -> Report {
    let snapshots: BTreeSet<u64> =
        rows.iter().filter(|row| row.book_type == "snapshot").map(|row| row.last_id).collect();
    let of_venue = |row: &&BookRow| row.book_type == "diff" && row.origin.is_none();
    let diffs: Vec<u64> = rows.iter().filter(of_venue).map(|row| row.last_id).collect();
    let mut report = Report { sent: sent.len(), returned: diffs.len(), ..Report::default() };
    let expected: BTreeSet<u64> = sent.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for id in diffs {
        if !seen.insert(id) {
            report.doubled.push(id);
        }
        if !expected.contains(&id) {
            report.unknown.push(id);
        }
    }
    for id in expected.difference(&seen) {
        // What came before the first snapshot is in it, and so is the diff it stands at.
        let covered = snapshots.contains(id) || snapshots.first().is_some_and(|first| id <= first);
        if covered || gaps.iter().any(|gap| gap.of == "book" && gap.covers(*id)) {
            report.in_gaps += 1;
        } else {
            report.missing.push(*id);
        }
    }
    report
}

fn same(entry: &TradeEntry, row: &TradeRow) -> bool {
    let TradeRow { seq: _, price, qty, side, venue_time } = row;
    entry.price == *price
        && entry.qty == *qty
        && entry.side == *side
        && entry.venue_time == *venue_time
}

impl GapRow {
    /// Whether an id lies in the open interval. A gap whose end is unknown covers nothing yet.
    fn covers(&self, id: u64) -> bool {
        self.before_id.is_some_and(|before| id < before)
            && self.after_id.is_none_or(|after| id > after)
    }
}

/// A gateway, or a storage service itself.
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

impl Client {
    /// A client of the service at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// A client that cannot be set up.
    pub fn new(base: &str, key: Option<String>) -> anyhow::Result<Self> {
        let http =
            reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Every row of a query, page by page.
    ///
    /// # Errors
    ///
    /// Any answer but 200, or one that is no page.
    pub async fn rows<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
        symbol: Option<&str>,
    ) -> anyhow::Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = url::Url::parse(&format!("{}/api/v1/storage/{query}", self.base))?;
            url.query_pairs_mut()
                .append_pair("venue", "binance")
                .append_pair("market", "spot")
                .append_pair("limit", &PAGE.to_string());
            for (name, value) in [("symbol", symbol), ("cursor", cursor.as_deref())] {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, value);
                }
            }
            let page: Page<T> = self.get(url).await?;
            rows.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(rows);
            }
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: url::Url) -> anyhow::Result<T> {
        let place = url.to_string();
        let mut request = self.http.get(url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.with_context(|| format!("ask {place}"))?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("read {place}"))?;
        let text = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        ensure!(status.is_success(), "{place} answered {status}: {}", text());
        serde_json::from_slice(&body).with_context(|| format!("{place} answered {}", text()))
    }
}

/// Compares a whole ledger with what a gateway returns; one report per instrument and kind.
///
/// # Errors
///
/// A gateway that does not answer.
pub async fn ledger(
    entries: &[Entry],
    client: &Client,
) -> anyhow::Result<BTreeMap<String, Report>> {
    let mut sent_trades: BTreeMap<Arc<str>, Vec<&TradeEntry>> = BTreeMap::new();
    let mut sent_books: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Trade(trade) => {
                sent_trades.entry(Arc::clone(&trade.instrument)).or_default().push(trade);
            }
            Entry::Book(book) => {
                sent_books.entry(Arc::clone(&book.instrument)).or_default().push(book.last_id);
            }
            Entry::Bbo(_) | Entry::Fault(_) => {}
        }
    }
    let gaps: Vec<GapRow> = client.rows("gaps", None).await?;
    let mut reports = BTreeMap::new();
    for (instrument, sent) in sent_trades {
        let rows = client.rows("trades", Some(&crate::server::symbol_of(&instrument))).await?;
        let own = of_instrument(&gaps, &instrument);
        reports.insert(format!("{instrument} trade"), trades(&sent, &rows, &own));
    }
    for (instrument, sent) in sent_books {
        let rows = client.rows("books", Some(&crate::server::symbol_of(&instrument))).await?;
        let own = of_instrument(&gaps, &instrument);
        reports.insert(format!("{instrument} book"), books(&sent, &rows, &own));
    }
    Ok(reports)
}

fn of_instrument(gaps: &[GapRow], instrument: &str) -> Vec<GapRow> {
    gaps.iter().filter(|gap| gap.instrument == instrument).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> TradeEntry {
        TradeEntry {
            venue: Arc::from("binance"),
            market: Arc::from("spot"),
            instrument: Arc::from("BTCUSDT"),
            seq,
            price: "1.5".to_owned(),
            qty: "2".to_owned(),
            side: "buy".to_owned(),
            venue_time: 7,
        }
    }

    fn row(seq: u64) -> TradeRow {
        let TradeEntry { seq, price, qty, side, venue_time, .. } = entry(seq);
        TradeRow { seq, price, qty, side, venue_time }
    }

    fn check(seqs: &[u64], rows: &[TradeRow], gaps: &[GapRow]) -> Report {
        let entries: Vec<TradeEntry> = seqs.iter().map(|seq| entry(*seq)).collect();
        trades(&entries.iter().collect::<Vec<_>>(), rows, gaps)
    }

    fn gap(after: u64, before: u64) -> GapRow {
        GapRow {
            gap_id: format!("{after}-{before}"),
            version: 1,
            of: "trade".to_owned(),
            instrument: "BTCUSDT".to_owned(),
            after_id: Some(after),
            before_id: Some(before),
            cause: "disconnect".to_owned(),
            state: "open".to_owned(),
        }
    }

    #[test]
    fn what_came_back_once_and_unchanged_agrees() {
        assert!(check(&[1, 2], &[row(1), row(2)], &[]).agrees());
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        assert_eq!(check(&[1, 2, 3], &[row(1), row(3)], &[]).missing, [2]);
        assert_eq!(check(&[1], &[row(1), row(1)], &[]).doubled, [1]);
        assert_eq!(check(&[1], &[row(1), row(9)], &[]).unknown, [9]);
        let mut cheaper = row(1);
        cheaper.price = "1.4".to_owned();
        assert_eq!(check(&[1], &[cheaper], &[]).changed, [1]);
    }

    #[test]
    fn a_gap_record_explains_its_open_interval_only() {
        let report = check(&[1, 2, 3, 4], &[row(1), row(4)], &[gap(1, 3)]);
        assert_eq!((report.in_gaps, report.missing), (1, vec![3]));
    }

    #[test]
    fn a_gap_that_was_healed_explains_nothing_whatever_its_first_version_said() {
        let healed = GapRow { version: 2, state: "healed".to_owned(), ..gap(1, 3) };
        let report = check(&[1, 2, 3], &[row(1), row(3)], &[healed, gap(1, 3)]);
        assert_eq!((report.in_gaps, report.missing), (0, vec![2]));
    }

    #[test]
    fn diffs_before_the_first_snapshot_are_covered_by_it() {
        let row = |book_type: &str, last_id| BookRow {
            book_type: book_type.to_owned(),
            last_id,
            origin: None,
        };
        let rows = [row("snapshot", 5), row("diff", 7)];
        let report = books(&[3, 5, 7, 9], &rows, &[]);
        assert_eq!((report.in_gaps, report.missing), (2, vec![9]));
    }
}
