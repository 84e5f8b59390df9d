//! `marketprism backfill`: has trades fetched that are missing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use catalog::StreamKey;
use http::Method;
use jiff::Timestamp;
use model::Kind;
use serde::{Deserialize, Serialize};
use settings::Suite;

use crate::live::Interrupt;
use crate::output::{self, Progress};
use crate::service::{CollectorTarget, Service};
use crate::when;

/// How long an answer may take: the record of the gap is made durable first.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often the collector is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Has the collector fetch the trades between two ids over REST. The ids
are those of marketprism gaps and marketprism audit; `marketprism
audit --backfill` does it for all that is not accounted for.

Examples:
  sudo marketprism backfill trade binance/spot/BTC-USDT --after 100 \\
      --before 200 --wait
  sudo marketprism backfill agg_trade binance/perp/BTC-USDT \\
      --after 7 --before 9 --since 2026-05-09 --until 2026-05-10

--since and --until say when the trades happened: the gap then counts
for those days. Ctrl-C ends --wait and not the backfill.

Exit codes: 0 asked for or healed, 1 failed or lost, 2 wrong usage";

/// Arguments of `marketprism backfill`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What is missing: `trade` or `agg_trade`.
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Of which stream: venue/market/symbol, such as binance/spot/BTC-USDT.
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
    /// The last id that is there before what is missing.
    #[arg(long, value_name = "ID")]
    after: u64,
    /// The first id that is there behind it.
    #[arg(long, value_name = "ID")]
    before: u64,
    /// From when on it happened.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Until when it happened.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Waits until the gap is healed or lost.
    #[arg(long)]
    wait: bool,
    /// Prints one document instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: CollectorTarget,
}

/// What the collector is asked.
#[derive(Serialize)]
struct Order {
    venue: &'static str,
    market: &'static str,
    symbol: String,
    kind: &'static str,
    after_id: u64,
    before_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// What it answers.
#[derive(Debug, Deserialize)]
struct Ordered {
    gap_id: String,
    missing: u64,
}

/// `/api/v1/collector/gaps`: the newest records, newest first, and the gaps that are open.
#[derive(Debug, Default, Deserialize)]
struct Gaps {
    data: Vec<Record>,
    open: Vec<Open>,
}

#[derive(Debug, Deserialize)]
struct Record {
    gap_id: String,
    version: u64,
    state: String,
}

#[derive(Debug, Deserialize)]
struct Open {
    gap_id: String,
    missing: u64,
}

/// What has become of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is being fetched; so many ids are missing, if that is known.
    Open(Option<u64>),
    Healed,
    Lost,
    /// The collector tells of it no longer.
    Forgotten,
}

impl Fate {
    /// What the collector's answer says of a gap.
    fn of(gap_id: &str, gaps: &Gaps) -> Fate {
        if let Some(open) = gaps.open.iter().find(|open| open.gap_id == gap_id) {
            return Fate::Open(Some(open.missing));
        }
        let records = gaps.data.iter().filter(|record| record.gap_id == gap_id);
        match records.max_by_key(|record| record.version).map(|record| record.state.as_str()) {
            Some("healed") => Fate::Healed,
            Some("lost") => Fate::Lost,
            Some(_) => Fate::Open(None),
            None => Fate::Forgotten,
        }
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let collector = args.target.collector(suite.collector.listen)?;
    let path = "/api/v1/collector/backfill";
    let ordered: Ordered = collector.post(path, &order(args)?, TIMEOUT).await?;
    let Ordered { gap_id, missing } = &ordered;
    if !args.json {
        output::remark(format!("{missing} ids are asked for, as the gap {gap_id}"))?;
    }
    let fate = if args.wait {
        Box::pin(wait(&collector, &ordered)).await?
    } else {
        Fate::Open(Some(*missing))
    };
    let (state, remark) = match fate {
        Fate::Open(_) => ("open", "the backfill goes on: marketprism gaps says how far it is"),
        Fate::Healed => ("healed", "the gap is healed"),
        Fate::Lost => ("lost", "the gap is lost: the venue does not have all of it"),
        Fate::Forgotten => bail!("the collector tells no longer of {gap_id}: marketprism gaps"),
    };
    if args.json {
        let document = serde_json::json!({"gap_id": gap_id, "missing": missing, "state": state});
        output::json(&document)?;
    } else {
        output::remark(remark)?;
    }
    Ok(if fate == Fate::Lost { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn order(args: &Args) -> anyhow::Result<Order> {
    if args.before.saturating_sub(args.after) < 2 {
        bail!("no id is between --after {} and --before {}", args.after, args.before);
    }
    let StreamKey { venue, market, symbol } = &args.stream;
    Ok(Order {
        venue: venue.as_str(),
        market: market.as_str(),
        symbol: symbol.to_string(),
        kind: args.kind.as_str(),
        after_id: args.after,
        before_id: args.before,
        since: args.since.map(when::nanos).transpose()?,
        until: args.until.map(when::nanos).transpose()?,
    })
}

/// Waits until the gap is open no more, or Ctrl-C.
async fn wait(collector: &Service, ordered: &Ordered) -> anyhow::Result<Fate> {
    let (mut interrupt, mut progress) = (Interrupt::new()?, Progress::new(true));
    let fate = loop {
        let look = async {
            tokio::time::sleep(LOOK_EVERY).await;
            let path = "/api/v1/collector/gaps?limit=1000";
            collector.ask::<Gaps>(Method::GET, path, None, TIMEOUT).await
        };
        let Some(gaps) = interrupt.or(Box::pin(look)).await else { break Fate::Open(None) };
        let gaps = gaps.context("the backfill goes on, but it cannot be watched")?;
        match Fate::of(&ordered.gap_id, &gaps) {
            Fate::Open(missing) => {
                if let Some(missing) = missing {
                    let done = ordered.missing.saturating_sub(missing);
                    progress.show(&format!("{done} of {} ids fetched", ordered.missing))?;
                }
            }
            fate @ (Fate::Healed | Fate::Lost | Fate::Forgotten) => break fate,
        }
    };
    progress.end()?;
    Ok(fate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing;
    use crate::testing::line;

    #[test]
    fn the_fate_of_a_gap_is_what_its_newest_record_says() {
        let record = |gap_id: &str, version, state: &str| Record {
            gap_id: gap_id.to_owned(),
            version,
            state: state.to_owned(),
        };
        let mut gaps = Gaps { data: vec![record("a", 1, "open")], open: Vec::new() };
        assert_eq!(Fate::of("a", &gaps), Fate::Open(None));
        assert_eq!(Fate::of("b", &gaps), Fate::Forgotten);
        gaps.data.insert(0, record("a", 2, "healed"));
        gaps.data.insert(0, record("b", 2, "lost"));
        assert_eq!(Fate::of("a", &gaps), Fate::Healed);
        assert_eq!(Fate::of("b", &gaps), Fate::Lost);
        gaps.open.push(Open { gap_id: "a".to_owned(), missing: 7 });
        assert_eq!(Fate::of("a", &gaps), Fate::Open(Some(7)));
    }

    #[tokio::test]
    async fn the_collector_is_asked_for_the_ids_between_and_for_those_days() {
        let body = "{\"gap_id\": \"g\", \"missing\": 99}";
        let (target, served) = testing::answer("202 Accepted", body);
        let text = "backfill trade binance/spot/BTC-USDT --after 100 --before 200 --since \
                    2026-05-09";
        let target = CollectorTarget { collector: target.storage, access: target.access };
        let args = Args { target, ..line(text) };
        assert_eq!(run(&args, &Suite::default()).await.unwrap(), ExitCode::SUCCESS);
        let (head, body) = served.join().unwrap();
        assert!(head.starts_with("POST /api/v1/collector/backfill "), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected = serde_json::json!({
            "venue": "binance", "market": "spot", "symbol": "BTC-USDT", "kind": "trade",
            "after_id": 100, "before_id": 200, "since": 1_778_284_800_000_000_000_i64});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_range_without_an_id_is_refused_before_anybody_is_asked() {
        for ids in ["--after 5 --before 6", "--after 6 --before 5"] {
            let args: Args = line(&format!("backfill trade okx/perp/BTC-USDT {ids}"));
            assert!(order(&args).err().unwrap().to_string().contains("no id is between"));
        }
    }
}
