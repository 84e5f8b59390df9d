//! What ClickHouse and Redis hold, asked directly.

use crate::fault::Program;
use crate::site::{Addresses, INSTRUMENTS};
use crate::verify::{Copied, Distinct};
use crate::watch::Asker;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::redis::{self, Reply};
use tokio::time::{Instant, sleep};

/// The kinds that have rows of the generated market.
const KINDS: [&str; 4] = ["trade", "book", "bbo", "gap"];

/// How long Redis may take to have what the storage has.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts the rows of every table, the parts as they are.
///
/// # Errors
///
/// ClickHouse does not answer.
pub async fn tables(asker: &Asker) -> anyhow::Result<BTreeMap<String, Distinct>> {
    let mut tables = BTreeMap::new();
    for kind in KINDS {
        // The tables themselves, not the views that leave out what is there twice.
        let query = format!(
            "SELECT count(), uniqExact(venue, market, symbol, identity_major, identity_minor) \
             FROM marketprism.stored_{kind}"
        );
        let answer = asker.query(&query).await.with_context(|| format!("count {kind}"))?;
        let (rows, identities) = answer.trim().split_once('\t').context("two numbers")?;
        let found = Distinct { rows: rows.parse()?, identities: identities.parse()? };
        tables.insert(kind.to_owned(), found);
    }
    Ok(tables)
}

/// Compares Redis with what the storage answers, once they have had time to agree.
///
/// # Errors
///
/// Redis does not answer, or holds what is no value of ours.
pub async fn copies(
    asker: &Asker,
    addresses: &Addresses,
) -> anyhow::Result<BTreeMap<String, Copied>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let copies = compare(asker, addresses).await?;
        let agree = copies.values().all(|copy| copy.hot == copy.redis);
        if agree || Instant::now() > deadline {
            return Ok(copies);
        }
        sleep(PAUSE).await;
    }
}

async fn compare(asker: &Asker, addresses: &Addresses) -> anyhow::Result<BTreeMap<String, Copied>> {
    let mut copies = BTreeMap::new();
    for (instrument, symbol) in INSTRUMENTS {
        for (kind, id) in [("trade", "seq"), ("bbo", "id"), ("book", "last_id")] {
            let path = format!("/api/v1/storage/hot/{kind}/binance/spot/{symbol}?limit=1");
            // One that is not there has no newest, which the verdict sees.
            let hot = asker.json(Program::Storage, &path).await.unwrap_or_default();
            let key = match kind {
                "book" => format!("marketprism:book:binance:spot:{symbol}"),
                _ => format!("marketprism:latest:{kind}:binance:spot:{symbol}"),
            };
            let copied = value(addresses, &key)?;
            let newest = if kind == "trade" { &hot["data"][0] } else { &hot["data"] };
            let copy = Copied { hot: newest[id].as_u64(), redis: copied[id].as_u64() };
            copies.insert(format!("{instrument} {kind}"), copy);
        }
    }
    Ok(copies)
}

fn value(addresses: &Addresses, key: &str) -> anyhow::Result<Value> {
    match redis::query(addresses.of(Program::Redis), &["GET", key]).context("ask Redis")? {
        Reply::Text(text) => Ok(serde_json::from_str(&text)?),
        Reply::Nothing => Ok(Value::Null),
        Reply::Error(text) => bail!("GET {key}: {text}"),
        Reply::Number(_) | Reply::List(_) => bail!("GET {key}: no text"),
    }
}
