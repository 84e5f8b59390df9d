//! `marketprism streams`: the streams of the message broker.

mod peek;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::{Cell, CellAlignment};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Suite;

use crate::answers::{Consumer, List};
use crate::output;
use crate::service::BrokerTarget;

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
BEHIND is the number of blocks that storage has not acknowledged. A
stream that is full refuses blocks, and the collectors spool them. FULL IN
says when that is if it grows on as in the last quarter of an hour.

Examples:
  sudo marketprism streams
  sudo marketprism streams --json | jq '.streams[] | .used_percent'
  sudo marketprism streams peek MP_TRADE   the newest block

What could not be stored: marketprism dead-letter list.

Exit codes: 0 every stream is as declared, 1 one is not or it failed";

/// Arguments of `marketprism streams`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Prints one document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    target: BrokerTarget,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows the newest messages of a stream, which stay in it.
    Peek(peek::Peek),
}

/// A stream, as far as it is read; with `--json` all of it is printed.
#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    messages: u64,
    bytes: u64,
    bytes_max: u64,
    used_percent: f64,
    /// Absent while it does not grow, and from a broker of the version before.
    #[serde(default)]
    full_in_seconds: Option<u64>,
    last_time: Option<String>,
    /// Fields that are not as declared and cannot be changed.
    differs: Vec<String>,
    problem: Option<String>,
    consumers: Vec<Consumer>,
}

impl Stream {
    /// What is not as it should be.
    fn fault(&self) -> Option<String> {
        let problem = self.problem.clone();
        let differs = || (!self.differs.is_empty()).then(|| self.differs.join("; "));
        let unread = || self.consumers.is_empty().then(|| "nobody reads it".to_owned());
        problem.or_else(differs).or_else(unread)
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let broker = args.target.broker(suite.broker.listen)?;
    if let Some(Action::Peek(peek)) = &args.action {
        return peek::run(peek, &broker, args.json).await;
    }
    let path = "/api/v1/broker/streams";
    let list: List<Value> = broker.ask(Method::GET, path, None, TIMEOUT).await?;
    let streams: Vec<Stream> =
        list.data.iter().map(Stream::deserialize).collect::<Result<_, _>>()?;
    if args.json {
        output::json(&json!({ "streams": list.data }))?;
    } else {
        output::line(table(&streams))?;
    }
    let is_well = streams.iter().all(|stream| stream.fault().is_none());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(streams: &[Stream]) -> String {
    let header = [
        "STREAM", "BLOCKS", "BYTES", "ROOM", "USED", "FULL IN", "BEHIND", "UNACKED", "AGAIN",
        "LAST", "STATE",
    ];
    let mut table = output::new_table(&header);
    for stream in streams {
        let sum = |of: fn(&Consumer) -> u64| stream.consumers.iter().map(of).sum::<u64>();
        let fault = stream.fault();
        // To the second.
        let last = stream.last_time.as_deref().and_then(|time| time.get(..19));
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(&stream.name),
            Cell::new(stream.messages),
            Cell::new(output::bytes(stream.bytes)),
            Cell::new(output::bytes(stream.bytes_max)),
            Cell::new(format!("{:.1} %", stream.used_percent)),
            Cell::new(stream.full_in_seconds.map_or_else(|| "-".to_owned(), output::age)),
            Cell::new(sum(|consumer| consumer.lag)),
            Cell::new(sum(|consumer| consumer.ack_pending)),
            Cell::new(sum(|consumer| consumer.redelivered)),
            Cell::new(last.unwrap_or("-")),
            output::judged(fault.as_deref().unwrap_or("ok"), fault.is_none()),
        ]);
    }
    for index in 1..=8 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    output::render(table)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::large_futures, reason = "a test has its stack to itself")]

    use super::*;
    use crate::testing::{Site, trade};
    use expect_test::expect;
    use model::Kind;

    fn stream() -> Stream {
        let consumer = Consumer { lag: 5, ack_pending: 2, ..Consumer::default() };
        Stream {
            name: "MP_TRADE".to_owned(),
            messages: 12,
            bytes: 7 << 20,
            bytes_max: 1 << 30,
            used_percent: 0.7,
            full_in_seconds: None,
            last_time: Some("2026-05-09T00:00:01.123456789Z".to_owned()),
            differs: Vec::new(),
            problem: None,
            consumers: vec![consumer],
        }
    }

    #[test]
    fn a_stream_that_is_not_as_declared_says_why() {
        let mut differs = stream();
        differs.differs = vec!["retention is limits, not workqueue".to_owned()];
        (differs.last_time, differs.messages) = (None, 0);
        differs.full_in_seconds = Some(129_600);
        expect![[r#"
            STREAM    BLOCKS    BYTES     ROOM   USED  FULL IN  BEHIND  UNACKED  AGAIN  LAST                 STATE
            MP_TRADE      12  7.0 MiB  1.0 GiB  0.7 %        -       5        2      0  2026-05-09T00:00:01  ok
            MP_TRADE       0  7.0 MiB  1.0 GiB  0.7 %   1d 12h       5        2      0  -                    retention is limits, not workqueue"#]]
        .assert_eq(&table(&[stream(), differs]));
        let unread = Stream { consumers: Vec::new(), ..stream() };
        assert_eq!(unread.fault().as_deref(), Some("nobody reads it"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_streams_of_a_broker_at_work_are_well() {
        let mut site = Site::start().await;
        site.store(Kind::Trade, &[trade(1)]).await;
        for json in [false, true] {
            let target = BrokerTarget { broker: None, access: site.target().access };
            let args = Args { json, target, action: None };
            assert_eq!(run(&args, &site.suite).await.unwrap(), ExitCode::SUCCESS);
        }
        site.stop().await;
    }
}
