//! `marketprism stream`: the live stream of the gateway, one event a line.

mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use net::Tls;
use secrecy::{ExposeSecret as _, SecretString};
use settings::{Endpoint, Suite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use crate::live::Interrupt;
use crate::output::{self, Print};
use crate::service::{distrusted, reachable, read_token};
use crate::when;
use session::{End, Pattern, Session};

/// The key that the packages make at install, for root.
const ADMIN_KEY: &str = "/etc/marketprism/admin.key";

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After how much silence a connection counts as lost: three heartbeats of the gateway.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long the farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Largest message that is read; a whole book is some megabytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Messages printed at once: what is there already is not waited for one by one.
const MESSAGES_MAX: usize = 512;

const EXAMPLES: &str = "\
A pattern is KIND or KIND:VENUE/MARKET/SYMBOL, each * for any; what is
left out at the end may be anything. Events come as they are on the
bus, one JSON object a line; what was lost is said on stderr. A
connection that ends is made again; events in between are missed, and
marketprism query has them.

With --start what the bus still has of the past comes first, an hour as
a rule, and goes over into what is live without a seam. Books begin
with a snapshot and have no past here.

Examples:
  sudo marketprism stream trade:binance/spot/BTC-USDT
  sudo marketprism stream 'bbo:*/perp' 'funding' --on-slow conflate
  sudo marketprism stream gap status
  sudo marketprism stream trade:okx --start -60s
  marketprism stream trade --gateway https://HOST:8080 --key-file KEY

A key is made by marketprism keys create --label me >KEY. Ctrl-C ends.

Exit codes: 0 ended by Ctrl-C or --limit, 1 failed, 2 wrong usage";

/// Arguments of `marketprism stream`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which events, such as trade or book:binance/spot/BTC-USDT.
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<Pattern>,
    /// What the gateway does when this reads too slowly.
    #[arg(long, value_enum, value_name = "WAY", default_value = "skip")]
    on_slow: OnSlow,
    /// Begins in the past, such as -60s, -5m or 2026-05-09T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = when::value, allow_hyphen_values = true)]
    start: Option<Timestamp>,
    /// Ends after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Prints every message of the gateway as it is.
    #[arg(long)]
    whole: bool,
    /// The gateway [default: as configured on this host].
    #[arg(long, value_name = "URL")]
    gateway: Option<Endpoint>,
    /// A file with an API key that may read; - is stdin [default: /etc/marketprism/admin.key].
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A file with the certificates to trust, in place of the host's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What happens to what does not fit into the gateway's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnSlow {
    /// It is left out, and said how much.
    Skip,
    /// The same, with a warning before.
    Warn,
    /// Only the latest state waits, of kinds that have one.
    Conflate,
    /// The stream ends.
    Close,
}

impl OnSlow {
    const fn as_str(self) -> &'static str {
        match self {
            OnSlow::Skip => "skip",
            OnSlow::Warn => "warn",
            OnSlow::Conflate => "conflate",
            OnSlow::Close => "close",
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::new()?;
    let door = Door::of(args, suite)?;
    match interrupt.or(Box::pin(follow(args, &door, &mut output::text))).await {
        Some(ended) => ended?,
        None => output::remark("marketprism: ended")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints events until there are enough; goes on over lost connections.
async fn follow(args: &Args, door: &Door, print: Print<'_>) -> anyhow::Result<()> {
    let mut session = Session::new(args.whole, args.limit);
    let mut socket = door.open().await?;
    let mut start = args.start.map(when::nanos).transpose()?;
    loop {
        // Once: what was printed shall not come again.
        let begun = listen(args, start.take(), &mut socket, &mut session, print).await?;
        let (why, after) = match begun {
            End::Done => {
                // It has what it wanted; a farewell that fails has no one to tell.
                timeout(CLOSE_TIMEOUT, socket.close(None)).await.ok();
                return Ok(());
            }
            End::Refused(why) => bail!(why),
            End::Again { why, after } => (why, after),
        };
        socket = again(door, &mut session, why, after).await?;
    }
}

/// Connects anew, however long it takes; says why each time.
async fn again(
    door: &Door,
    session: &mut Session,
    mut why: String,
    mut after: Option<Duration>,
) -> anyhow::Result<Socket> {
    loop {
        let wait = session.wait(after.take());
        output::remark(format!("marketprism: {why}; again in {:.1} s", wait.as_secs_f64()))?;
        tokio::time::sleep(wait).await;
        match door.open().await {
            Ok(socket) => {
                output::remark("marketprism: connected; events in between are missing")?;
                return Ok(socket);
            }
            Err(error) if error.is::<Denied>() => return Err(error),
            Err(error) => why = output::chain(&error),
        }
    }
}

/// Subscribes, and prints what comes until the connection ends.
async fn listen(
    args: &Args,
    start: Option<i64>,
    socket: &mut Socket,
    session: &mut Session,
    print: Print<'_>,
) -> anyhow::Result<End> {
    for (index, pattern) in args.patterns.iter().enumerate() {
        let text = pattern.subscription(index + 1, args.on_slow.as_str(), start);
        if let Err(error) = socket.send(Message::text(text)).await {
            return Ok(lost(&error));
        }
    }
    let mut lines = String::new();
    loop {
        let Ok(first) = timeout(SILENCE_MAX, socket.next()).await else {
            let why = format!("nothing came for {} s", SILENCE_MAX.as_secs());
            return Ok(End::Again { why, after: None });
        };
        let mut end = take(session, first, &mut lines)?;
        for _ in 1..MESSAGES_MAX {
            if end.is_some() {
                break;
            }
            let Some(message) = socket.next().now_or_never() else { break };
            end = take(session, message, &mut lines)?;
        }
        print(&lines)?;
        lines.clear();
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// Takes one message: data goes to the lines, remarks to stderr.
fn take(
    session: &mut Session,
    message: Option<Result<Message, tungstenite::Error>>,
    lines: &mut String,
) -> anyhow::Result<Option<End>> {
    let again = |why: String| Ok(Some(End::Again { why, after: None }));
    let step = match message {
        Some(Ok(Message::Text(text))) => session.take(text.as_str()),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {
            return Ok(None);
        }
        Some(Ok(Message::Close(frame))) => {
            let why = frame.map(|frame| frame.to_string()).unwrap_or_default();
            return again(format!("the gateway closed the connection: {why}"));
        }
        Some(Err(error)) => return Ok(Some(lost(&error))),
        None => return again("the connection ended".to_owned()),
    };
    if let Some(line) = step.line {
        lines.push_str(&line);
        lines.push('\n');
    }
    if let Some(remark) = step.remark {
        output::remark(format!("marketprism: {remark}"))?;
    }
    Ok(step.end)
}

fn lost(error: &tungstenite::Error) -> End {
    End::Again { why: format!("the connection is lost: {error}"), after: None }
}

/// The gateway does not let this key in; to try again would be of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Denied(String);

/// The way to the gateway.
struct Door {
    url: String,
    key: SecretString,
    tls: Option<Tls>,
}

impl Door {
    fn of(args: &Args, suite: &Suite) -> anyhow::Result<Door> {
        let base = match &args.gateway {
            Some(endpoint) => endpoint.to_string(),
            None => {
                let scheme = if suite.gateway.certificate.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", reachable(suite.gateway.listen))
            }
        };
        let url = format!("{}/ws/v1/stream", web_socket(&base)?);
        let tls = url.starts_with("wss:").then(|| Tls::new(args.ca_file.as_deref())).transpose()?;
        Ok(Door { url, key: key(args.key_file.as_deref())?, tls })
    }

    /// Connects, and waits for the greeting's head.
    async fn open(&self) -> anyhow::Result<Socket> {
        let Door { url, key, tls } = self;
        let mut request = url.as_str().into_client_request().context("not an address")?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()));
        let mut bearer = bearer.map_err(|_| anyhow!("the key has characters that no key has"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert("authorization", bearer);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connector = match tls {
            Some(tls) => Connector::Rustls(tls.config()),
            None => Connector::Plain,
        };
        let connect =
            Box::pin(connect_async_tls_with_config(request, Some(limits), true, Some(connector)));
        let connected = timeout(CONNECT_TIMEOUT, connect)
            .await
            .with_context(|| format!("{url} does not answer: is marketprism-gateway running?"))?;
        match connected {
            Ok((socket, _)) => Ok(socket),
            Err(error) => Err(refusal(url, error)),
        }
    }
}

/// Why the gateway did not open, and what helps.
fn refusal(url: &str, error: tungstenite::Error) -> anyhow::Error {
    if let tungstenite::Error::Http(response) = &error {
        let status = response.status();
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "give a key that may read: marketprism keys create --label me >KEY, then \
                 --key-file KEY"
            }
            StatusCode::NOT_FOUND => "there is no gateway: see --gateway",
            _ => return anyhow!("{url} answered {status}: see journalctl -u marketprism-gateway"),
        };
        return Denied(format!("{url} answered {status}: {remedy}")).into();
    }
    if net::is_issuer_unknown(&error) {
        return anyhow::Error::new(error).context(distrusted(url));
    }
    anyhow::Error::new(error)
        .context(format!("cannot connect to {url}: is marketprism-gateway running?"))
}

/// The address of a WebSocket at an HTTP address.
fn web_socket(base: &str) -> anyhow::Result<String> {
    for (from, to) in
        [("http://", "ws://"), ("https://", "wss://"), ("ws://", "ws://"), ("wss://", "wss://")]
    {
        if let Some(rest) = base.strip_prefix(from) {
            return Ok(format!("{to}{rest}"));
        }
    }
    bail!("{base} must begin with http:// or https://")
}

/// The key that was given, else the one that the packages have made.
fn key(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let remedy = "run this as root, or give --key-file; marketprism keys create makes a key";
    match file {
        Some(path) => read_token(path),
        None => read_token(Path::new(ADMIN_KEY)).context(remedy),
    }
}

#[cfg(test)]
mod tests;
