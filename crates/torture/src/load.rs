//! Many markets at once: whether the store has all that each of them sent.

use crate::market::Market;
use crate::verify::Facts;
use crate::watch::Asker;
use anyhow::Context as _;
use serde::Serialize;
use sim::compare::{Client, Report, Streams};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::progress;
use tokio::time::{Instant, sleep};

/// How long what is in flight may take to be stored, of each market.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two comparisons.
const PAUSE: Duration = Duration::from_secs(2);

/// What became of all that a market sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Trades and book changes of so many instruments.
    pub streams: usize,
    /// Their ids.
    pub sent: usize,
    /// Rows.
    pub stored: usize,
    /// Trades that are not stored, also where a gap record says so, and book changes that neither
    /// a snapshot nor a gap record accounts for.
    pub lost: usize,
    /// How often the market closed a connection because the collector read it too slowly.
    pub cut_off: u64,
}

impl Carried {
    /// Sums up a market's streams, which are named `<instrument> <kind>`.
    #[must_use]
    pub fn of(reports: &BTreeMap<String, Report>, cut_off: u64) -> Self {
        let mut carried = Self { streams: reports.len(), cut_off, ..Self::default() };
        for (stream, report) in reports {
            carried.sent += report.sent;
            carried.stored += report.returned;
            carried.lost += report.missing.len();
            if !stream.ends_with(" book") {
                carried.lost += report.in_gaps;
            }
        }
        carried
    }

    /// Why it is not as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { sent, lost, cut_off, .. } = self;
        if *sent == 0 {
            return Some("nothing was sent".to_owned());
        }
        let is_good = *lost == 0 && *cut_off == 0;
        (!is_good).then(|| format!("{lost} of {sent} lost, cut off {cut_off} times"))
    }
}

/// Adds to the facts what became of every market: of the first they have it already.
///
/// # Errors
///
/// A storage or market that does not answer, or a ledger that cannot be read.
pub async fn compare(
    facts: &mut Facts,
    ledgers: &[(Market, PathBuf)],
    storage: &Client,
    asker: &Asker,
) -> anyhow::Result<()> {
    let ends = asker.markets().await.context("the end of the markets")?;
    let cut_off = ends.iter().map(|end| end["slow_clients"].as_u64().unwrap_or(0));
    for (number, ((market, ledger), cut_off)) in ledgers.iter().zip(cut_off).enumerate() {
        let id = market.id.to_string();
        if number == 0 {
            facts.markets.insert(id, Carried::of(&facts.streams, cut_off));
            continue;
        }
        let began = Instant::now();
        let reports = read(ledger, storage).await.with_context(|| format!("compare {id}"))?;
        let (streams, took) = (reports.len(), began.elapsed().as_secs_f64());
        progress(format_args!("{streams} streams of {id} compared within {took:.1} s"));
        facts.markets.insert(id.clone(), Carried::of(&reports, cut_off));
        let named = reports.into_iter().map(|(stream, report)| (format!("{id} {stream}"), report));
        facts.streams.extend(named);
    }
    Ok(())
}

/// Compares until everything agrees, or for so long.
async fn read(ledger: &Path, storage: &Client) -> anyhow::Result<BTreeMap<String, Report>> {
    let deadline = Instant::now() + PATIENCE;
    let mut streams = Streams::read(ledger).context("read the ledger")?;
    loop {
        let found = streams.compare(storage).await?;
        if found.agrees() || Instant::now() >= deadline {
            return Ok(found.reports);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sent: usize, in_gaps: usize, missing: &[u64]) -> Report {
        let returned = sent - in_gaps - missing.len();
        Report { sent, returned, in_gaps, missing: missing.to_vec(), ..Report::default() }
    }

    #[test]
    fn a_trade_in_a_gap_record_is_lost_and_a_change_that_a_snapshot_has_is_not() {
        let trades = ("A trade".to_owned(), report(9, 2, &[4]));
        let books = ("A book".to_owned(), report(7, 3, &[]));
        let carried = Carried::of(&[trades, books].into(), 0);
        let expected = Carried { streams: 2, sent: 16, stored: 10, lost: 3, cut_off: 0 };
        assert_eq!(carried, expected);
    }

    #[test]
    fn only_a_market_that_sent_and_lost_nothing_is_as_it_should_be() {
        let good = Carried { streams: 1, sent: 9, stored: 9, lost: 0, cut_off: 0 };
        assert_eq!(good.complaint(), None);
        for bad in [
            Carried { lost: 1, ..good.clone() },
            Carried { cut_off: 1, ..good.clone() },
            Carried { sent: 0, ..good.clone() },
        ] {
            assert!(bad.complaint().is_some(), "{bad:?}");
        }
    }
}
