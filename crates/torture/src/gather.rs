//! Asks everybody what there is, once nothing moves any more.

use crate::fault::Program;
use crate::gaps::{self, Ids};
use crate::schedule::Strike;
use crate::site::INSTRUMENTS;
use crate::verify::{Answer, Book, Facts, Newest};
use crate::watch::Asker;
use anyhow::Context as _;
use serde_json::Value;
use sim::compare::{self, BookRow, Client, GapRow, Report, TradeRow};
use sim::ledger::{Entry, TradeEntry};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long what is in flight may take to be stored, what was missed to be fetched, and services to
/// be well.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Levels compared on each side of a book.
const DEPTH: usize = 50;

/// Seconds until the collector has sent a snapshot of every book on the live lane, and some more: a
/// storage that is younger may have no book yet, and says so.
const SNAPSHOT_EVERY: u64 = 65;

/// The two ways to the rows.
pub struct Doors {
    /// The storage itself.
    pub storage: Client,
    /// The gateway, with an API key.
    pub gateway: Client,
}

#[derive(Default)]
struct Rows {
    trades: BTreeMap<&'static str, Vec<TradeRow>>,
    books: BTreeMap<&'static str, Vec<BookRow>>,
    gaps: Vec<GapRow>,
}

impl Rows {
    async fn read(client: &Client) -> anyhow::Result<Self> {
        let mut rows = Self { gaps: client.rows("gaps", None).await?, ..Self::default() };
        for (instrument, symbol) in INSTRUMENTS {
            rows.trades.insert(instrument, client.rows("trades", Some(symbol)).await?);
            rows.books.insert(instrument, client.rows("books", Some(symbol)).await?);
        }
        Ok(rows)
    }

    fn answers(&self) -> BTreeMap<String, Answer> {
        let mut answers = BTreeMap::new();
        for (instrument, rows) in &self.trades {
            let answer = answer(rows.len(), rows.iter().map(|row| row.seq));
            answers.insert(format!("{instrument} trade"), answer);
        }
        for (instrument, rows) in &self.books {
            let answer = answer(rows.len(), rows.iter().map(|row| row.last_id));
            answers.insert(format!("{instrument} book"), answer);
        }
        answers
    }
}

fn answer(rows: usize, ids: impl Iterator<Item = u64>) -> Answer {
    let mut hasher = DefaultHasher::new();
    ids.for_each(|id| id.hash(&mut hasher));
    Answer { rows, ids: hasher.finish() }
}

/// What the ledger says was sent.
#[derive(Default)]
struct Sent<'a> {
    trades: BTreeMap<&'static str, Vec<&'a TradeEntry>>,
    books: BTreeMap<&'static str, Vec<u64>>,
}

impl<'a> Sent<'a> {
    fn of(ledger: &'a [Entry]) -> Self {
        let mut sent = Self::default();
        let known = |name: &str| INSTRUMENTS.iter().map(|(own, _)| *own).find(|own| *own == name);
        for entry in ledger {
            match entry {
                Entry::Trade(trade) => {
                    let Some(name) = known(&trade.instrument) else { continue };
                    sent.trades.entry(name).or_default().push(trade);
                }
                Entry::Book(book) => {
                    let Some(name) = known(&book.instrument) else { continue };
                    sent.books.entry(name).or_default().push(book.last_id);
                }
                Entry::Bbo(_) | Entry::Fault(_) => {}
            }
        }
        sent
    }

    fn compare(&self, rows: &Rows) -> BTreeMap<String, Report> {
        let mut reports = BTreeMap::new();
        for (instrument, _) in INSTRUMENTS {
            let gaps: Vec<_> =
                rows.gaps.iter().filter(|gap| gap.instrument == instrument).cloned().collect();
            let trades = self.trades.get(instrument).map_or(&[][..], Vec::as_slice);
            let report = compare::trades(trades, &rows.trades[instrument], &gaps);
            reports.insert(format!("{instrument} trade"), report);
            let books = self.books.get(instrument).map_or(&[][..], Vec::as_slice);
            let report = compare::books(books, &rows.books[instrument], &gaps);
            reports.insert(format!("{instrument} book"), report);
        }
        reports
    }

    fn ids(&self, rows: &Rows) -> BTreeMap<(String, String), Ids> {
        let mut streams = BTreeMap::new();
        for (instrument, sent) in &self.trades {
            let sent = sent.iter().map(|entry| entry.seq).collect();
            let stored = rows.trades[instrument].iter().map(|row| row.seq).collect();
            let name = ("trade".to_owned(), (*instrument).to_owned());
            streams.insert(name, Ids { sent, stored });
        }
        for (instrument, sent) in &self.books {
            let sent = sent.iter().copied().collect();
            let diffs = rows.books[instrument].iter().filter(|row| row.book_type == "diff");
            let stored = diffs.map(|row| row.last_id).collect();
            let name = ("book".to_owned(), (*instrument).to_owned());
            streams.insert(name, Ids { sent, stored });
        }
        streams
    }

    /// What struck when the unexplained trades were made.
    fn around(
        &self,
        reports: &BTreeMap<String, Report>,
        strikes: &[Strike],
        opened: i64,
    ) -> Vec<String> {
        let mut counts: BTreeMap<(&str, Option<usize>), (usize, Duration)> = BTreeMap::new();
        for (instrument, sent) in &self.trades {
            let missing = &reports[&format!("{instrument} trade")].missing;
            for entry in sent.iter().filter(|entry| missing.binary_search(&entry.seq).is_ok()) {
                let since = u64::try_from(entry.venue_time.saturating_sub(opened)).unwrap_or(0);
                let at = Duration::from_nanos(since);
                let struck = strikes.iter().rposition(|strike| strike.at <= at);
                counts.entry((instrument, struck)).or_insert((0, at)).0 += 1;
            }
        }
        let line =
            |((instrument, struck), (count, at)): ((&str, Option<usize>), (usize, Duration))| {
                let strike = struck.map_or("before any fault".to_owned(), |i| {
                    format!("the latest fault was {}", strikes[i].to_string().trim_start())
                });
                let at = at.as_secs_f64();
                format!("{count} trades of {instrument} from {at:.2} s on are missing; {strike}")
            };
        counts.into_iter().map(line).collect()
    }
}

/// Compares everything with everything.
///
/// # Errors
///
/// A gateway or storage that does not answer.
pub async fn gather(
    ledger: &[Entry],
    doors: &Doors,
    asker: &Asker,
    strikes: &[Strike],
    opened: i64,
) -> anyhow::Result<Facts> {
    let services = well(asker).await;
    let sent = Sent::of(ledger);
    let deadline = Instant::now() + PATIENCE;
    let (rows, streams) = loop {
        let rows = Rows::read(&doors.gateway).await.context("read from the gateway")?;
        let streams = sent.compare(&rows);
        let fetched = gaps::unfetched(&rows.gaps).is_empty();
        if fetched && streams.values().all(Report::agrees) || Instant::now() >= deadline {
            break (rows, streams);
        }
        sleep(PAUSE).await;
    };
    let direct = Rows::read(&doors.storage).await.context("read from the storage")?;
    let (theirs, ours) = (direct.answers(), rows.answers());
    let pairs = theirs.into_iter().map(|(stream, theirs)| {
        let ours = ours[&stream];
        (stream, (theirs, ours))
    });
    let mut facts = Facts {
        around: sent.around(&streams, strikes, opened),
        streams,
        unfetched: gaps::unfetched(&rows.gaps),
        untrue_gaps: gaps::untrue(&rows.gaps, &sent.ids(&rows)),
        doors: pairs.collect(),
        services,
        ..Facts::default()
    };
    compare_hot(&mut facts, &rows, asker).await?;
    Ok(facts)
}

/// The newest of each stream and the books, where they are at hand.
async fn compare_hot(facts: &mut Facts, rows: &Rows, asker: &Asker) -> anyhow::Result<()> {
    let uptime = asker.json(Program::Storage, "/health").await?["uptime_seconds"].as_u64();
    let young = uptime.is_some_and(|seconds| seconds < SNAPSHOT_EVERY);
    for (instrument, symbol) in INSTRUMENTS {
        let place = format!("binance/spot/{symbol}");
        let trade = format!("/api/v1/storage/hot/trade/{place}?limit=1");
        // One that is not there has no newest, which the verdict sees.
        let hot = asker.json(Program::Storage, &trade).await.unwrap_or_default();
        let newest = Newest {
            cold: rows.trades[instrument].iter().map(|row| row.seq).max(),
            hot: hot["data"][0]["seq"].as_u64(),
            flagged: false,
        };
        facts.newest.insert(format!("{instrument} trade"), newest);
        facts.newest.insert(format!("{instrument} bbo"), newest_bbo(asker, symbol).await?);

        let venue = asker.venue(&format!("/api/v3/depth?symbol={instrument}&limit={DEPTH}")).await;
        let venue = book(&venue.context("the venue's book")?, "lastUpdateId")?;
        let path = format!("/api/v1/storage/hot/book/{place}?limit={DEPTH}");
        let hot = asker.json(Program::Storage, &path).await.unwrap_or_default();
        let newest = Newest {
            cold: rows.books[instrument].iter().map(|row| row.last_id).max(),
            hot: hot["data"]["last_id"].as_u64(),
            flagged: hot["data"]["synced"] == false || (hot.is_null() && young),
        };
        if !newest.flagged {
            let found = book(&hot["data"], "last_id").map_err(|error| format!("{error:#}"));
            facts.books.insert(format!("{instrument} in the hot store"), (found, venue.clone()));
        }
        facts.newest.insert(format!("{instrument} book"), newest);

        let path = format!("/api/v1/orderbook/{place}?depth={DEPTH}");
        let found = asker.json(Program::Collector, &path).await;
        let found = found.and_then(|found| book(&found, "last_id"));
        let found = found.map_err(|error| format!("{error:#}"));
        facts.books.insert(format!("{instrument} in the collector"), (found, venue));
    }
    Ok(())
}

async fn newest_bbo(asker: &Asker, symbol: &str) -> anyhow::Result<Newest> {
    let cold =
        format!("/api/v1/storage/bbo?venue=binance&market=spot&symbol={symbol}&order=desc&limit=1");
    let cold = asker.json(Program::Storage, &cold).await.context("the newest best prices")?;
    let hot = format!("/api/v1/storage/hot/bbo/binance/spot/{symbol}");
    let hot = asker.json(Program::Storage, &hot).await.unwrap_or_default();
    let (cold, hot) = (cold["data"][0]["id"].as_u64(), hot["data"]["id"].as_u64());
    Ok(Newest { cold, hot, flagged: false })
}

fn book(document: &Value, id: &str) -> anyhow::Result<Book> {
    let side = |name: &str| -> anyhow::Result<Vec<(String, String)>> {
        let mut levels: Vec<(String, String)> = serde_json::from_value(document[name].clone())
            .with_context(|| format!("no {name} in {document}"))?;
        levels.truncate(DEPTH);
        Ok(levels)
    };
    let last_id = document[id].as_u64().context("a book without an id")?;
    Ok(Book { last_id, bids: side("bids")?, asks: side("asks")? })
}

/// Waits until every service is well; why those are not that never become so.
async fn well(asker: &Asker) -> BTreeMap<String, Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut services = BTreeMap::new();
        for program in Program::ALL.into_iter().filter(|program| program.is_service()) {
            let ill = match asker.json(program, "/health").await {
                Ok(health) => ill(&health),
                Err(error) => Some(format!("{error:#}")),
            };
            services.insert(program.to_string(), ill);
        }
        if services.values().all(Option::is_none) || Instant::now() >= deadline {
            return services;
        }
        sleep(PAUSE).await;
    }
}

/// Why a service is not well, by its health document.
///
/// There is no system bus in a run: monitoring does without.
fn ill(health: &Value) -> Option<String> {
    if health["status"] == "ok" {
        return None;
    }
    let dependencies = health["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let down = dependencies.iter().filter(|line| line["state"] != "up" && line["name"] != "dbus");
    let reasons: Vec<String> =
        down.map(|line| format!("{}: {}", line["name"], line["reason"])).collect();
    let failed = health["status"] != "degraded";
    (failed || !reasons.is_empty()).then(|| format!("{} {}", health["status"], reasons.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_ill_if_anything_but_the_system_bus_is_away() {
        let health = |status: &str, name: &str| {
            let line = json!({"name": name, "state": "down", "reason": "gone"});
            ill(&json!({"status": status, "dependencies": [line]}))
        };
        assert_eq!(health("ok", "nats"), None);
        assert_eq!(health("degraded", "dbus"), None);
        assert!(health("degraded", "nats").unwrap().contains("gone"));
        assert!(health("failed", "dbus").is_some());
        assert!(ill(&json!({})).is_some());
    }

    #[test]
    fn answers_with_the_same_rows_and_other_ids_differ() {
        assert_eq!(answer(2, [1, 2].into_iter()), answer(2, [1, 2].into_iter()));
        assert_ne!(answer(2, [1, 2].into_iter()), answer(2, [1, 3].into_iter()));
    }
}
