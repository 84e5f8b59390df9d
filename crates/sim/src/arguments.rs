//! The command line of `marketprism-sim`.

use crate::dialect::{Dialect, MarketId};
use crate::fault::{Fault, seconds};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Serves a market of a venue on loopback, and compares what it sent with what a gateway returns.
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
  marketprism-sim serve --market okx/perp --listen 127.0.0.1:9002
  marketprism-sim serve --recording day.tsv.gz --speed 10 --listen 127.0.0.1:9443
  marketprism-sim serve --tls-ca ca.pem --fault gap@10s:50 --fault close@20s
  marketprism-sim compare --ledger ledger.jsonl --gateway http://127.0.0.1:8080 --key-file key

Exit codes: 0 done, 1 failed or different, 2 wrong usage";

const SERVE: &str = "\
Markets, and the events a second of each instrument with `--symbols N`:
  binance/spot      8, a symbol such as BTCUSDT
  binance/perp      8, BTCUSDT
  binance/future    8, BTCUSDT_300329
  okx/spot          4, BTC-USDT
  okx/perp          4, BTC-USDT-SWAP
  okx/future        4, BTC-USDT-300329
  okx/option        4, BTC-USD-300329-20000-C
  deribit/perp      2, BTC-PERPETUAL
  deribit/future    2, BTC-29MAR30
  deribit/option    2, BTC-29MAR30-20000-C
  deribit/spot      2, BTC_USDC
  deribit/index     2, btc_usd, a volatility index

Faults strike at a time after the opening of the market:
  gap@10s:50            the next 50 messages are not sent
  duplicate@10s:20      the next 20 messages are sent twice
  reorder@10s:20        the next 20 are sent behind the next of their
                        stream, or half a second late
  stall@10s:5s          nothing for 5 s, then all that was held back
  close@10s             every connection is closed
  refuse@10s:5s         the same, and for 5 s those that are opened
  silent@10s:5s         subscriptions of the next 5 s are confirmed and
                        never served
  mute@10s:STREAM       whoever has joined it gets no more of it
  slow-snapshot@10s:2s  books are sent 2 s late from then on
  limit@10s:5s          REST calls are answered with 429 for 5 s
  ban@10s:5s            the same with 418, where the venue has it
  away@10s:5s           REST calls are answered with 503 for 5 s
  forget@10s            the trades so far can no longer be asked for
  reset@10s             trades and updates are numbered anew
  malformed@10s:5s      for 5 s a malformed one behind every 100th

Examples:
  marketprism-sim serve --rate 1000 --symbols BTCUSDT,ETHUSDT
  marketprism-sim serve --market deribit/perp --symbols BTC-PERPETUAL
  marketprism-sim serve --market okx/perp --symbols 1000
  marketprism-sim serve --recording day.tsv.gz --speed 10
  marketprism-sim serve --tls-ca ca.pem --fault gap@10s:50 --fault close@20s
  curl --data gap@0s:50 http://127.0.0.1:9001/sim/strike

A collector is pointed at it by rest_url: http://127.0.0.1:9001 and
stream_url: ws://127.0.0.1:9001 under collector.venues.binance.spot, or
wherever the market is. One process serves one market: for several start
several, each with its own --listen.
GET /sim/progress says how far the market is, GET /sim/symbols its symbols as
the configuration has them. POST /sim/strike has a fault strike at once, and
POST /sim/end ends the market; connections stay open.

Exit codes: 0 told to stop, 1 failed, 2 wrong usage";

const COMPARE: &str = "\
Examples:
  marketprism-sim compare --ledger ledger.jsonl --key-file key --wait 30s

Exit codes: 0 they agree, 1 they differ or could not be compared, 2 wrong usage";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve a market in its venue's protocol; it opens when the first client has subscribed.
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
    /// Which market of which venue.
    #[arg(long, value_name = "VENUE/MARKET", default_value = "binance/spot")]
    pub market: MarketId,
    /// Play this recording instead of generating a market; of binance/spot only.
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Seconds of the recording per second.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Events per second of the generated market; 1000, or with `--symbols N` as many as listed
    /// below of each.
    #[arg(long)]
    pub rate: Option<f64>,
    /// End the generated market after this many seconds; connections stay open.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Instruments of the generated market by the venue's names, or how many of them; one of
    /// bitcoin if nobody says.
    #[arg(long, value_name = "NAMES|N", default_value = "1")]
    pub symbols: Symbols,
    /// Seed of the generated market.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Open the market when for so long no client has subscribed to anything, such as `10s`.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    pub settle: Duration,
    /// Trades of each instrument that are kept for those who missed them, 32 bytes each; 500000, or
    /// less of more than a hundred instruments.
    #[arg(long, value_name = "N")]
    pub history: Option<usize>,
    /// Request weight that is granted per minute, instead of the venue's own.
    #[arg(long, value_name = "N")]
    pub weight: Option<u32>,
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

/// What is traded in a generated market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// The instruments of these names.
    Named(Vec<String>),
    /// So many.
    Count(usize),
}

/// Reads `250ms`, `10s` or `2m`.
fn time(text: &str) -> Result<Duration, String> {
    seconds(text).ok_or_else(|| format!("`{text}`: a time is written `250ms`, `10s` or `2m`"))
}

/// Events per second of a market whose instruments are named.
const RATE: f64 = 1_000.0;

/// Most instruments of a market: their books take memory.
const COUNT_MAX: usize = 20_000;

impl FromStr for Symbols {
    type Err = String;

    /// Reads `BTCUSDT,ETHUSDT`, or `1000`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err(format!("`{text}`: a name is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Named(names));
        }
        let count = text.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
        count.map(Self::Count).ok_or_else(|| format!("`{text}`: from 1 to {COUNT_MAX}"))
    }
}

impl Symbols {
    /// The names, see [`Dialect::nth`].
    #[must_use]
    pub fn names(&self, dialect: &dyn Dialect) -> Vec<String> {
        match self {
            Self::Named(names) => names.clone(),
            Self::Count(count) => (0..*count).map(|number| dialect.nth(number)).collect(),
        }
    }

    /// Events per second if nobody says how many.
    #[must_use]
    pub fn rate(&self, dialect: &dyn Dialect) -> f64 {
        match self {
            Self::Named(_) | Self::Count(1) => RATE,
            Self::Count(count) => {
                f64::from(u32::try_from(*count).unwrap_or(u32::MAX)) * dialect.rate()
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect;

    #[test]
    fn symbols_are_names_or_a_number_of_them() {
        let named = |text: &str| text.parse::<Symbols>().unwrap();
        let spot = dialect::binance_spot();
        assert_eq!(named("BTCUSDT,ETHUSDT").names(&*spot), ["BTCUSDT", "ETHUSDT"]);
        assert_eq!(named("3").names(&*spot), ["BTCUSDT", "ETHUSDT", "S2USDT"]);
        for wrong in ["", "BTCUSDT,", "0", "100000"] {
            assert!(wrong.parse::<Symbols>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_rates_of_all_markets_are_those_of_the_help() {
        for dialect in dialect::all() {
            let symbol = Symbols::Count(1).names(&*dialect).remove(0);
            let words = SERVE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let market = dialect.market().to_string();
            let line = words.into_iter().find(|words| words.first() == Some(&&*market)).unwrap();
            assert_eq!(line[1].trim_end_matches(','), dialect.rate().to_string(), "{market}");
            // Of some it is said what the symbol is.
            assert!(line[2..].iter().any(|word| word.trim_end_matches(',') == symbol), "{market}");
            assert_eq!("1".parse::<Symbols>().unwrap().rate(&*dialect).to_string(), "1000");
            let many = "500".parse::<Symbols>().unwrap().rate(&*dialect);
            assert_eq!(many.to_string(), (500.0 * dialect.rate()).to_string());
        }
    }
}
