//! `marketprism archive move`: whole days out of ClickHouse into Parquet files.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use jiff::civil::Date;
use model::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::Suite;

use crate::output;
use crate::service::Target;

/// How long a move may take; what was moved until then stays moved.
const TIMEOUT: Duration = Duration::from_hours(12);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The storage copies a day into the archive, reads it back, compares every row with ClickHouse, and
only then drops the day there. Queries answer as before. An interrupted move is repeated.

Examples:
  sudo marketprism archive move --before 2026-05-01 --dry-run
  sudo marketprism archive move --before 2026-05-01 --kind book

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration")]
pub(super) struct Move {
    /// Days before this one are moved, in UTC.
    #[arg(long, value_name = "DATE")]
    before: Date,
    /// Only this kind, such as trade or book; may be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Only says what would be moved.
    #[arg(long)]
    dry_run: bool,
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// What the storage is asked.
#[derive(Serialize)]
struct Wish {
    before: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<&'static str>>,
    dry_run: bool,
}

/// What is read of its answer; with `--json` all of it is printed.
#[derive(Deserialize)]
struct Moved {
    summary: String,
    moved: Vec<Day>,
}

#[derive(Deserialize)]
struct Day {
    kind: String,
    date: String,
    rows: u64,
    bytes: u64,
}

pub(super) async fn run(args: &Move, suite: &Suite) -> anyhow::Result<ExitCode> {
    let storage = args.target.storage(suite.storage.listen)?;
    let kinds = || args.kinds.iter().map(|kind| kind.as_str()).collect();
    let kinds = (!args.kinds.is_empty()).then(kinds);
    let wish = Wish { before: args.before, kinds, dry_run: args.dry_run };
    let answer: Value = storage.post("/api/v1/storage/cold/archive", &wish, TIMEOUT).await?;
    if args.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Moved { summary, moved } = Moved::deserialize(&answer)?;
    if !moved.is_empty() {
        let mut table = output::new_table(&["DATE", "KIND", "ROWS", "IN CLICKHOUSE"]);
        for Day { kind, date, rows, bytes } in moved {
            let size = Cell::new(output::bytes(bytes));
            table.add_row::<Vec<Cell>>(vec![date.into(), kind.into(), rows.into(), size]);
        }
        output::table(table)?;
    }
    output::remark(summary)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing;

    #[tokio::test]
    async fn a_move_is_asked_for_and_a_refusal_told() {
        let answer = "{\"dry_run\": true, \"summary\": \"1 days would be moved\", \"moved\": \
                      [{\"kind\": \"trade\", \"date\": \"2026-05-01\", \"rows\": 7, \"bytes\": 9}]}";
        let refusal = "{\"detail\": \"trade 2026-05-01: the archive lacks a row\"}";
        for (status, body, json) in
            [("200 OK", answer, false), ("200 OK", answer, true), ("409 Conflict", refusal, false)]
        {
            let (target, served) = testing::answer(status, body);
            let before = "2026-05-02".parse().unwrap();
            let args = Move { before, kinds: vec![Kind::Trade], dry_run: true, json, target };
            match run(&args, &Suite::default()).await {
                Ok(code) => assert_eq!((status, code), ("200 OK", ExitCode::SUCCESS)),
                Err(error) => assert!(error.to_string().contains("lacks a row"), "{error}"),
            }
            let (head, sent) = served.join().unwrap();
            assert!(head.starts_with("POST /api/v1/storage/cold/archive "), "{head}");
            let wish = "{\"before\":\"2026-05-02\",\"kinds\":[\"trade\"],\"dry_run\":true}";
            assert_eq!(sent, wish);
        }
    }
}
