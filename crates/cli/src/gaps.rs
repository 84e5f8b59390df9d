//! `marketprism gaps`: what is missing, as the gap records say.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::Cell;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use settings::Suite;

use crate::output;
use crate::rows::{PAGE, Rows};
use crate::service::{Service, Target};
use crate::when;

const EXAMPLES: &str = "\
Shows the newest record of every gap that is not healed. Those that
are open may be healed yet, those that are lost will not be: the venue
does not have what is missing.

Examples:
  sudo marketprism gaps
  sudo marketprism gaps --since -1d --symbol BTC-USDT
  sudo marketprism gaps --all --json | jq '.gaps[] | .cause'

Whether more is missing than the records say: marketprism audit.

Exit codes: 0 nothing is missing, 1 something is or it failed, 2 wrong usage";

/// Arguments of `marketprism gaps`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this venue, such as binance.
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// Only this market, such as spot.
    #[arg(long, value_name = "MARKET")]
    market: Option<String>,
    /// Only this symbol, such as BTC-USDT.
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<String>,
    /// Only records from this time on, such as 2026-05-09, -1h or yesterday.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Shows the gaps that are healed, too.
    #[arg(long)]
    all: bool,
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Which gap records are meant.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) venue: Option<String>,
    pub(crate) market: Option<String>,
    pub(crate) symbol: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// A gap record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub(crate) gap_id: String,
    pub(crate) version: u64,
    pub(crate) venue: String,
    pub(crate) market: String,
    pub(crate) symbol: String,
    /// The kind of what is missing.
    pub(crate) of: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
    pub(crate) recv_time: i64,
    pub(crate) cause: String,
    pub(crate) state: String,
}

impl Gap {
    fn is_healed(&self) -> bool {
        self.state == "healed"
    }

    /// How many ids are between the two, if both are known.
    fn ids(&self) -> Option<u64> {
        let (after, before) = self.after_id.zip(self.before_id)?;
        Some(before.saturating_sub(after).saturating_sub(1))
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let storage = args.target.storage(suite.storage.listen)?;
    let wish = Wish {
        venue: args.venue.clone(),
        market: args.market.clone(),
        symbol: args.symbol.clone(),
        since: args.since,
        until: args.until,
    };
    let mut gaps = latest(&storage, &wish).await?;
    gaps.retain(|gap| args.all || !gap.is_healed());
    if args.json {
        output::json(&serde_json::json!({ "gaps": gaps }))?;
    } else if gaps.is_empty() {
        output::remark("no gaps: nothing is known to be missing")?;
    } else {
        output::table(table(&gaps))?;
    }
    let is_whole = gaps.iter().all(Gap::is_healed);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The newest record of each gap, in the order in which these came.
///
/// # Errors
///
/// If the storage does not answer, or with something that is no gap record.
pub(crate) async fn latest(storage: &Service, wish: &Wish) -> anyhow::Result<Vec<Gap>> {
    let mut parameters = Vec::new();
    for (name, value) in
        [("venue", &wish.venue), ("market", &wish.market), ("symbol", &wish.symbol)]
    {
        parameters.extend(value.clone().map(|value| (name, value)));
    }
    for (name, time) in [("start", wish.since), ("end", wish.until)] {
        if let Some(time) = time {
            parameters.push((name, when::nanos(time)?.to_string()));
        }
    }
    let mut rows = Rows::new(storage, "gaps", parameters);
    let mut gaps = Vec::new();
    while let Some(page) = rows.next(PAGE).await? {
        for row in page {
            let gap: Gap = serde_json::from_str(row.get())
                .with_context(|| format!("read the gap record {}", row.get()))?;
            gaps.push(gap);
        }
    }
    Ok(newest(gaps))
}

/// Keeps the record with the highest version of each gap.
fn newest(records: Vec<Gap>) -> Vec<Gap> {
    let mut gaps: BTreeMap<String, Gap> = BTreeMap::new();
    for record in records {
        let known = gaps.get(&record.gap_id);
        if known.is_none_or(|known| known.version <= record.version) {
            gaps.insert(record.gap_id.clone(), record);
        }
    }
    let mut gaps: Vec<Gap> = gaps.into_values().collect();
    gaps.sort_by_key(|gap| gap.recv_time);
    gaps
}

fn table(gaps: &[Gap]) -> comfy_table::Table {
    let header = ["RECORDED", "STREAM", "AFTER", "BEFORE", "IDS", "CAUSE", "STATE"];
    let mut table = output::new_table(&header);
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for gap in gaps {
        let Gap { of, venue, market, symbol, .. } = gap;
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(when::text(gap.recv_time)),
            Cell::new(format!("{of} {venue}/{market}/{symbol}")),
            Cell::new(number(gap.after_id)),
            Cell::new(number(gap.before_id)),
            Cell::new(number(gap.ids())),
            Cell::new(&gap.cause),
            output::judged(&gap.state, gap.is_healed()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests;
