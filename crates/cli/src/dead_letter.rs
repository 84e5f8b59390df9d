//! `marketprism dead-letter`: rows that could not be stored.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use http::Method;
use model::Kind;
use serde::{Deserialize, Serialize};
use settings::{Endpoint, Suite};
use wire::Reason;

use crate::output;
use crate::service::{Access, Service};

/// How long one page may take: a redrive publishes its rows one after the other.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Largest answer that is read: a page of the largest rows there are.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Letters asked for at a time.
const PAGE: usize = 100;

/// How much of a row a table shows, in characters.
const ROW_SHOWN: usize = 60;

const EXAMPLES: &str = "\
Rows that storage cannot read, or that the store refuses, are set aside as dead letters with the
reason. Put right what was wrong, then redrive them: they are stored once, however often. Discard
prints those that can never be stored and removes them: nobody else has them then.

Examples:
  sudo marketprism dead-letter list
  sudo marketprism dead-letter list --kind trade --json | jq '.dead_letters[].detail'
  sudo marketprism dead-letter redrive --dry-run
  sudo marketprism dead-letter redrive --reason refused
  sudo marketprism dead-letter discard 7 --json >letter-7.json
  sudo marketprism dead-letter discard --through 40 --reason unreadable --dry-run

Exit codes: 0 done, 1 failed, or one cannot be redriven or is not there, 2 wrong usage, 78 wrong configuration";

/// Arguments of `marketprism dead-letter`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The broker's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, global = true, visible_alias = "gateway", value_name = "URL")]
    broker: Option<Endpoint>,
    #[command(flatten)]
    access: Access,
    /// Prints one document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

impl Args {
    /// The broker's HTTP interface.
    fn broker(&self, suite: &Suite) -> anyhow::Result<Service> {
        let (endpoint, listen) = (self.broker.as_ref(), suite.broker.listen);
        Service::new("broker", endpoint, &self.access, listen, ANSWER_BYTES_MAX)
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists rows that could not be stored, with the reason.
    List(Filter),
    /// Puts rows before the store again, and removes their dead letters.
    Redrive {
        #[command(flatten)]
        filter: Filter,
        /// Only says what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Removes dead letters for good, without their rows being stored.
    Discard {
        /// This one letter, by its SEQ in the list.
        #[arg(required_unless_present = "through", conflicts_with = "through")]
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        seq: Option<u64>,
        /// All up to this letter that the filter lets through.
        #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
        through: Option<u64>,
        #[command(flatten)]
        filter: Filter,
        /// Only says what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Filter {
    /// Only of this kind, such as trade or book.
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Only with this reason: unreadable, kind, value or refused.
    #[arg(long, value_name = "REASON")]
    reason: Option<Reason>,
}

/// One letter, as the broker tells it.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    seq: u64,
    time: i64,
    kind: String,
    reason: String,
    detail: String,
    stream: String,
    stream_seq: u64,
    subject: String,
    block: String,
    row: u64,
    json: String,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Letter>,
    next_after: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    seq: u64,
    problem: String,
}

#[derive(Deserialize)]
struct Redriven {
    redriven: usize,
    failed: Vec<Failed>,
    through: u64,
    next_after: Option<u64>,
}

/// What a redrive has done, over all pages.
#[derive(Debug, Default, Serialize)]
struct Summary {
    dry_run: bool,
    redriven: usize,
    failed: Vec<Failed>,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let broker = args.broker(suite)?;
    match &args.action {
        Action::List(filter) => list(&broker, filter, args.json).await,
        Action::Redrive { filter, dry_run } => {
            let summary = redrive(&broker, filter, *dry_run).await?;
            show(&summary, args.json)?;
            Ok(if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Action::Discard { seq, through, filter, dry_run } => {
            let range = match (seq, through) {
                (Some(seq), _) => (seq - 1, *seq),
                (None, through) => (0, through.unwrap_or(0)),
            };
            discard(&broker, filter, range, *dry_run, args.json).await
        }
    }
}

/// Prints letters, then removes them: nobody else has them afterwards.
async fn discard(
    broker: &Service,
    filter: &Filter,
    (after, through): (u64, u64),
    dry_run: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    remove(broker, filter, (after, through), true, &mut found).await?;
    // What comes meanwhile was not seen.
    let Some(last) = found.last().map(|letter| letter.seq) else {
        output::remark("there is no such dead letter; `marketprism dead-letter list` has all")?;
        let one = after + 1 == through;
        return Ok(if one { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    if json {
        output::json(&serde_json::json!({ "dead_letters": found }))?;
    } else {
        output::table(table(&found))?;
    }
    if dry_run {
        output::remark(format!("{} would be removed for good", letters(found.len())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut removed = Vec::new();
    let ended = remove(broker, filter, (after, last), false, &mut removed).await;
    output::remark(format!("{} removed for good", letters(removed.len())))?;
    ended.map(|()| ExitCode::SUCCESS)
}

fn letters(count: usize) -> String {
    format!("{count} dead letter{}", if count == 1 { "" } else { "s" })
}

/// Removes page by page what is there behind a letter and up to another, or only reads it. What is
/// gone is in `removed` also if the rest fails.
async fn remove(
    broker: &Service,
    filter: &Filter,
    (after, through): (u64, u64),
    dry_run: bool,
    removed: &mut Vec<Letter>,
) -> anyhow::Result<()> {
    let mut after = Some(after);
    while let Some(seq) = after {
        let own = format!("dry_run={dry_run}&after={seq}&through={through}&limit={PAGE}");
        let path = format!("/api/v1/broker/dead-letters/discard?{}", filter.query(&own));
        let page: Page = broker.ask(Method::POST, &path, None, TIMEOUT).await?;
        removed.extend(page.data);
        after = page.next_after;
    }
    Ok(())
}

async fn list(broker: &Service, filter: &Filter, json: bool) -> anyhow::Result<ExitCode> {
    let mut letters: Vec<Letter> = Vec::new();
    let mut after = Some(0);
    while let Some(seq) = after {
        let query = filter.query(&format!("after={seq}&limit={PAGE}"));
        let path = format!("/api/v1/broker/dead-letters?{query}");
        let page: Page = broker.ask(Method::GET, &path, None, TIMEOUT).await?;
        letters.extend(page.data);
        after = page.next_after;
    }
    if json {
        output::json(&serde_json::json!({ "dead_letters": letters }))?;
    } else if letters.is_empty() {
        output::remark("no dead letters: every row was stored")?;
    } else {
        output::table(table(&letters))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(letters: &[Letter]) -> comfy_table::Table {
    let mut table = output::new_table(&["SEQ", "TIME", "KIND", "REASON", "DETAIL", "ROW"]);
    for letter in letters {
        let time = jiff::Timestamp::from_nanosecond(i128::from(letter.time))
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
        table.add_row(vec![
            letter.seq.to_string(),
            // A time beyond the calendar is none that storage has written.
            time.unwrap_or_else(|_| letter.time.to_string()),
            letter.kind.clone(),
            letter.reason.clone(),
            letter.detail.clone(),
            beginning(&letter.json),
        ]);
    }
    table
}

/// So much of a row that it can be recognised.
fn beginning(row: &str) -> String {
    let mut shown: String = row.chars().take(ROW_SHOWN).collect();
    if shown.len() < row.len() {
        shown.push('…');
    }
    shown
}

/// Redrives page by page what is there at the beginning; what is refused again comes behind it.
async fn redrive(broker: &Service, filter: &Filter, dry_run: bool) -> anyhow::Result<Summary> {
    let mut summary = Summary { dry_run, ..Summary::default() };
    let (mut after, mut through) = (Some(0), String::new());
    while let Some(seq) = after {
        let own = format!("dry_run={dry_run}&after={seq}&limit={PAGE}{through}");
        let path = format!("/api/v1/broker/dead-letters/redrive?{}", filter.query(&own));
        let page: Redriven =
            broker.ask(Method::POST, &path, None, TIMEOUT).await.with_context(|| {
                format!(
                    "after {} rows; the others still wait and can be redriven",
                    summary.redriven
                )
            })?;
        summary.redriven += page.redriven;
        summary.failed.extend(page.failed);
        through = format!("&through={}", page.through);
        after = page.next_after;
    }
    Ok(summary)
}

fn show(summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(summary);
    }
    for Failed { seq, problem } in &summary.failed {
        output::remark(format!("dead letter {seq} cannot be redriven: {problem}"))?;
    }
    let rows = if summary.redriven == 1 { "row" } else { "rows" };
    let done = if summary.dry_run { "would be put" } else { "put" };
    output::line(format!("{} {rows} {done} before the store again", summary.redriven))
}

impl Filter {
    fn query(&self, rest: &str) -> String {
        let mut query = rest.to_owned();
        for (name, value) in
            [("kind", self.kind.map(Kind::as_str)), ("reason", self.reason.map(Reason::as_str))]
        {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={value}"));
            }
        }
        query
    }
}

#[cfg(test)]
mod tests;
