//! Asks everybody what there is, once nothing moves any more.

use crate::difference;
use crate::fault::Program;
use crate::gaps;
use crate::schedule::Strike;
use crate::site::INSTRUMENTS;
use crate::verify::{self, Book, Facts, Newest};
use crate::watch::Asker;
use anyhow::Context as _;
use serde_json::Value;
use sim::compare::{Client, Compared, GapRow, Report, Streams};
use sim::tally::Answer;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::progress;
use tokio::time::{Instant, sleep};

/// How long what is in flight may take to be stored, what was missed to be fetched, and services to
/// be well.
const PATIENCE: Duration = Duration::from_secs(90);

/// The part of the run's length that fetching may take beyond that.
const PATIENCE_PART: u32 = 3;

/// How long the hot store and the books may take to be at rest.
const REST_MAX: Duration = Duration::from_secs(15);

/// How long a connection that is renewed and the books on it may take to be whole again.
const RENEWAL_MAX: Duration = Duration::from_secs(30);

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

/// What struck when the unexplained trades were made.
fn around(
    streams: &Streams,
    reports: &BTreeMap<String, Report>,
    strikes: &[Strike],
    opened: i64,
) -> Vec<String> {
    let mut counts: BTreeMap<(&str, Option<usize>), (usize, Duration)> = BTreeMap::new();
    for (instrument, tally) in streams.trades() {
        let Some(report) = reports.get(&format!("{instrument} trade")) else { continue };
        let unexplained =
            tally.missing().filter(|sent| report.missing.binary_search(&sent.id).is_ok());
        for sent in unexplained {
            let since = u64::try_from(sent.time.saturating_sub(opened)).unwrap_or(0);
            let at = Duration::from_nanos(since);
            let struck = strikes.iter().rposition(|strike| strike.at <= at);
            counts.entry((instrument, struck)).or_insert((0, at)).0 += 1;
        }
    }
    let line = |((instrument, struck), (count, at)): ((&str, Option<usize>), (usize, Duration))| {
        let strike = struck.map_or("before any fault".to_owned(), |i| {
            format!("the latest fault was {}", strikes[i].to_string().trim_start())
        });
        let at = at.as_secs_f64();
        format!("{count} trades of {instrument} from {at:.2} s on are missing; {strike}")
    };
    counts.into_iter().map(line).collect()
}

/// Compares everything with everything.
///
/// What is missed is fetched while this waits: nothing is read before it is there, for there may be
/// tens of millions of rows.
///
/// # Errors
///
/// A gateway or storage that does not answer.
pub async fn gather(
    streams: &mut Streams,
    doors: &Doors,
    asker: &Asker,
    strikes: &[Strike],
    opened: i64,
    length: Duration,
) -> anyhow::Result<Facts> {
    let mut facts = Facts { services: well(asker).await, ..Facts::default() };
    let deadline = Instant::now() + PATIENCE + length / PATIENCE_PART;
    while gaps::are_open(&doors.gateway.gaps().await.context("read from the gateway")?)
        && Instant::now() < deadline
    {
        sleep(PAUSE).await;
    }
    // However long fetching took.
    stand_still(asker, deadline.max(Instant::now() + PATIENCE)).await;
    rest(&mut facts, asker).await?;
    let began = Instant::now();
    let Read { found, direct, moved } = read(streams, doors, asker, deadline).await?;
    let (rows, took) = (direct.values().map(|answer| answer.rows).sum::<usize>(), began.elapsed());
    progress(format_args!("{rows} rows were read twice within {:.1} s", took.as_secs_f64()));
    facts.around = around(streams, &found.reports, strikes, opened);
    facts.unfetched = gaps::unfetched(&found.gaps);
    let records = ended(found.gaps, doors).await?;
    facts.untrue_gaps = gaps::untrue(&records, |of, instrument| streams.tally(of, instrument));
    let pairs = direct.into_iter().map(|(stream, theirs)| {
        let ours = found.answers.get(&stream).copied().unwrap_or_default();
        (stream, (theirs, ours))
    });
    facts.doors = pairs.collect();
    facts.differences = differences(&facts.doors, doors, moved).await?;
    facts.streams = found.reports;
    Ok(facts)
}

/// What the two ways to the rows returned.
struct Read {
    /// The gateway, held against the ledger.
    found: Compared,
    /// The storage.
    direct: BTreeMap<String, Answer>,
    /// Whether rows were stored while they were read, as far as is known.
    moved: bool,
}

impl Read {
    /// Whether there is nothing to wait for.
    fn agrees(&self) -> bool {
        gaps::unfetched(&self.found.gaps).is_empty()
            && self.found.agrees()
            && self
                .direct
                .iter()
                .all(|(stream, answer)| self.found.answers.get(stream) == Some(answer))
    }
}

/// Waits until no block of a trade or a book waits and nothing more of them is stored: one answer
/// would have what comes while it is read, and another not.
async fn stand_still(asker: &Asker, deadline: Instant) {
    let mut before = None;
    while Instant::now() < deadline {
        // A storage that does not answer at the moment is not at rest.
        let stored = asker.stored().await.ok();
        if stored.is_some_and(|stored| stored.waiting == 0) && stored == before {
            return;
        }
        before = stored;
        sleep(PAUSE).await;
    }
}

/// Reads everything both ways until both agree with each other and with the ledger, or until the
/// deadline; then once more while rows are stored meanwhile, for as long as [`PATIENCE`].
async fn read(
    streams: &mut Streams,
    doors: &Doors,
    asker: &Asker,
    deadline: Instant,
) -> anyhow::Result<Read> {
    let names = INSTRUMENTS.map(|(name, _)| name);
    let last = deadline.max(Instant::now()) + PATIENCE;
    loop {
        let before = asker.stored().await.ok();
        let (found, direct) =
            tokio::join!(streams.compare(&doors.gateway), Streams::answers(&names, &doors.storage));
        let found = found.context("read from the gateway")?;
        let direct = direct.context("read from the storage")?;
        let moved = before.is_none() || asker.stored().await.ok() != before;
        let read = Read { found, direct, moved };
        let now = Instant::now();
        if read.agrees() || now >= last || now >= deadline && !moved {
            return Ok(read);
        }
        sleep(PAUSE).await;
    }
}

/// The records of gaps once each has an end, or as they are after [`RENEWAL_MAX`].
async fn ended(mut records: Vec<GapRow>, doors: &Doors) -> anyhow::Result<Vec<GapRow>> {
    let deadline = Instant::now() + RENEWAL_MAX;
    while gaps::are_endless(&records) && Instant::now() < deadline {
        sleep(PAUSE).await;
        records = doors.gateway.gaps().await.context("read from the gateway")?;
    }
    Ok(records)
}

/// How the answers differ: what differs is read once more, id by id.
async fn differences(
    answers: &BTreeMap<String, (Answer, Answer)>,
    doors: &Doors,
    moved: bool,
) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for stream in answers.iter().filter(|(_, (ours, theirs))| ours != theirs).map(|it| it.0) {
        let (storage, gateway) = tokio::try_join!(
            Streams::ids(stream, &doors.storage),
            Streams::ids(stream, &doors.gateway)
        )
        .context("read once more what differs")?;
        lines.push(format!("{stream}: {}", difference::between(&storage, &gateway)));
    }
    if moved && !lines.is_empty() {
        lines.push("rows were still being stored while they were read".to_owned());
    }
    Ok(lines)
}

/// Compares the newest of each stream and the books, once they have had time to agree.
async fn rest(facts: &mut Facts, asker: &Asker) -> anyhow::Result<()> {
    let deadline = Instant::now() + REST_MAX;
    loop {
        facts.newest.clear();
        facts.books.clear();
        compare_hot(facts, asker).await?;
        if verify::rested(facts) || Instant::now() >= deadline {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// The newest of each stream and the books, where they are at hand.
async fn compare_hot(facts: &mut Facts, asker: &Asker) -> anyhow::Result<()> {
    let uptime = asker.json(Program::Storage, "/health").await?["uptime_seconds"].as_u64();
    let young = uptime.is_some_and(|seconds| seconds < SNAPSHOT_EVERY);
    for (instrument, symbol) in INSTRUMENTS {
        let place = format!("binance/spot/{symbol}");
        let trade = format!("/api/v1/storage/hot/trade/{place}?limit=1");
        // One that is not there has no newest, which the verdict sees.
        let hot = asker.json(Program::Storage, &trade).await.unwrap_or_default();
        let newest = Newest {
            cold: newest_row(asker, "trades", symbol, "seq").await?,
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
            cold: newest_row(asker, "books", symbol, "last_id").await?,
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
    let cold = newest_row(asker, "bbo", symbol, "id").await?;
    let hot = format!("/api/v1/storage/hot/bbo/binance/spot/{symbol}");
    let hot = asker.json(Program::Storage, &hot).await.unwrap_or_default();
    Ok(Newest { cold, hot: hot["data"]["id"].as_u64(), flagged: false })
}

/// The id of the newest row that is stored.
async fn newest_row(
    asker: &Asker,
    query: &str,
    symbol: &str,
    id: &str,
) -> anyhow::Result<Option<u64>> {
    let path = format!(
        "/api/v1/storage/{query}?venue=binance&market=spot&symbol={symbol}&order=desc&limit=1"
    );
    let page = asker.json(Program::Storage, &path).await;
    Ok(page.with_context(|| format!("the newest of {query}"))?["data"][0][id].as_u64())
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
}
