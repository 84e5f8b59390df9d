//! Task: what the venues list → ClickHouse.
//!
//! The collector reads the lists; it is asked for them now and then, and what has changed becomes a
//! row. An instrument that is listed no longer stays as it was seen last.

use crate::collector::Collector;
use crate::sink::Condition;
use anyhow::Context as _;
use catalog::StreamKey;
use daemon::Task;
use model::{Instrument, InstrumentId};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::watch;
use units::UnixNanos;
use warehouse::{Listed, Warehouse};

#[cfg(test)]
mod tests;

/// How often the lists are looked at: a venue announces a listing hours before.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// Pause before the next attempt, if the collector or ClickHouse did not answer.
const RETRY: Duration = Duration::from_secs(15);
/// How old the word that nothing has changed becomes before it is renewed, one hour: a row is
/// written for it.
const RENEW_NS: i64 = 3_600_000_000_000;

/// Looks at the lists, and writes down what changes in them.
pub(crate) struct Lists {
    pub(crate) warehouse: Warehouse,
    pub(crate) condition: watch::Receiver<Condition>,
    pub(crate) collector: Collector,
}

/// The collector's answer.
#[derive(Deserialize)]
struct Answer {
    instruments: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    venue: String,
    market: String,
    symbol: String,
    instrument: Arc<str>,
    base: Arc<str>,
    quote: Arc<str>,
    tick_size: Option<String>,
    lot_size: Option<String>,
    contract_size: Option<String>,
    qty_unit: String,
    expiry: Option<i64>,
    strike: Option<String>,
    option_side: Option<String>,
    listing: String,
}

impl Lists {
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        // What was said last of why there are none.
        let mut told = String::new();
        loop {
            let Some(looked) = task.until_stopped(Box::pin(self.look())).await else {
                return Ok(());
            };
            let pause = match looked {
                Ok(rows) => {
                    tracing::debug!(rows, "the venues' lists are written down");
                    told.clear();
                    LOOK_INTERVAL
                }
                Err(error) => {
                    let reason = Chain(error.as_ref()).to_string();
                    if reason != told {
                        tracing::info!(reason, "the venues' lists are not written down yet");
                        told = reason;
                    }
                    RETRY
                }
            };
            if !task.sleep(pause).await {
                return Ok(());
            }
        }
    }

    /// Writes down what has changed; returns how many rows that took.
    async fn look(&mut self) -> anyhow::Result<usize> {
        // A server that is away has been reported.
        self.condition.wait_for(|now| *now == Condition::Up).await.context("watch ClickHouse")?;
        let listed = read(&self.collector.instruments().await?)?;
        anyhow::ensure!(!listed.is_empty(), "the collector has read no list yet");
        let known = self.warehouse.instruments().await?;
        let rows = advance(known, listed, UnixNanos::new(daemon::clock::now()));
        self.warehouse.store_instruments(&rows).await?;
        Ok(rows.len())
    }
}

/// Reads the collector's answer.
fn read(body: &[u8]) -> anyhow::Result<Vec<Instrument>> {
    let answer: Answer = serde_json::from_slice(body).context("read the collector's answer")?;
    answer.instruments.into_iter().map(Instrument::try_from).collect()
}

impl TryFrom<Entry> for Instrument {
    type Error = anyhow::Error;

    fn try_from(entry: Entry) -> anyhow::Result<Self> {
        let id = InstrumentId {
            venue: value(&entry.venue)?,
            market: value(&entry.market)?,
            symbol: value(&entry.symbol)?,
            name: entry.instrument,
        };
        Ok(Self {
            id: Arc::new(id),
            base: entry.base,
            quote: entry.quote,
            tick_size: optional(entry.tick_size.as_deref())?,
            lot_size: optional(entry.lot_size.as_deref())?,
            contract_size: optional(entry.contract_size.as_deref())?,
            qty_unit: value(&entry.qty_unit)?,
            expiry: entry.expiry.map(UnixNanos::new),
            strike: optional(entry.strike.as_deref())?,
            option_side: optional(entry.option_side.as_deref())?,
            listing: value(&entry.listing)?,
            funding_hours: None,
        })
    }
}

fn value<T: FromStr<Err: Display>>(text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error| anyhow::anyhow!("read the collector's `{text}`: {error}"))
}

fn optional<T: FromStr<Err: Display>>(text: Option<&str>) -> anyhow::Result<Option<T>> {
    text.map(value).transpose()
}

/// The rows that are to be written: an instrument that is new or has changed, and one of which it
/// was long ago that it was seen as it is.
fn advance(known: Vec<Listed>, listed: Vec<Instrument>, now: UnixNanos) -> Vec<Listed> {
    let key = |instrument: &Instrument| StreamKey::from(&*instrument.id);
    let known: BTreeMap<StreamKey, Listed> =
        known.into_iter().map(|row| (key(&row.instrument), row)).collect();
    let rows = listed.into_iter().filter_map(|instrument| match known.get(&key(&instrument)) {
        Some(row) if row.instrument == instrument => {
            let first_seen = row.first_seen;
            let is_due = now.since(row.last_seen) >= RENEW_NS;
            is_due.then_some(Listed { instrument, first_seen, last_seen: now })
        }
        Some(row) => {
            // Behind the state before, whatever the clock says: it is told by that which is newer.
            let seen = UnixNanos::new(now.as_i64().max(row.last_seen.as_i64().saturating_add(1)));
            Some(Listed { instrument, first_seen: seen, last_seen: seen })
        }
        None => Some(Listed { instrument, first_seen: now, last_seen: now }),
    });
    rows.collect()
}
