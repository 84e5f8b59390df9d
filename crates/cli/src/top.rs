//! `marketprism top`: what flows, now.

mod screen;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use settings::Suite;

use crate::answers::{Collector, Storage};
use crate::live::{Interrupt, Screen, interval};
use crate::service::{Access, Service};
use crate::{output, status, when};
use screen::Sample;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

const EXAMPLES: &str = "\
Three tables: the units, the connections to venues, and how each kind
is stored. Rates are those since the screen before.

Examples:
  sudo marketprism top
  sudo marketprism top --interval 500ms
  sudo marketprism top --count 2 >snapshot.txt

Ctrl-C ends.

Exit codes: 0 done, 1 failed, 2 wrong usage";

/// Arguments of `marketprism top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How often it is shown anew, in seconds, or such as 500ms.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
    /// Ends after so many screens; the first has no rates.
    #[arg(long, value_name = "SCREENS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// A file with the token that services show one another [default: the credential in
    /// /etc/credstore, if there is one].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut screen) = (Interrupt::new()?, Screen::new());
    let mut before: Option<Sample> = None;
    let started = Instant::now();
    for shown in 1.. {
        let look = Box::pin(sample(args, suite, started));
        let Some(sample) = interrupt.or(look).await else { break };
        let sample = sample?;
        screen.show(&screen::render(&sample, before.as_ref()))?;
        before = Some(sample);
        if args.count.is_some_and(|count| shown >= count) {
            break;
        }
        if interrupt.or(tokio::time::sleep(args.interval)).await.is_none() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks at everything at once.
async fn sample(args: &Args, suite: &Suite, started: Instant) -> anyhow::Result<Sample> {
    let (report, collector, storage) = tokio::join!(
        Box::pin(status::gather(suite, false)),
        ask::<Collector>(args, "collector", suite, "/api/v1/collector/status"),
        ask::<Storage>(args, "storage", suite, "/api/v1/storage/status"),
    );
    let now = when::nanos(Timestamp::now())?;
    let words = |error: anyhow::Error| output::chain(&error);
    Ok(Sample {
        now,
        at: started.elapsed(),
        report,
        collector: collector.map_err(words),
        storage: storage.map_err(words),
    })
}

async fn ask<T: DeserializeOwned>(
    args: &Args,
    name: &'static str,
    suite: &Suite,
    path: &str,
) -> anyhow::Result<T> {
    let listen = suite.listen(name).expect("every service listens somewhere");
    let access = Access { token_file: args.token_file.clone(), ca_file: None };
    let service = Service::new(name, None, &access, listen, ANSWER_BYTES_MAX)?;
    service.ask(Method::GET, path, None, TIMEOUT).await
}

#[cfg(test)]
mod tests;
