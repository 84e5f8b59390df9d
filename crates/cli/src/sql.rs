//! `marketprism sql`: a statement that reads, run by ClickHouse within the limits of its storage.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::Cell;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use settings::Suite;

use crate::output;
use crate::pager::Pager;
use crate::query::sheet::{record, text};
use crate::service::Target;

/// Longer than any statement may run that somebody waits for at a terminal; the server ends it
/// before.
const TIMEOUT: Duration = Duration::from_mins(10);

const EXAMPLES: &str = "\
Only with ClickHouse as the store, and a user who may only read as
storage.clickhouse.sql.user: see docs/clickhouse.md. An answer is cut
off at the limits there, and stderr says so. On a terminal a table
goes through $PAGER, or less if that is not set.

Examples:
  sudo marketprism sql 'SELECT kind, symbol, sum(rows) AS rows
      FROM coverage GROUP BY ALL ORDER BY rows DESC'
  sudo marketprism sql 'SELECT * FROM candle_1d' --format csv >days.csv
  marketprism sql 'SELECT 1' --gateway https://HOST:8080 --key-file KEY

The last one asks a gateway elsewhere; KEY is a file with an API key.

Exit codes: 0 done, 1 failed, 2 wrong usage";

/// Arguments of `marketprism sql`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// One statement in ClickHouse's SQL, without a FORMAT.
    #[arg(value_name = "STATEMENT")]
    statement: String,
    /// How the rows are written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Prints a table to the terminal itself.
    #[arg(long)]
    no_pager: bool,
    #[command(flatten)]
    target: Target,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for a person.
    Table,
    /// One document, with the columns and their types.
    Json,
    /// A header and a line for each row, quoted as RFC 4180 says.
    Csv,
}

#[derive(Serialize)]
struct Wish<'a> {
    query: &'a str,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Vec<Box<RawValue>>>,
    /// Which limit has cut it off.
    truncated: Option<String>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let storage = args.target.storage(suite.storage.listen)?;
    let wish = Wish { query: &args.statement };
    // A number may be larger than any of ours: what came is what is printed.
    let document: Box<RawValue> = storage.post("/api/v1/storage/sql", &wish, TIMEOUT).await?;
    let answer: Answer = serde_json::from_str(document.get()).context("read the answer")?;
    match args.format {
        Format::Json => output::line(document.get())?,
        Format::Csv => output::text(&csv(&answer))?,
        Format::Table => {
            let table = format!("{}\n", table(&answer));
            match (!args.no_pager).then(Pager::start).flatten() {
                Some(mut pager) => pager.text(&table)?,
                None => output::text(&table)?,
            }
        }
    }
    if let Some(limit) = &answer.truncated {
        let rows = answer.rows.len();
        output::remark(format_args!(
            "the answer ends after {rows} rows, at storage.clickhouse.sql.{limit}_max"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn csv(answer: &Answer) -> String {
    let header = record(answer.columns.iter().map(|column| column.name.clone()));
    let rows = answer.rows.iter().map(|row| record(row.iter().map(|value| shown(value, ""))));
    std::iter::once(header).chain(rows).collect()
}

fn table(answer: &Answer) -> String {
    let header: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let mut table = output::new_table(&header);
    for row in &answer.rows {
        let cells = row.iter().map(|value| Cell::new(shown(value, "-")));
        table.add_row::<Vec<Cell>>(cells.collect());
    }
    output::render(table)
}

/// A value without the quotes of JSON, or what stands for none.
fn shown(value: &RawValue, null: &str) -> String {
    if value.get() == "null" { null.to_owned() } else { text(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing;

    const ANSWER: &str = r#"{"columns": [{"name": "a", "type": "UInt256"},
        {"name": "b", "type": "Nullable(String)"}], "rows":
        [[115792089237316195423570985008687907853269984665640564039457584007913129639935, null],
        [2, "x, y"]], "truncated": "rows", "elapsed_ms": 3}"#;

    #[test]
    fn rows_are_written_without_a_digit_less() {
        let answer: Answer = serde_json::from_str(ANSWER).unwrap();
        let large =
            "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(csv(&answer), format!("a,b\n{large},\n2,\"x, y\"\n"));
        let table = table(&answer);
        let words: Vec<&str> = table.split_whitespace().collect();
        assert_eq!(words, ["a", "b", large, "-", "2", "x,", "y"]);
    }

    #[tokio::test]
    async fn a_statement_is_sent_as_it_is_and_a_refusal_told() {
        let refusal = r#"{"detail": "Code: 497. DB::Exception: Not enough privileges"}"#;
        for (status, body, format) in [
            ("200 OK", ANSWER, Format::Table),
            ("200 OK", ANSWER, Format::Json),
            ("200 OK", ANSWER, Format::Csv),
            ("403 Forbidden", refusal, Format::Table),
        ] {
            let (target, served) = testing::answer(status, body);
            let statement = "SELECT 'what?'".to_owned();
            let args = Args { statement, format, no_pager: true, target };
            match run(&args, &Suite::default()).await {
                Ok(code) => assert_eq!((status, code), ("200 OK", ExitCode::SUCCESS)),
                Err(error) => assert!(error.to_string().contains("privileges"), "{error}"),
            }
            let (head, sent) = served.join().unwrap();
            assert!(head.starts_with("POST /api/v1/storage/sql "), "{head}");
            assert_eq!(sent, "{\"query\":\"SELECT 'what?'\"}");
        }
    }
}
