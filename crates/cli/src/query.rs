//! `marketprism query`: stored rows of one stream, page by page.

mod file;
pub(crate) mod sheet;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use catalog::StreamKey;
use clap::ValueEnum;
use http::Method;
use jiff::Timestamp;
use model::Kind;
use serde::Deserialize;
use settings::Suite;

use crate::output::{self, Print, Progress};
use crate::pager::Pager;
use crate::rows::{PAGE, Rows, TIMEOUT, address};
use crate::service::{Service, Target};
use crate::when;
use file::{Draft, Query};
use sheet::{Sheet, Text};

/// Rows of a table if nobody says how many: some screens.
const TABLE_ROWS: u64 = 100;

const EXAMPLES: &str = "\
Kinds: trade, agg_trade, book, bbo, ticker, kline, mark, funding,
open_interest, liquidation, long_short_ratio, volatility_index, gap.

The oldest rows come first. A table has 100 rows unless --limit says
otherwise, every other format all of them, as they come. Times that
have no zone are UTC; --since is included, --until is not. On a
terminal a table goes through $PAGER, or less if that is not set.
--estimate is of all rows unless --limit says otherwise, and of JSON
for every format but arrow.

--output writes into FILE.part, and names it FILE once every row is
there. If it is interrupted, or the storage goes away, the same
command goes on with it; only arrow begins anew. Without --until it
ends where the first of them began. Relative times are others each
time, so give --since a date.

Examples:
  sudo marketprism query trade binance/spot/BTC-USDT --since -1h
  sudo marketprism query funding okx/perp/BTC-USDT --newest --limit 3
  sudo marketprism query kline binance/spot/BTC-USDT --format csv \\
      --fields open_time,close,volume --since 2026-05-01 >candles.csv
  sudo marketprism query trade deribit/perp/BTC-USD --format jsonl
  sudo marketprism query book okx/perp/BTC-USDT --format tardis \\
      --since 2026-05-09 --until 2026-05-10 | gzip >book.csv.gz
  sudo marketprism query trade binance/spot/BTC-USDT --format arrow \\
      --since 2026-05-09 --until 2026-05-10 >trades.arrows
  sudo marketprism query trade okx/perp/BTC-USDT -o trades.csv \\
      --since 2026-05-01 --until 2026-06-01
  sudo marketprism query book okx/perp/BTC-USDT --since -7d --estimate
  marketprism query gap --gateway https://HOST:8080 --key-file KEY

The last one asks a gateway elsewhere; KEY is a file with an API key.

Exit codes: 0 done, 1 failed, 2 wrong usage";

/// Arguments of `marketprism query`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What kind of rows.
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Of which stream: venue/market/symbol, such as binance/spot/BTC-USDT; may be left out for
    /// gaps.
    #[arg(value_name = "STREAM")]
    stream: Option<StreamKey>,
    /// Only rows from this time on, such as 2026-05-09, -1h or yesterday.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Only rows before this time.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// At most so many rows.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The newest rows first.
    #[arg(long)]
    newest: bool,
    /// How the rows are written: a table, or what FILE ends with.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Writes the rows into a file, and goes on with one that is not complete.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["estimate", "no_pager"])]
    output: Option<PathBuf>,
    /// Only these fields, in this order.
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    fields: Vec<String>,
    /// Says how many rows and bytes there would be, and prints none.
    #[arg(long, conflicts_with = "fields")]
    estimate: bool,
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
    /// One array.
    Json,
    /// One object a line.
    Jsonl,
    /// A header and a line for each row, quoted as RFC 4180 says.
    Csv,
    /// The CSV datasets of Tardis, for programs that read those.
    Tardis,
    /// An Arrow IPC stream, into a file or a pipe.
    Arrow,
}

impl Format {
    /// The form of text; `None` if it is no text.
    const fn text(self) -> Option<Text> {
        Some(match self {
            Self::Table => Text::Table,
            Self::Json => Text::Json,
            Self::Jsonl => Text::Jsonl,
            Self::Csv => Text::Csv,
            Self::Tardis => Text::Tardis,
            Self::Arrow => return None,
        })
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let format = format(args)?;
    let (path, parameters) = question(args, format)?;
    let storage = args.target.storage(suite.storage.listen)?;
    if args.estimate {
        let estimate = estimate(&storage, parameters, args, format).await?;
        output::line(estimate.told(format))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(target) = &args.output {
        let told = save(&storage, target, path, parameters, args, format).await?;
        output::remark(told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(text) = format.text() else {
        if output::is_terminal() {
            bail!("--format arrow is no text: add --output FILE, or | and a program that reads it");
        }
        export(&storage, path, parameters, args.limit, &mut output::raw).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let sheet = Sheet::new(text, args.kind, &args.fields)?;
    let rows = Rows::new(&storage, path, parameters);
    let is_paged = format == Format::Table && !args.no_pager;
    let remark = match is_paged.then(Pager::start).flatten() {
        Some(mut pager) => write(rows, sheet, args, &mut |text: &str| pager.text(text)).await?,
        None => write(rows, sheet, args, &mut output::text).await?,
    };
    if let Some(remark) = remark {
        output::remark(remark)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How the rows are written.
fn format(args: &Args) -> anyhow::Result<Format> {
    let Some(target) = &args.output else { return Ok(args.format.unwrap_or(Format::Table)) };
    let name = target.extension().and_then(|name| name.to_str()).unwrap_or_default();
    match args.format {
        Some(Format::Table) => bail!("a table is for a person: name another --format for a file"),
        Some(format) => Ok(format),
        None => Ok(match name {
            "csv" => Format::Csv,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::Jsonl,
            "arrow" | "arrows" => Format::Arrow,
            _ => bail!(
                "{} ends with none of .csv, .json, .jsonl and .arrows: say the --format",
                target.display()
            ),
        }),
    }
}

/// Writes the rows into a file, or those that it lacks; returns what is to be said of it afterwards.
async fn save(
    storage: &Service,
    target: &Path,
    path: &'static str,
    mut parameters: Vec<(&'static str, String)>,
    args: &Args,
    format: Format,
) -> anyhow::Result<String> {
    parameters.retain(|(name, _)| *name != "end");
    let query = named(args, format, path, &parameters)?;
    let sheet = format.text().map(|text| Sheet::new(text, args.kind, &args.fields)).transpose()?;
    let mut draft = Draft::open(target, query, when::nanos(Timestamp::now())?)?;
    parameters.push(("end", draft.until().to_string()));
    let goes_on = || format!("the same command goes on with {}.part", target.display());
    match sheet {
        Some(sheet) => {
            let rows = Rows::new(storage, path, parameters).behind(draft.cursor());
            fill(&mut draft, rows, sheet, args.limit).await.with_context(goes_on)?;
        }
        None => {
            draft.begin_anew()?;
            export(storage, path, parameters, args.limit, &mut |data| draft.append(data)).await?;
        }
    }
    let size = output::bytes(draft.bytes());
    let rows = format.text().map(|_| format!("{} rows, ", draft.rows())).unwrap_or_default();
    draft.finish()?;
    Ok(format!("{}: {rows}{size}", target.display()))
}

/// What tells the file of a query from that of another.
fn named(
    args: &Args,
    format: Format,
    path: &str,
    parameters: &[(&'static str, String)],
) -> anyhow::Result<Query> {
    let format = format.to_possible_value().context("a format has a name")?;
    Ok(Query {
        path: path.to_owned(),
        parameters: parameters.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect(),
        format: format.get_name().to_owned(),
        fields: args.fields.clone(),
        limit: args.limit,
        until: args.until.map(when::nanos).transpose()?,
    })
}

/// Writes the rows that a file of text lacks.
async fn fill(
    draft: &mut Draft,
    mut rows: Rows<'_>,
    mut sheet: Sheet,
    limit: Option<u64>,
) -> anyhow::Result<()> {
    if draft.is_new() {
        draft.append(sheet.begin().as_bytes())?;
    } else {
        output::remark(format!("going on behind {} rows", draft.rows()))?;
    }
    sheet.go_on(draft.rows());
    let (limit, mut progress) = (limit.unwrap_or(u64::MAX), Progress::new(true));
    let is_behind = |draft: &Draft| draft.rows() > 0 && draft.cursor().is_none();
    while draft.rows() < limit && !is_behind(draft) {
        let Some(page) = rows.next((limit - draft.rows()).min(PAGE)).await? else { break };
        draft.append(sheet.page(&page)?.as_bytes())?;
        draft.keep(page.len() as u64, rows.cursor())?;
        progress.show(&format!("{} rows, {}", draft.rows(), output::bytes(draft.bytes())))?;
    }
    progress.end()?;
    draft.append(sheet.end().as_bytes())
}

/// Writes the rows as they come; returns what is to be said of them afterwards.
async fn write(
    mut rows: Rows<'_>,
    mut sheet: Sheet,
    args: &Args,
    print: Print<'_>,
) -> anyhow::Result<Option<String>> {
    let default = if sheet.is_table() { TABLE_ROWS } else { u64::MAX };
    let limit = args.limit.unwrap_or(default);
    // On a terminal the rows themselves show how far it is.
    let mut progress = Progress::new(!output::is_terminal());
    let mut written = 0;
    print(sheet.begin())?;
    while written < limit {
        let page = rows
            .next((limit - written).min(PAGE))
            .await
            .with_context(|| format!("{written} rows were written, the others are missing"))?;
        let Some(page) = page else { break };
        written += page.len() as u64;
        print(&sheet.page(&page)?)?;
        progress.show(&format!("{written} rows"))?;
    }
    progress.end()?;
    print(&sheet.end())?;
    let remark = if !sheet.is_table() {
        None
    } else if written == 0 {
        Some("no rows: marketprism audit says what is stored".to_owned())
    } else if args.limit.is_none() && rows.has_more() {
        Some(format!("the first {written} rows; --limit has more"))
    } else {
        None
    };
    Ok(remark)
}

/// `/api/v1/storage/estimate`.
#[derive(Debug, Deserialize)]
struct Estimate {
    rows: u64,
    bytes: u64,
    bytes_margin: u64,
}

impl Estimate {
    fn told(&self, format: Format) -> String {
        let Self { rows, bytes, bytes_margin } = *self;
        let form = if format == Format::Arrow { "an Arrow stream" } else { "JSON" };
        let margin = match bytes_margin {
            0 => String::new(),
            margin => format!(", give or take {}", output::bytes(margin)),
        };
        format!("{rows} rows, {} as {form}{margin}", output::bytes(bytes))
    }
}

/// Asks how much the storage would send.
async fn estimate(
    storage: &Service,
    mut parameters: Vec<(&'static str, String)>,
    args: &Args,
    format: Format,
) -> anyhow::Result<Estimate> {
    parameters.retain(|(name, _)| *name != "kind");
    parameters.push(("kind", args.kind.to_string()));
    if format == Format::Arrow {
        parameters.push(("format", "arrow".to_owned()));
    }
    parameters.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    storage.ask(Method::GET, &address("estimate", &parameters), None, TIMEOUT).await
}

/// Writes all rows as the storage sends them.
async fn export(
    storage: &Service,
    path: &str,
    mut parameters: Vec<(&'static str, String)>,
    limit: Option<u64>,
    write: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    parameters.push(("format", "arrow".to_owned()));
    parameters.extend(limit.map(|limit| ("limit", limit.to_string())));
    let (mut progress, mut written) = (Progress::new(true), 0);
    let take = |data: &[u8]| {
        write(data)?;
        written += data.len() as u64;
        progress.tell(|| output::bytes(written))
    };
    let taken = storage.download(&address(path, &parameters), TIMEOUT, take).await;
    progress.end()?;
    let missing = || format!("{} were written, the others are missing", output::bytes(written));
    taken.with_context(missing)
}

/// Where the rows of a kind are, and what is asked for.
fn question(
    args: &Args,
    format: Format,
) -> anyhow::Result<(&'static str, Vec<(&'static str, String)>)> {
    let Some(path) = path(args.kind) else {
        bail!("the storage has no query for {}: see marketprism stream", args.kind);
    };
    if args.newest && format == Format::Tardis {
        bail!("--format tardis has the oldest rows first: leave out --newest");
    }
    if !args.fields.is_empty() && format == Format::Arrow {
        bail!("--format arrow has every column: leave out --fields");
    }
    let mut parameters = Vec::new();
    match &args.stream {
        Some(StreamKey { venue, market, symbol }) => {
            parameters.push(("venue", venue.to_string()));
            parameters.push(("market", market.to_string()));
            parameters.push(("symbol", symbol.to_string()));
        }
        None if args.kind == Kind::Gap => {}
        None => bail!("of which stream? give venue/market/symbol, such as binance/spot/BTC-USDT"),
    }
    if args.kind == Kind::AggTrade {
        parameters.push(("kind", args.kind.to_string()));
    }
    for (name, time) in [("start", args.since), ("end", args.until)] {
        if let Some(time) = time {
            parameters.push((name, when::nanos(time)?.to_string()));
        }
    }
    if args.newest {
        parameters.push(("order", "desc".to_owned()));
    }
    Ok((path, parameters))
}

/// The last segment of the address of a kind's rows.
const fn path(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Trade | Kind::AggTrade => "trades",
        Kind::Book => "books",
        Kind::Bbo => "bbo",
        Kind::Ticker => "tickers",
        Kind::Kline => "klines",
        Kind::Mark => "marks",
        Kind::Funding => "funding",
        Kind::OpenInterest => "open-interest",
        Kind::Liquidation => "liquidations",
        Kind::LongShortRatio => "ratios",
        Kind::VolatilityIndex => "volatility",
        Kind::Gap => "gaps",
        Kind::Status => return None,
    })
}

#[cfg(test)]
mod tests;
