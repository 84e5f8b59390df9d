//! `marketprism audit`: whether every id is stored or accounted for.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use comfy_table::Cell;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use model::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::Suite;
use tokio::time::timeout;

use crate::output::{self, Progress};
use crate::service::Target;

/// How long the answer may take: every id of the days is looked at.
const TIMEOUT: Duration = Duration::from_mins(10);

/// How often it is said that the answer is still waited for.
const TICK: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Looks at every stream whose ids are contiguous: which ids are missing on these days, and whether a
gap record says so. Days are UTC and looked at as a whole.

Examples:
  sudo marketprism audit
  sudo marketprism audit --start 2026-05-01 --end 2026-05-31 --symbol BTC-USDT
  sudo marketprism audit --backfill
  sudo marketprism audit --json | jq '.holes[]'

Exit codes: 0 every missing id is accounted for, 1 some are not or it failed, 2 wrong usage,
78 wrong configuration";

/// Arguments of `marketprism audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The first day [default: the day before the last].
    #[arg(long, value_name = "DATE")]
    start: Option<Date>,
    /// The last day [default: today].
    #[arg(long, value_name = "DATE")]
    end: Option<Date>,
    /// Only this venue, such as binance.
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// Only this market, such as spot.
    #[arg(long, value_name = "MARKET")]
    market: Option<String>,
    /// Only this symbol, such as BTC-USDT.
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<String>,
    /// Only this kind, such as trade; may be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Asks the collector to fetch what no gap record accounts for.
    #[arg(long)]
    backfill: bool,
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// What the storage is asked.
#[derive(Serialize)]
struct Wish<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    market: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<&'static str>>,
    backfill: bool,
}

/// What is read of its answer; with `--json` all of it is printed.
#[derive(Deserialize)]
struct Audit {
    first_day: String,
    last_day: String,
    complete: bool,
    streams: usize,
    rows: u64,
    ids_missing: u64,
    ids_unexplained: u64,
    holes_total: usize,
    truncated: bool,
    holes: Vec<Hole>,
}

#[derive(Deserialize)]
struct Hole {
    date: String,
    kind: String,
    venue: String,
    market: String,
    symbol: String,
    after_id: u64,
    before_id: u64,
    ids: u64,
    state: String,
    action: String,
    gap_id: Option<String>,
    reason: Option<String>,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let storage = args.target.storage(suite.storage.listen)?;
    let wish = wish(args)?;
    let asked = storage.post::<Value>("/api/v1/storage/audit", &wish, TIMEOUT);
    let answer = waited(asked, &mut Progress::new(true)).await?;
    let audit = Audit::deserialize(&answer)?;
    if args.json {
        output::json(&answer)?;
    } else {
        show(&audit)?;
    }
    Ok(if audit.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for an answer, and says for how long: the storage tells nothing before it has looked at
/// everything.
async fn waited<T>(
    asked: impl Future<Output = anyhow::Result<T>>,
    progress: &mut Progress,
) -> anyhow::Result<T> {
    let began = Instant::now();
    let mut asked = Box::pin(asked);
    loop {
        if let Ok(answer) = timeout(TICK, &mut asked).await {
            progress.end()?;
            return answer;
        }
        let age = output::age(began.elapsed().as_secs());
        progress.show(&format!("storage compares ids, for {age} so far"))?;
    }
}

fn wish(args: &Args) -> anyhow::Result<Wish<'_>> {
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
    let behind = |date: Date| midnight(date.checked_add(1.day())?);
    let kinds = || args.kinds.iter().map(|kind| kind.as_str()).collect();
    Ok(Wish {
        start: args.start.map(midnight).transpose()?,
        end: args.end.map(behind).transpose()?,
        venue: args.venue.as_deref(),
        market: args.market.as_deref(),
        symbol: args.symbol.as_deref(),
        kinds: (!args.kinds.is_empty()).then(kinds),
        backfill: args.backfill,
    })
}

fn show(audit: &Audit) -> anyhow::Result<()> {
    if !audit.holes.is_empty() {
        let header = ["DATE", "STREAM", "AFTER", "BEFORE", "IDS", "STATE", "ACTION"];
        let mut table = output::new_table(&header);
        for hole in &audit.holes {
            let Hole { kind, venue, market, symbol, .. } = hole;
            let is_good = matches!(&*hole.state, "lost" | "open");
            table.add_row::<Vec<Cell>>(vec![
                Cell::new(&hole.date),
                Cell::new(format!("{kind} {venue}/{market}/{symbol}")),
                Cell::new(hole.after_id),
                Cell::new(hole.before_id),
                Cell::new(hole.ids),
                output::judged(&hole.state, is_good),
                Cell::new(action(hole)),
            ]);
        }
        output::table(table)?;
    }
    output::remark(summary(audit))
}

/// What was done about a hole, or why nothing was.
fn action(hole: &Hole) -> String {
    match (&hole.gap_id, &hole.reason) {
        (Some(gap_id), _) => format!("{}: {gap_id}", hole.action),
        (None, Some(reason)) => format!("{}: {reason}", hole.action),
        (None, None) => hole.action.clone(),
    }
}

fn summary(audit: &Audit) -> String {
    let Audit { first_day, last_day, streams, rows, .. } = audit;
    let found = match (audit.ids_missing, audit.ids_unexplained) {
        (0, _) => "no id is missing".to_owned(),
        (missing, 0) => format!("{missing} ids are missing, all accounted for by gap records"),
        (missing, unexplained) => {
            format!("{missing} ids are missing, {unexplained} of them unaccounted for")
        }
    };
    let (listed, total) = (audit.holes.len(), audit.holes_total);
    let more = match (listed < total, audit.truncated) {
        (true, _) => format!("; {listed} of {total} holes are listed"),
        (false, true) => "; there are more than are listed".to_owned(),
        (false, false) => String::new(),
    };
    format!("{first_day} to {last_day}: {streams} streams, {rows} rows, {found}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing;
    use crate::testing::line;

    fn answer(complete: bool) -> String {
        let hole = serde_json::json!({
            "date": "2026-05-10", "kind": "trade", "venue": "binance", "market": "spot",
            "symbol": "BTC-USDT", "after_id": 20, "before_id": 30, "ids": 9,
            "state": "unexplained", "gaps": [], "action": "backfill_not_started",
            "gap_id": null, "reason": "the collector is away"});
        serde_json::json!({
            "first_day": "2026-05-09", "last_day": "2026-05-10", "complete": complete,
            "streams": 2, "rows": 23, "ids_missing": 17, "ids_unexplained": 13,
            "holes_total": 3, "backfills_started": 0, "backfills_failed": 1,
            "truncated": true, "days": [], "holes": [hole]})
        .to_string()
    }

    #[test]
    fn days_are_asked_for_as_a_whole() {
        let args: Args = line("audit --start 2026-05-01 --end 2026-05-02 --kind trade --backfill");
        let wish = serde_json::to_value(wish(&args).unwrap()).unwrap();
        let expected = serde_json::json!({
            "start": "2026-05-01T00:00:00Z", "end": "2026-05-03T00:00:00Z",
            "kinds": ["trade"], "backfill": true});
        assert_eq!(wish, expected);
    }

    #[test]
    fn what_was_found_is_one_line_and_a_hole_says_why_nothing_was_done() {
        let mut audit: Audit = serde_json::from_str(&answer(false)).unwrap();
        let expected = "2026-05-09 to 2026-05-10: 2 streams, 23 rows, 17 ids are missing, 13 of \
                        them unaccounted for; 1 of 3 holes are listed";
        assert_eq!(summary(&audit), expected);
        assert_eq!(action(&audit.holes[0]), "backfill_not_started: the collector is away");
        (audit.ids_unexplained, audit.holes_total, audit.truncated) = (0, 1, false);
        assert!(summary(&audit).ends_with("17 ids are missing, all accounted for by gap records"));
        audit.ids_missing = 0;
        assert!(summary(&audit).ends_with("no id is missing"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_long_is_waited_for() {
        let mut progress = Progress::new(false);
        let late = async {
            tokio::time::sleep(TICK + TICK / 2).await;
            Ok(7)
        };
        assert_eq!(waited(late, &mut progress).await.unwrap(), 7);
        let failed = async { anyhow::bail!("the storage is away") };
        assert!(waited::<u8>(failed, &mut progress).await.is_err());
    }

    #[tokio::test]
    async fn the_exit_code_says_whether_every_id_is_accounted_for() {
        for (complete, json, expected) in
            [(true, false, ExitCode::SUCCESS), (false, true, ExitCode::FAILURE)]
        {
            let (target, served) = testing::answer("200 OK", &answer(complete));
            let args = Args { target, json, ..line("audit --symbol BTC-USDT") };
            assert_eq!(run(&args, &Suite::default()).await.unwrap(), expected);
            let (head, body) = served.join().unwrap();
            assert!(head.starts_with("POST /api/v1/storage/audit "), "{head}");
            assert_eq!(body, "{\"symbol\":\"BTC-USDT\",\"backfill\":false}");
        }
    }
}
