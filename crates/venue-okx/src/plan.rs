//! Streams: their names, their connections, and the requests that join and leave them.
//!
//! A stream is written `channel:name`, such as `books:BTC-USDT`, where the name is an instrument,
//! an index (`index-tickers`), a family of options (`opt-summary`) or a type of instruments
//! (`liquidation-orders`).

use crate::general::length_of;
use crate::known::Known;
use crate::market::OkxMarket;
use model::{Kind, Market};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use venue::{ConnectionPlan, Feed, Keepalive, Limits, Notice, Request, pack};

/// What OKX allows.
///
/// A connection is granted 480 requests to subscribe or unsubscribe in an hour. Each carries as
/// many streams as fit into a frame, and half of them may be sent at once, so that books that fell
/// out of step together are joined again without waiting.
/// Sources: <https://www.okx.com/docs-v5/en/#overview-websocket-overview>,
/// <https://www.okx.com/docs-v5/en/#overview-websocket-subscribe> and each REST call's own section.
pub(crate) const LIMITS: Limits = Limits {
    // OKX names no number.
    streams_per_connection: 240,
    frame_bytes_max: 64 * 1_024,
    // Nor here; what counts is how many requests there are in an hour.
    frames_per_second: 4,
    connects: 3,
    connects_window: Duration::from_secs(1),
    connections: None,
    subscribes: Some((480, Duration::from_secs(3_600))),
    // OKX names none; a connection is renewed daily all the same.
    lifetime: Duration::from_secs(24 * 3_600),
    // The server never pings: the text `ping` of ours is answered instead.
    ping_interval: Duration::from_secs(20),
    silence_max: Duration::from_secs(30),
    keepalive: Some(Keepalive { after: Duration::from_secs(20), frame: "ping" }),
    // Calls are limited each on its own; the ones made here to 20 in two seconds.
    weight_per_minute: 600,
    trades_per_request: crate::rest::TRADES_MAX,
    weight_header: None,
};

/// Streams of order books on one connection: "fewer than 30" is what OKX recommends.
const DEPTH_STREAMS_MAX: usize = 29;

/// Where candles are served, and where everything else is.
const BUSINESS: &str = "/ws/v5/business";
const PUBLIC: &str = "/ws/v5/public";

/// The streams that carry a feed; empty if there are none.
pub(crate) fn streams<M: OkxMarket>(feed: &Feed, known: &Known) -> Vec<String> {
    let name = &feed.instrument.name;
    let one = |channel: &str| vec![format!("{channel}:{name}")];
    let is_derivative = M::MARKET != Market::Spot;
    match feed.kind {
        Kind::Trade => one("trades"),
        Kind::Book => one("books"),
        Kind::Bbo => one("bbo-tbt"),
        // One stream for a family: it brings the figures of all its options.
        Kind::Ticker if M::MARKET == Market::Option => {
            let figures = family(name).map(|family| format!("opt-summary:{family}"));
            one("tickers").into_iter().chain(figures).collect()
        }
        Kind::Ticker => one("tickers"),
        Kind::Kline => match &feed.interval {
            Some(interval) if length_of(interval).is_some() => one(&format!("candle{interval}")),
            Some(_) | None => Vec::new(),
        },
        Kind::Mark if is_derivative => {
            let index = known.index(name.as_bytes());
            let index = index.map(|index| format!("index-tickers:{index}"));
            one("mark-price").into_iter().chain(index).collect()
        }
        Kind::Funding if M::MARKET == Market::Perp => one("funding-rate"),
        Kind::OpenInterest if is_derivative => one("open-interest"),
        // One stream for all: it brings every instrument's.
        Kind::Liquidation if is_derivative => vec![format!("liquidation-orders:{}", M::INST_TYPE)],
        Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::AggTrade
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => Vec::new(),
    }
}

/// The family of an option, with which its name begins: `BTC-USD` of `BTC-USD-240329-30000-C`.
///
/// Source: <https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments>, `instFamily`.
fn family(name: &str) -> Option<&str> {
    name.rsplitn(4, '-').nth(3)
}

/// Connections that are being filled, all of one path.
struct Connections {
    path: &'static str,
    streams_max: usize,
    plans: Vec<ConnectionPlan>,
}

/// Spreads feeds over connections: first those of the public path, which have the books.
pub(crate) fn connections<M: OkxMarket>(
    wanted: &[Feed],
    streams_max: usize,
    known: &Known,
) -> Vec<ConnectionPlan> {
    let streams_max = streams_max.clamp(1, LIMITS.streams_per_connection);
    let mut wanted: Vec<&Feed> = wanted.iter().collect();
    wanted.sort();
    wanted.dedup();
    let of_path = |path| Connections { path, streams_max, plans: Vec::new() };
    let (mut public, mut business) = (of_path(PUBLIC), of_path(BUSINESS));
    let mut placed = BTreeSet::new();
    for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
        let streams = feeds.iter().flat_map(|feed| streams::<M>(feed, known));
        // What several instruments share goes with the first of them.
        let (streams, shared): (Vec<_>, Vec<_>) =
            streams.partition(|stream| placed.insert(stream.clone()));
        if streams.is_empty() {
            shared.iter().take(1).for_each(|stream| public.join(feeds[0], stream));
        }
        let (candles, others) =
            streams.into_iter().partition(|stream| stream.starts_with("candle"));
        public.add(feeds[0], others);
        business.add(feeds[0], candles);
    }
    let mut plans = public.plans;
    plans.append(&mut business.plans);
    for (number, plan) in plans.iter_mut().enumerate() {
        plan.name = format!("okx-{}-{number}", M::MARKET);
    }
    plans
}

impl Connections {
    /// Puts the streams of an instrument onto the last connection if all fit there.
    fn add(&mut self, feed: &Feed, streams: Vec<String>) {
        if streams.is_empty() {
            return;
        }
        if !self.plans.last().is_some_and(|plan| self.fits(plan, &streams)) {
            self.begin();
        }
        for stream in streams {
            if !self.plans.last().is_some_and(|plan| self.fits(plan, std::slice::from_ref(&stream)))
            {
                self.begin();
            }
            let plan = self.plans.last_mut().expect("one was begun for the first stream");
            plan.streams.push(stream);
            if plan.instruments.last() != Some(&feed.instrument) {
                plan.instruments.push(Arc::clone(&feed.instrument));
            }
        }
    }

    /// Notes that an instrument has no stream but one that another one brought.
    fn join(&mut self, feed: &Feed, stream: &String) {
        if let Some(plan) = self.plans.iter_mut().find(|plan| plan.streams.contains(stream)) {
            plan.instruments.push(Arc::clone(&feed.instrument));
        }
    }

    fn begin(&mut self) {
        self.plans.push(ConnectionPlan {
            name: String::new(),
            path: self.path.to_owned(),
            streams: Vec::new(),
            instruments: Vec::new(),
        });
    }

    fn fits(&self, plan: &ConnectionPlan, streams: &[String]) -> bool {
        plan.streams.len() + streams.len() <= self.streams_max
            && depth_streams(&plan.streams) + depth_streams(streams) <= DEPTH_STREAMS_MAX
    }
}

fn depth_streams(streams: &[String]) -> usize {
    let is_depth =
        |stream: &&String| stream.starts_with("books:") || stream.starts_with("bbo-tbt:");
    streams.iter().filter(is_depth).count()
}

/// The lengths of candles. Months are offered, too; how long one is depends on which.
///
/// Source: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel>.
pub(crate) const INTERVALS: &[&str] = &[
    "1s", "1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "6H", "12H", "1D", "2D", "3D", "5D",
    "1W", "6Hutc", "12Hutc", "1Dutc", "2Dutc", "3Dutc", "5Dutc", "1Wutc",
];

/// The stream that tells of instruments that are listed, changed or delisted; it does not begin
/// with those that there are.
///
/// Source: <https://www.okx.com/docs-v5/en/#public-data-websocket-instruments-channel>.
pub(crate) fn notice<M: OkxMarket>() -> Notice {
    Notice { path: PUBLIC.to_owned(), stream: format!("instruments:{}", M::INST_TYPE) }
}

/// Whether these streams may share a connection.
pub(crate) fn fits(streams: &[String]) -> bool {
    depth_streams(streams) <= DEPTH_STREAMS_MAX
}

/// The requests that join streams.
pub(crate) fn subscribe(streams: &[String], next_id: &mut u64) -> Vec<Request> {
    requests("subscribe", streams, next_id)
        .map(|(request, joins)| Request { joins, ..request })
        .collect()
}

/// The requests that leave streams.
pub(crate) fn unsubscribe(streams: &[String], next_id: &mut u64) -> Vec<Request> {
    requests("unsubscribe", streams, next_id).map(|(request, _)| request).collect()
}

/// Packs streams into as few requests as the frame limit allows, each with its streams, which are
/// confirmed one by one.
fn requests(
    op: &str,
    streams: &[String],
    next_id: &mut u64,
) -> impl Iterator<Item = (Request, Vec<String>)> {
    // The brackets, the keys and the longest id.
    let overhead = op.len() + 60;
    let args = streams.iter().map(|stream| arg(stream));
    let batches = pack(args, overhead, LIMITS.frame_bytes_max, usize::MAX);
    let mut rest = streams;
    batches.into_iter().map(move |batch| {
        let args = batch.join(",");
        let frame = format!(r#"{{"id":"{next_id}","op":"{op}","args":[{args}]}}"#);
        let id = Some(*next_id);
        *next_id += 1;
        let (these, others) = rest.split_at(batch.len());
        rest = others;
        (Request { frame, id, joins: Vec::new() }, these.to_vec())
    })
}

/// How a request names a stream.
fn arg(stream: &str) -> String {
    let (channel, name) = stream.split_once(':').unwrap_or((stream, ""));
    let key = match channel {
        "liquidation-orders" | "instruments" => "instType",
        "opt-summary" => "instFamily",
        _ => "instId",
    };
    let (channel, name) = (serde_json::Value::from(channel), serde_json::Value::from(name));
    format!(r#"{{"channel":{channel},"{key}":{name}}}"#)
}
