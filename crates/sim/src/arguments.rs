//! The command line of `marketprism-sim`.

use crate::fault::Fault;
use crate::history::KEPT;
use crate::server::WEIGHT_MAX;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves a simulated venue on loopback, and compares what it sent with what a gateway returns.
#[derive(Debug, Parser)]
#[command(name = "marketprism-sim", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Verb,
}

/// Describes the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

const EXAMPLES: &str = "\
Examples:
  marketprism-sim serve --rate 20000 --seconds 60 --ledger ledger.jsonl
  marketprism-sim serve --recording day.tsv.gz --speed 10 --listen 127.0.0.1:9443
  marketprism-sim serve --tls-ca ca.pem --fault gap@10s:50 --fault close@20s
  marketprism-sim compare --ledger ledger.jsonl --gateway http://127.0.0.1:8080 --key-file key

Exit codes: 0 done, 1 failed or different, 2 wrong usage";

const SERVE: &str = "\
Faults strike at a time after the opening of the market:
  gap@10s:50            the next 50 messages are not sent
  duplicate@10s:20      the next 20 messages are sent twice
  stall@10s:5s          nothing for 5 s, then all that was held back
  close@10s             every connection is closed
  slow-snapshot@10s:2s  snapshots are answered 2 s late from then on
  limit@10s:5s          REST calls are answered with 429 for 5 s
  away@10s:5s           REST calls are answered with 503 for 5 s
  forget@10s            the trades so far can no longer be asked for
  malformed@10s:5s      for 5 s a malformed message behind every 100th

Examples:
  marketprism-sim serve --rate 1000 --symbols BTCUSDT,ETHUSDT
  marketprism-sim serve --recording day.tsv.gz --speed 10
  marketprism-sim serve --tls-ca ca.pem --fault gap@10s:50 --fault close@20s

A collector is pointed at it by rest_url: http://127.0.0.1:9001 and
stream_url: ws://127.0.0.1:9001 under collector.venues.binance.spot.
GET /sim/progress says how far the market is, POST /sim/end ends it; connections stay open.

Exit codes: 0 told to stop, 1 failed, 2 wrong usage";

const COMPARE: &str = "\
Examples:
  marketprism-sim compare --ledger ledger.jsonl --key-file key --wait 30s

Exit codes: 0 they agree, 1 they differ or could not be compared, 2 wrong usage";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve Binance's spot protocol; the market opens when the first client has subscribed.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Compare a ledger with what a gateway returns.
    #[command(after_help = COMPARE)]
    Compare(Compare),
}

/// The arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; port 0 lets the system choose, and the address is printed.
    #[arg(long, default_value = "127.0.0.1:9001")]
    pub listen: SocketAddr,
    /// Play this recording instead of generating a market.
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Seconds of the recording per second.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Events per second of the generated market.
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// End the generated market after this many seconds; connections stay open.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Instruments of the generated market.
    #[arg(long, value_delimiter = ',', default_value = "BTCUSDT")]
    pub symbols: Vec<String>,
    /// Seed of the generated market.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Trades of each instrument that are kept for those who missed them, 32 bytes each.
    #[arg(long, value_name = "N", default_value_t = KEPT)]
    pub history: usize,
    /// Request weight that is granted per minute; `exchangeInfo` says it.
    #[arg(long, value_name = "N", default_value_t = WEIGHT_MAX)]
    pub weight: u32,
    /// Write every id here before it is sent.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// A fault, as listed below; can be given several times.
    #[arg(long = "fault", value_name = "KIND@TIME[:AMOUNT]")]
    pub faults: Vec<Fault>,
    /// Serve TLS with a certificate for localhost, and write its authority's certificate here.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

/// The arguments of `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// The ledger that `serve` wrote.
    #[arg(long, value_name = "FILE")]
    pub ledger: PathBuf,
    /// The gateway, or a storage service itself.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub gateway: String,
    /// A file with the API key.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Go on asking until they agree or this time is over, such as `30s`.
    #[arg(long, default_value = "0s")]
    pub wait: String,
    /// Print the reports as JSON.
    #[arg(long)]
    pub json: bool,
}
