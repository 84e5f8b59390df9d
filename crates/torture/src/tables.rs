//! What ClickHouse and Redis hold, asked directly.

use crate::fault::Program;
use crate::site::{Addresses, INSTRUMENTS};
use crate::verify::{Candles, Copied, Distinct};
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

/// Within which time after the first trade of an instrument its candles are asked for, in
/// nanoseconds: the venue makes them of what is traded from then on, so that its first ones may lack
/// something.
const SUBSCRIBED_WITHIN: i64 = 5_000_000_000;

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

/// Holds the venue's candles against those of the stored trades.
///
/// The candles of a stream's first seconds are left out: the venue counted before somebody listened,
/// or not yet.
///
/// # Errors
///
/// ClickHouse does not answer.
pub async fn candles(asker: &Asker) -> anyhow::Result<Candles> {
    let query = "SELECT symbol, toUnixTimestamp64Nano(min(time)) FROM marketprism.trade \
                 GROUP BY symbol";
    let firsts = asker.query(query).await.context("find the first trades")?;
    let query = "SELECT symbol, `interval`, toUnixTimestamp64Nano(open_time), toUInt8(equal), \
                 toString(open_time), volume, venue_volume, trades, venue_trades \
                 FROM marketprism.candle_check WHERE source != 'agg_trade' \
                 ORDER BY symbol, `interval`, open_time";
    let both = asker.query(query).await.context("compare candles")?;
    compare_candles(&firsts, &both)
}

/// Reads when each stream began, and of each candle whether it is equal; lines of words with tabs
/// between them.
fn compare_candles(firsts: &str, both: &str) -> anyhow::Result<Candles> {
    let mut began: BTreeMap<&str, i64> = BTreeMap::new();
    for line in firsts.lines() {
        let (symbol, at) = line.split_once('\t').context("a symbol and a time")?;
        began.insert(symbol, at.parse()?);
    }
    let mut candles = Candles::default();
    for line in both.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let [symbol, interval, open, equal, at, volume, venue_volume, trades, venue_trades] =
            *words
        else {
            bail!("{line:?} is no candle");
        };
        let open: i64 = open.parse()?;
        if began.get(symbol).is_none_or(|first| open <= *first + SUBSCRIBED_WITHIN) {
            continue;
        }
        candles.compared += 1;
        if equal != "1" {
            candles.different.push(format!(
                "{symbol}, {interval} from {at}: {volume} in {trades} trades, of the venue \
                 {venue_volume} in {venue_trades}"
            ));
        }
    }
    Ok(candles)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candles_that_were_whole_are_compared_and_others_are_not() {
        let firsts = "BTC-USDT\t65000000000\nETH-USDT\t1000000000\n";
        let line = |symbol: &str, interval: &str, second: i64, equal: u8| {
            let open = second * 1_000_000_000;
            format!("{symbol}\t{interval}\t{open}\t{equal}\t{second}\t1.5\t2\t3\t4\n")
        };
        let both = [
            line("BTC-USDT", "1m", 60, 0),
            line("BTC-USDT", "1m", 120, 1),
            line("BTC-USDT", "1s", 66, 0),
            line("BTC-USDT", "1s", 71, 1),
            line("ETH-USDT", "1m", 0, 0),
            line("ETH-USDT", "1m", 60, 0),
            line("SOL-USDT", "1m", 60, 0),
        ]
        .concat();
        let Candles { compared, different } = compare_candles(firsts, &both).unwrap();
        assert_eq!(compared, 3, "of the others no trade was heard, or not from the beginning");
        let expected = "ETH-USDT, 1m from 60: 1.5 in 3 trades, of the venue 2 in 4";
        assert_eq!(different, [expected]);
        assert_eq!(compare_candles("", "").unwrap(), Candles::default());
        assert!(compare_candles("", "Code: 60").is_err());
    }
}
