//! `marketprism book`: the order book that the collector keeps.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use catalog::StreamKey;
use comfy_table::{Cell, CellAlignment};
use http::Method;
use serde::{Deserialize, Serialize};
use settings::Suite;
use units::{Price, Qty};

use crate::live::{Interrupt, Screen, interval};
use crate::output;
use crate::rows::segment;
use crate::service::{CollectorTarget, Service};

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Offers stand above, bids below, the best of each next to the spread;
TOTAL sums up from there. A book that is not in step is not shown.

Examples:
  sudo marketprism book binance/spot/BTC-USDT
  sudo marketprism book okx/perp/BTC-USDT --depth 5 --watch
  sudo marketprism book binance/spot/BTC-USDT --json | jq '.bids[0]'

Ctrl-C ends --watch.

Exit codes: 0 done, 1 failed, 2 wrong usage";

/// Arguments of `marketprism book`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which book: venue/market/symbol, such as binance/spot/BTC-USDT.
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
    /// Levels of each side.
    #[arg(long, value_name = "LEVELS", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=5_000))]
    depth: u64,
    /// Shows it anew every second, or as often as said, such as --watch=500ms.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = interval)]
    watch: Option<Duration>,
    /// Prints one document instead of a table.
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    #[command(flatten)]
    target: CollectorTarget,
}

/// A book, as the collector tells it.
#[derive(Debug, Serialize, Deserialize)]
struct Book {
    venue: String,
    market: String,
    symbol: String,
    last_id: Option<u64>,
    synced: bool,
    age_ms: Option<u64>,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let collector = args.target.collector(suite.collector.listen)?;
    let StreamKey { venue, market, symbol } = &args.stream;
    let (symbol, depth) = (segment(symbol.as_str()), args.depth);
    let path = format!("/api/v1/orderbook/{venue}/{market}/{symbol}?depth={depth}");
    let book = read(&collector, &path).await?;
    if args.json {
        output::json(&book)?;
    } else if let Some(pause) = args.watch {
        watch(&collector, &path, pause, &ladder(&book)?).await?;
    } else {
        output::line(ladder(&book)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(collector: &Service, path: &str) -> anyhow::Result<Book> {
    collector.ask(Method::GET, path, None, TIMEOUT).await
}

/// Shows the book until Ctrl-C; one that falls out of step comes back by itself.
async fn watch(
    collector: &Service,
    path: &str,
    pause: Duration,
    first: &str,
) -> anyhow::Result<()> {
    let (mut interrupt, mut screen) = (Interrupt::new()?, Screen::new());
    screen.show(first)?;
    loop {
        let next = async {
            tokio::time::sleep(pause).await;
            read(collector, path).await.and_then(|book| ladder(&book))
        };
        match interrupt.or(next).await {
            None => return Ok(()),
            Some(Ok(text)) => screen.show(&text)?,
            Some(Err(error)) => screen.show(&output::chain(&error))?,
        }
    }
}

/// A level with the sum up to it.
struct Level {
    price: Price,
    qty: Qty,
    /// Absent if the sum is beyond every number.
    total: Option<Qty>,
}

/// The levels of one side, the best first.
fn side(levels: &[(String, String)]) -> anyhow::Result<Vec<Level>> {
    let mut sum = Some(Qty::from_raw(0));
    let mut level = |(price, qty): &(String, String)| {
        let (price, qty): (Price, Qty) = (price.parse()?, qty.parse()?);
        sum = sum.and_then(|sum| sum.checked_add(qty));
        anyhow::Ok(Level { price, qty, total: sum })
    };
    levels.iter().map(&mut level).collect::<anyhow::Result<_>>().context("read a level")
}

/// The book as text.
fn ladder(book: &Book) -> anyhow::Result<String> {
    let (bids, asks) = (side(&book.bids)?, side(&book.asks)?);
    let Book { venue, market, symbol, .. } = book;
    let mut text = format!("{venue}/{market}/{symbol}");
    if let Some(id) = book.last_id {
        text.push_str(&format!(", update {id}"));
    }
    if let Some(age) = book.age_ms {
        text.push_str(&format!(", {age} ms old"));
    }
    let mut table = output::new_table(&["SIDE", "PRICE", "QTY", "TOTAL"]);
    for level in asks.iter().rev() {
        table.add_row(cells(output::judged("ask", false), level));
    }
    let spread = asks.first().zip(bids.first());
    if let Some((ask, bid)) = spread {
        let spread = ask.price.checked_sub(bid.price).map(|spread| spread.to_string());
        table.add_row(vec!["spread".to_owned(), spread.unwrap_or_default()]);
        if bid.price >= ask.price {
            text.push_str(", crossed: its best bid is not below its best ask");
        }
    }
    for level in &bids {
        table.add_row(cells(output::judged("bid", true), level));
    }
    for index in 1..=3 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(format!("{text}\n\n{}", output::render(table)))
}

fn cells(side: Cell, level: &Level) -> Vec<Cell> {
    let total = level.total.map_or_else(|| "-".to_owned(), |total| total.to_string());
    vec![side, Cell::new(level.price), Cell::new(level.qty), Cell::new(total)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing;
    use expect_test::expect;

    fn book(bids: &[(&str, &str)], asks: &[(&str, &str)]) -> Book {
        let levels = |levels: &[(&str, &str)]| {
            levels.iter().map(|(price, qty)| ((*price).to_owned(), (*qty).to_owned())).collect()
        };
        Book {
            venue: "binance".to_owned(),
            market: "spot".to_owned(),
            symbol: "BTC-USDT".to_owned(),
            last_id: Some(10),
            synced: true,
            age_ms: Some(3),
            bids: levels(bids),
            asks: levels(asks),
        }
    }

    #[test]
    fn the_best_levels_meet_at_the_spread_and_sums_are_exact() {
        let book = book(&[("100", "0.1"), ("99", "0.2")], &[("101.5", "3"), ("102", "10")]);
        expect![[r#"
            binance/spot/BTC-USDT, update 10, 3 ms old

            SIDE    PRICE  QTY  TOTAL
            ask       102   10     13
            ask     101.5    3      3
            spread    1.5
            bid       100  0.1    0.1
            bid        99  0.2    0.3"#]]
        .assert_eq(&ladder(&book).unwrap());
    }

    #[test]
    fn a_crossed_or_an_empty_book_is_said_to_be_so() {
        let text = ladder(&book(&[("101", "1")], &[("101", "1")])).unwrap();
        assert!(text.contains("crossed"), "{text}");
        let text = ladder(&book(&[], &[])).unwrap();
        assert!(text.ends_with("SIDE  PRICE  QTY  TOTAL"), "{text}");
        assert!(ladder(&book(&[("x", "1")], &[])).is_err());
    }

    #[tokio::test]
    async fn a_book_that_is_not_in_step_is_an_error_with_the_collectors_words() {
        let body = "{\"detail\": \"the book is not in step: awaiting a snapshot\"}";
        let (target, served) = testing::answer("503 Service Unavailable", body);
        let args = Args {
            stream: "binance/spot/BTC-USDT".parse().unwrap(),
            depth: 7,
            watch: None,
            json: false,
            target: CollectorTarget { collector: target.storage, access: target.access },
        };
        let error = run(&args, &Suite::default()).await.unwrap_err().to_string();
        assert!(error.contains("awaiting a snapshot"), "{error}");
        let (head, _) = served.join().unwrap();
        let target = "GET /api/v1/orderbook/binance/spot/BTC-USDT?depth=7 ";
        assert!(head.starts_with(target), "{head}");
    }
}
