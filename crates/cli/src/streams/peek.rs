//! `marketprism streams peek`: the newest messages of a stream, read and left where they are.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::Decoder;

use crate::answers::List;
use crate::output;
use crate::service::Service;

/// How long the answer may take: the broker reads one message after the other.
const TIMEOUT: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
The events go to stdout, one a line; what is said of the messages goes to
stderr. Nothing is acknowledged or removed: storage gets them all the same.

Examples:
  sudo marketprism streams peek MP_TRADE
  sudo marketprism streams peek MP_BOOK --last 5 | jq .symbol
  sudo marketprism streams peek MP_TRADE --json | jq '.messages[].block'

Exit codes: 0 done, 1 failed or an event could not be read, 2 wrong usage";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Peek {
    /// The stream, such as `MP_TRADE`.
    #[arg(value_name = "STREAM")]
    stream: String,
    /// How many messages, from 1 to 100; fewer if they are large.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    last: u8,
}

/// A message as the broker answers it.
#[derive(Deserialize)]
struct Message {
    seq: u64,
    time: i64,
    subject: String,
    block: Option<String>,
    bytes: u64,
    text: String,
}

/// A message with its events.
#[derive(Serialize)]
struct Decoded {
    seq: u64,
    time: i64,
    subject: String,
    block: Option<String>,
    bytes: u64,
    events: Vec<Box<RawValue>>,
    /// Why lines of it are no events.
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    messages: &'a [Decoded],
}

impl Message {
    /// Reads its lines as storage does.
    fn decode(self, decoder: &mut Decoder) -> Decoded {
        let Self { seq, time, subject, block, bytes, text } = self;
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            match event(line, decoder) {
                Ok(event) => events.push(event),
                Err(error) => unreadable.push(output::chain(&error)),
            }
        }
        Decoded { seq, time, subject, block, bytes, events, unreadable }
    }
}

/// A line that is an event.
fn event(line: &str, decoder: &mut Decoder) -> anyhow::Result<Box<RawValue>> {
    decoder.decode(line.as_bytes())?;
    Ok(RawValue::from_string(line.to_owned())?)
}

impl Decoded {
    /// What is said of it, such as
    /// `12 at 2026-05-09T00:00:01Z, mdb.trade.binance.spot, 3 events, 1.2 KiB`.
    fn headline(&self) -> String {
        let Self { seq, subject, events, .. } = self;
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.time))
            .map_or_else(|_| self.time.to_string(), |time| time.to_string());
        let (count, s) = (events.len(), if events.len() == 1 { "" } else { "s" });
        format!("{seq} at {time}, {subject}, {count} event{s}, {}", output::bytes(self.bytes))
    }
}

pub(super) async fn run(peek: &Peek, broker: &Service, json: bool) -> anyhow::Result<ExitCode> {
    let Peek { stream, last } = peek;
    if !stream.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        bail!("`{stream}` is no name of a stream: marketprism streams lists them");
    }
    let path = format!("/api/v1/broker/streams/{stream}/messages?last={last}");
    let list: List<Message> = broker.ask(Method::GET, &path, None, TIMEOUT).await?;
    let mut decoder = Decoder::new();
    let messages: Vec<Decoded> =
        list.data.into_iter().map(|message| message.decode(&mut decoder)).collect();
    if json {
        output::json(&Document { messages: &messages })?;
    } else {
        show(&messages)?;
    }
    let is_read = messages.iter().all(|message| message.unreadable.is_empty());
    Ok(if is_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(messages: &[Decoded]) -> anyhow::Result<()> {
    if messages.is_empty() {
        output::remark("no messages: the stream is empty, or its newest thousand were removed")?;
    }
    for message in messages {
        output::remark(message.headline())?;
        for event in &message.events {
            output::line(event)?;
        }
        for problem in &message.unreadable {
            output::remark(format_args!("  no event: {problem}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::large_futures, reason = "a test has its stack to itself")]

    use super::*;
    use crate::testing::{Site, trade};
    use model::Kind;

    #[test]
    fn what_is_no_event_is_told_beside_the_events() {
        let mut block = Vec::new();
        wire::encode(&trade(1), &mut block);
        block.extend_from_slice(b"\n{\"v\":1}\n");
        let text = String::from_utf8(block).unwrap();
        let message = Message {
            seq: 12,
            time: 1_778_284_801_000_000_000,
            subject: "mdb.trade.binance.spot".to_owned(),
            block: None,
            bytes: 2_048,
            text,
        };
        let decoded = message.decode(&mut Decoder::new());
        assert_eq!((decoded.events.len(), decoded.unreadable.len()), (1, 1));
        assert_eq!(
            decoded.headline(),
            "12 at 2026-05-09T00:00:01Z, mdb.trade.binance.spot, 1 event, 2.0 KiB"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_newest_messages_are_shown_and_stay() {
        let mut site = Site::start().await;
        site.store(Kind::Trade, &[trade(1)]).await;
        let target = crate::service::BrokerTarget { broker: None, access: site.target().access };
        let broker = target.broker(site.suite.broker.listen).unwrap();
        for (json, last) in [(false, 1), (true, 100)] {
            let peek = Peek { stream: "MP_TRADE".to_owned(), last };
            assert_eq!(run(&peek, &broker, json).await.unwrap(), ExitCode::SUCCESS);
        }
        for stream in ["MP_NONE", "../status"] {
            let peek = Peek { stream: stream.to_owned(), last: 1 };
            assert!(run(&peek, &broker, true).await.is_err(), "{stream}");
        }
        site.stop().await;
    }
}
