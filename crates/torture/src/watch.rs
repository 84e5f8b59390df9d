//! Looks at the suite from outside, again and again: how far behind is what can be queried?

use crate::fault::Program;
use crate::site::{Addresses, INSTRUMENTS};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long an answer may take; a service that takes longer counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long a whole comparison may wait for one answer.
const PAGE_MAX: Duration = Duration::from_secs(30);

/// How long ClickHouse may take over all rows of a run: candles of a second are made of every trade.
const QUERY_MAX: Duration = Duration::from_mins(2);

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When, after the opening of the market.
    pub at: Duration,
    /// How old the newest trade is that the storage has ever returned.
    pub lag: Duration,
    /// Blocks that wait in the streams, as the storage says; `None` while it does not answer.
    pub lag_blocks: Option<u64>,
    /// Events the storage has stored since it started.
    pub stored: Option<u64>,
    /// Bytes in the collector's spool; `None` while it does not answer.
    pub spool_bytes: Option<u64>,
    /// Whether the broker says that the message server wants a restart.
    pub restart_advised: bool,
    /// Whether the broker has answers from the message server.
    pub bus_answers: bool,
    /// Messages that all markets have sent, and whether there are no more.
    pub venue: Option<(u64, bool)>,
    /// Malformed messages among them.
    pub malformed: Option<u64>,
    /// Messages the collector has refused since it started, by reason.
    pub rejects: Option<BTreeMap<String, u64>>,
    /// Connections the collector has lost since it started.
    pub disconnects: Option<u64>,
    /// Damaged places in the spool that the collector has skipped since it started.
    pub spool_damage: Option<u64>,
    /// How often the storage has found Redis without what it had been given since it started.
    pub redis_fills: Option<u64>,
    /// How often it was refused there since then for want of memory.
    pub redis_full: Option<u64>,
}

/// How much of trades and books the storage has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Events since it started.
    pub events: u64,
    /// Blocks that wait in the streams.
    pub waiting: u64,
}

/// Asks services over HTTP.
#[derive(Debug, Clone)]
pub struct Asker {
    http: reqwest::Client,
    addresses: Addresses,
    token: String,
    /// How long a service may take to answer.
    answer_max: Duration,
}

impl Asker {
    /// An asker that shows services their token.
    ///
    /// # Errors
    ///
    /// A client that cannot be set up.
    pub fn new(addresses: Addresses, token: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(PAGE_MAX).build()?;
        Ok(Self { http, addresses, token, answer_max: ANSWER_MAX })
    }

    /// One that waits longer, for when the market is over and an answer is needed.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { answer_max: PAGE_MAX, ..self.clone() }
    }

    /// The text of an answer of 200.
    ///
    /// # Errors
    ///
    /// Any other answer, or none in time.
    pub async fn text(&self, program: Program, path: &str) -> anyhow::Result<String> {
        self.get(&format!("http://{}{path}", self.addresses.of(program))).await
    }

    /// A document of a service.
    ///
    /// # Errors
    ///
    /// As [`Asker::text`], and an answer that is no JSON.
    pub async fn json(&self, program: Program, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(program, path).await?)?)
    }

    /// How much the storage has stored.
    ///
    /// # Errors
    ///
    /// As [`Asker::text`].
    pub async fn stored(&self) -> anyhow::Result<Stored> {
        Ok(stored(&self.text(Program::Storage, "/metrics").await?))
    }

    /// What ClickHouse answers to a query.
    ///
    /// # Errors
    ///
    /// As [`Asker::text`].
    pub async fn query(&self, query: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/", self.addresses.of(Program::ClickHouse));
        let request = self.http.post(&url).timeout(QUERY_MAX).body(query.to_owned());
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "ClickHouse answered {status}: {text}");
        Ok(text)
    }

    /// A document of the venue's.
    ///
    /// # Errors
    ///
    /// As [`Asker::json`].
    pub async fn venue(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("http://{}{path}", self.addresses.venue);
        Ok(serde_json::from_str(&self.get(&url).await?)?)
    }

    /// How far each market is, the one that is struck first.
    ///
    /// # Errors
    ///
    /// As [`Asker::json`].
    pub async fn markets(&self) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        for address in self.addresses.markets() {
            let text = self.get(&format!("http://{address}/sim/progress")).await?;
            found.push(serde_json::from_str(&text)?);
        }
        Ok(found)
    }

    /// Has every market be over.
    async fn end(&self) -> anyhow::Result<()> {
        for address in self.addresses.markets() {
            let url = format!("http://{address}/sim/end");
            let status = self.http.post(&url).timeout(ANSWER_MAX).send().await?.status();
            ensure!(status.is_success(), "{url} answered {status}");
        }
        Ok(())
    }

    /// The hour of the day, as a program has it and as the venue has it, which runs on the host's
    /// clock: from the `Date` of their answers. After a step back, hyper goes on with the date it had
    /// until the clock has caught up, so only a step forward is seen.
    ///
    /// # Errors
    ///
    /// One of them does not answer.
    pub async fn hours(&self, program: Program) -> anyhow::Result<(String, String)> {
        let theirs = format!("http://{}/health", self.addresses.of(program));
        let ours = format!("http://{}/sim/progress", self.addresses.venue);
        Ok((self.hour(&theirs).await?, self.hour(&ours).await?))
    }

    async fn hour(&self, url: &str) -> anyhow::Result<String> {
        let answer = self.http.get(url).timeout(ANSWER_MAX).send().await?;
        let date = answer.headers().get(reqwest::header::DATE).context("an answer without date")?;
        // Such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
        let hour = date.to_str()?.get(17..19).context("a date without an hour")?;
        Ok(hour.to_owned())
    }

    /// What a service answers that is asked to do something.
    ///
    /// # Errors
    ///
    /// As [`Asker::json`].
    pub async fn post(
        &self,
        program: Program,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let url = format!("http://{}{path}", self.addresses.of(program));
        let mut request = self.http.post(&url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn get(&self, url: &str) -> anyhow::Result<String> {
        let request = self.http.get(url).bearer_auth(&self.token).timeout(self.answer_max);
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(text)
    }

    /// When the venue stamped the newest trade that the storage returns, in nanoseconds.
    async fn newest(&self) -> anyhow::Result<i64> {
        let mut newest = i64::MAX;
        for (_, symbol) in INSTRUMENTS {
            let path = format!(
                "/api/v1/storage/trades?venue=binance&market=spot&symbol={symbol}&order=desc&limit=1"
            );
            let page = self.json(Program::Storage, &path).await?;
            let time = page["data"][0]["venue_time"].as_i64();
            newest = newest.min(time.context("no trade yet")?);
        }
        Ok(newest)
    }
}

/// Looks until nobody listens any more.
pub async fn watch(asker: Asker, opened: Instant, samples: mpsc::Sender<Sample>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut newest = wall();
    loop {
        ticks.tick().await;
        let (trade, storage, collector, broker, markets) = tokio::join!(
            asker.newest(),
            asker.text(Program::Storage, "/metrics"),
            asker.text(Program::Collector, "/metrics"),
            asker.text(Program::Broker, "/health"),
            asker.markets(),
        );
        if let Ok(time) = trade {
            newest = newest.max(time);
        }
        let age = u64::try_from(wall().saturating_sub(newest)).unwrap_or(0);
        let (storage, collector) = (storage.ok(), collector.ok());
        let of = |text: &Option<String>, name| text.as_deref().map(|text| sum(text, name));
        let sample = Sample {
            at: opened.elapsed(),
            lag: Duration::from_nanos(age),
            lag_blocks: of(&storage, "marketprism_storage_lag_blocks"),
            stored: of(&storage, "marketprism_storage_events_total"),
            spool_bytes: of(&collector, "marketprism_collector_spool_bytes"),
            restart_advised: broker
                .as_ref()
                .is_ok_and(|text| text.contains("systemctl restart marketprism-nats.service")),
            bus_answers: broker.is_ok_and(|text| bus_answers(&text)),
            malformed: markets.as_ref().ok().and_then(|markets| total(markets, "malformed")),
            venue: markets.ok().and_then(|markets| {
                let finished = markets.iter().map(|progress| progress["finished"].as_bool());
                let finished = finished.collect::<Option<Vec<bool>>>()?;
                Some((total(&markets, "frames")?, finished.into_iter().all(|one| one)))
            }),
            rejects: collector
                .as_deref()
                .map(|text| by_label(text, "marketprism_collector_rejects_total", "reason")),
            disconnects: of(&collector, "marketprism_collector_feed_disconnects_total"),
            redis_fills: of(&storage, "marketprism_storage_redis_fills_total"),
            redis_full: storage.as_deref().map(|text| {
                let errors = by_label(text, "marketprism_storage_redis_errors_total", "reason");
                errors.get("full").copied().unwrap_or(0)
            }),
            spool_damage: of(&collector, "marketprism_collector_spool_damaged_regions_total"),
        };
        if samples.send(sample).await.is_err() {
            return;
        }
    }
}

/// Whether a broker's health document has the message server up.
fn bus_answers(health: &str) -> bool {
    let health: Value = serde_json::from_str(health).unwrap_or_default();
    let dependencies = health["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    dependencies.iter().any(|line| line["name"] == "nats" && line["state"] == "up")
}

/// Ends every market at a time: all at once, whenever they began.
pub async fn end(asker: Asker, at: Instant) {
    sleep_until(at).await;
    // A market that does not hear of it does not end, which is noticed.
    while asker.end().await.is_err() {
        sleep(LOOK_EVERY).await;
    }
}

/// The sum of a member over all markets; none while one of them does not say it.
fn total(markets: &[Value], key: &str) -> Option<u64> {
    markets.iter().map(|progress| progress[key].as_u64()).sum()
}

/// The sum of a metric over its labels.
fn sum(text: &str, name: &str) -> u64 {
    let of_it =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

/// The sums of a metric for each value of one of its labels.
fn by_label(text: &str, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let labels = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{'));
        let Some((labels, value)) = labels.and_then(|rest| rest.split_once("} ")) else { continue };
        let own = labels
            .split(',')
            .find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'));
        if let (Some(own), Ok(value)) = (own, value.parse::<u64>()) {
            *sums.entry(own.to_owned()).or_insert(0) += value;
        }
    }
    sums
}

/// What the storage's metrics say of trades and books.
fn stored(text: &str) -> Stored {
    let of = |name: &str| -> u64 {
        let kinds = by_label(text, name, "kind");
        ["trade", "book"].iter().filter_map(|kind| kinds.get(*kind)).sum()
    };
    Stored {
        events: of("marketprism_storage_events_total"),
        waiting: of("marketprism_storage_lag_blocks"),
    }
}

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the venue stamps wall-clock time")]
pub(crate) fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Stored, bus_answers, by_label, stored, sum, total};
    use serde_json::json;

    #[test]
    fn what_one_market_does_not_say_is_not_known_of_all() {
        let markets = [json!({"frames": 4, "clients": 1}), json!({"frames": 5})];
        assert_eq!((total(&markets, "frames"), total(&markets, "clients")), (Some(9), None));
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_over_its_neighbours() {
        let text = "# HELP lag_blocks x\nlag_blocks{kind=\"a\"} 2\nlag_blocks{kind=\"b\"} 3\n\
                    lag_blocks_old 9\n";
        assert_eq!(sum(text, "lag_blocks"), 5);
    }

    #[test]
    fn what_is_stored_is_counted_of_trades_and_books_alone() {
        let text = "marketprism_storage_events_total{kind=\"trade\"} 5\n\
                    marketprism_storage_events_total{kind=\"book\"} 4\n\
                    marketprism_storage_events_total{kind=\"ticker\"} 9\n\
                    marketprism_storage_lag_blocks{kind=\"book\"} 2\n\
                    marketprism_storage_lag_blocks{kind=\"ticker\"} 9\n";
        assert_eq!(stored(text), Stored { events: 9, waiting: 2 });
    }

    #[test]
    fn a_metric_is_summed_for_each_value_of_a_label() {
        let text = "rejects{connection=\"0\",reason=\"a\"} 2\nrejects{connection=\"1\",reason=\"a\"} 3\n\
                    rejects{connection=\"0\",reason=\"b\"} 4\nrejects_old{reason=\"a\"} 9\n";
        let sums = by_label(text, "rejects", "reason");
        assert_eq!(sums, [("a".to_owned(), 5), ("b".to_owned(), 4)].into());
    }

    #[test]
    fn the_message_server_answers_if_the_broker_says_so() {
        let health = |state: &str| {
            format!(
                r#"{{"status":"degraded","dependencies":[{{"name":"space","state":"up"}},{{"name":"nats","state":"{state}"}}]}}"#
            )
        };
        assert!(bus_answers(&health("up")));
        assert!(!bus_answers(&health("down")));
        assert!(!bus_answers("") && !bus_answers("{}"));
    }
}
