//! Task: one market of one venue: its instrument list, and the feeds that follow from it.

use crate::batch::Batch;
use crate::board::{Board, FeedHandle};
use crate::capture::Taps;
use crate::feed::{Feed, Parts};
use crate::fetcher::Fetch;
use crate::hosts::Door;
use crate::line::Dial;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Producer};
use crate::poller::{self, Poller};
use crate::publisher::LastIds;
use anyhow::Context as _;
use bus::Bus;
use daemon::Task;
use feed::{Options, Pipeline};
use model::{Instrument, InstrumentId, Kind};
use net::Tls;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use url::Url;
use venue::{Adapter, Backoff, ConnectionPlan};

/// First and longest wait before the instrument list is asked for again.
const LIST_RETRY_MIN: Duration = Duration::from_secs(1);
const LIST_RETRY_MAX: Duration = Duration::from_secs(60);

/// What is wanted of a market.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Symbols, as the instrument list has them.
    pub(crate) symbols: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) intervals: Vec<Arc<str>>,
    pub(crate) depth: usize,
    pub(crate) streams_per_connection: usize,
}

/// What a market task needs.
pub(crate) struct Market {
    /// Its place on the board.
    pub(crate) index: usize,
    pub(crate) wanted: Wanted,
    pub(crate) stream_url: Url,
    pub(crate) tls: Tls,
    pub(crate) door: Door,
    /// Where the list goes beside the feeds.
    pub(crate) list: watch::Sender<Option<Arc<[Instrument]>>>,
    pub(crate) ways: Ways,
}

/// What all markets share: where their events go and where they come to know things from.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) last_ids: watch::Receiver<Option<LastIds>>,
    pub(crate) bus: Bus,
    pub(crate) producer: Producer,
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) state_directory: PathBuf,
    /// Where recordings begin, if any are made.
    pub(crate) taps: Option<Taps>,
}

impl Market {
    /// Loads the list, starts the feeds, and waits for their end.
    ///
    /// # Errors
    ///
    /// If a feed ends before it is asked to.
    pub(crate) async fn run<A>(mut self, adapter: A, task: Task) -> anyhow::Result<()>
    where
        A: Adapter + Clone + Send + Sync + 'static,
    {
        let known = task.until_stopped(async {
            let last_ids = self.ways.last_ids.wait_for(Option::is_some).await.ok()?.clone();
            Some((last_ids?, self.load(&adapter).await))
        });
        let Some(Some((last_ids, list))) = known.await else { return Ok(()) };
        let (mut feeds, mut handles) = (JoinSet::new(), Vec::new());
        let mut listed = adapter;
        listed.set_instruments(&list);
        self.list.send_replace(Some(Arc::from(list.as_slice())));
        let instruments = self.instruments(&list);
        for plan in self.plans(&listed, &instruments) {
            let (feed, handle) = self.feed(listed.clone(), plan, &instruments, &last_ids)?;
            feeds.spawn(feed.run(task.clone()));
            handles.push(handle);
        }
        if let Some(poller) = self.poller(listed, &instruments) {
            feeds.spawn(poller.run(task.clone()));
        }
        tracing::info!(instruments = list.len(), connections = handles.len(), "market planned");
        self.ways.board.update(self.index, |market| market.feeds = handles);
        // The feeds hold what they need: the publisher's queue ends with the last of them.
        drop(self);
        while let Some(ended) = task.alive(feeds.join_next()).await {
            ended.context("run a feed")??;
        }
        task.stopped().await;
        Ok(())
    }

    /// Asks for the instrument list until it is there.
    async fn load<A: Adapter>(&self, adapter: &A) -> Vec<Instrument> {
        let mut backoff = Backoff::new(LIST_RETRY_MIN, LIST_RETRY_MAX);
        loop {
            match self.try_load(adapter).await {
                Ok(list) => {
                    self.ways.board.update(self.index, |market| {
                        (market.listed, market.reason) = (Some(list.len()), None);
                    });
                    return list;
                }
                Err(error) => {
                    let reason: Arc<str> = Chain(error.as_ref()).to_string().into();
                    let wait = backoff.next(&mut rand::rng());
                    tracing::warn!(error = &*reason, ?wait, "no instruments yet");
                    self.ways.board.update(self.index, |market| market.reason = Some(reason));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn try_load<A: Adapter>(&self, adapter: &A) -> anyhow::Result<Vec<Instrument>> {
        let (answers, mut answer) = mpsc::channel(1);
        let request = adapter.instruments_request();
        let fetch = Fetch { instrument: None, request, answers };
        self.door.urgent.send(fetch).await.context("reach the fetcher")?;
        let answer = answer.recv().await.context("hear from the fetcher")?;
        let reply = answer.result.context("load the instrument list")?;
        let list = adapter.parse_instruments(&reply.body).context("read the instrument list")?;
        anyhow::ensure!(!list.is_empty(), "the instrument list is empty");
        Ok(list)
    }

    /// The wanted instruments of the list.
    fn instruments(&self, list: &[Instrument]) -> Vec<Arc<InstrumentId>> {
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for symbol in &self.wanted.symbols {
            match list.iter().find(|listed| listed.id.symbol.as_str() == symbol) {
                Some(listed) => wanted.push(Arc::clone(&listed.id)),
                None => unknown.push(symbol.clone()),
            }
        }
        if !unknown.is_empty() {
            let symbols = unknown.join(", ");
            tracing::warn!(symbols, "the venue does not list these symbols");
        }
        self.ways.board.update(self.index, |market| market.unknown = unknown);
        wanted
    }

    /// What to subscribe to, spread over connections.
    fn plans<A: Adapter>(
        &self,
        adapter: &A,
        instruments: &[Arc<InstrumentId>],
    ) -> Vec<ConnectionPlan> {
        let wanted: Vec<_> = instruments.iter().flat_map(|id| self.feeds_of(id)).collect();
        adapter.connections(&wanted, self.wanted.streams_per_connection)
    }

    fn feeds_of(&self, id: &Arc<InstrumentId>) -> Vec<venue::Feed> {
        let of = |kind, interval| venue::Feed { instrument: Arc::clone(id), kind, interval };
        let mut feeds = Vec::new();
        for kind in &self.wanted.kinds {
            if *kind == Kind::Kline {
                let intervals = self.wanted.intervals.iter();
                feeds.extend(intervals.map(|interval| of(*kind, Some(Arc::clone(interval)))));
            } else {
                feeds.push(of(*kind, None));
            }
        }
        feeds
    }

    /// What asks for the kinds that no stream carries, if any are wanted.
    fn poller<A: Adapter>(
        &self,
        adapter: A,
        instruments: &[Arc<InstrumentId>],
    ) -> Option<Poller<A>> {
        Poller::new(poller::Parts {
            adapter,
            instruments: instruments.to_vec(),
            kinds: self.wanted.kinds.clone(),
            fetches: self.door.spare.clone(),
            outbox: self.outbox(),
        })
    }

    fn outbox(&self) -> Outbox {
        Outbox::new(
            self.ways.bus.clone(),
            self.ways.producer.clone(),
            self.ways.batches.clone(),
            self.ways.board.clone(),
            self.ways.metrics.clone(),
        )
    }

    fn feed<A: Adapter>(
        &self,
        adapter: A,
        plan: ConnectionPlan,
        instruments: &[Arc<InstrumentId>],
        last_ids: &LastIds,
    ) -> anyhow::Result<(Feed<A>, FeedHandle)> {
        let streams: BTreeSet<&String> = plan.streams.iter().collect();
        let carries = |feed: &venue::Feed| {
            let names = adapter.streams(feed);
            !names.is_empty() && names.iter().all(|name| streams.contains(name))
        };
        let carries_of = |id: &Arc<InstrumentId>, kind| {
            carries(&venue::Feed { instrument: Arc::clone(id), kind, interval: None })
        };
        let books = plan.instruments.iter().filter(|id| carries_of(id, Kind::Book));
        let books: Vec<_> = books.map(Arc::clone).collect();
        let feeds = plan.instruments.iter().flat_map(|id| self.feeds_of(id));
        let silence_max = feeds.filter(&carries).filter_map(|feed| silence_max(feed.kind)).min();
        let resumed = last_ids.iter().filter(|(key, _)| carries_of(&key.instrument, key.kind));
        let resumed: Vec<_> = resumed.collect();
        let options = Options {
            depth: self.wanted.depth,
            // The backfill heals what late trades fill, once they are acknowledged.
            heal_when_seen: false,
            kinds: self.wanted.kinds.clone(),
            instruments: Some(Arc::new(instruments.iter().map(Arc::clone).collect())),
            ..Options::default()
        };
        let mut pipeline = Pipeline::new(adapter, options);
        let mut outputs = Vec::new();
        for (key, last) in resumed {
            let now = crate::line::now();
            pipeline
                .resume(&key.instrument, key.kind, *last, now, &mut outputs)
                .context("resume an instrument")?;
        }
        let url = format!("{}{}", self.stream_url.as_str().trim_end_matches('/'), plan.path);
        let url = Url::parse(&url).context("put together the address of the streams")?;
        let name = Arc::from(plan.name.as_str());
        let (streams, instruments) = (plan.streams.clone().into(), plan.instruments.clone().into());
        let kept = books.clone().into();
        let (feed, status, queries) = Feed::new(Parts {
            plan,
            pipeline,
            dial: Dial { url, tls: self.tls.clone(), limits: A::LIMITS },
            books,
            silence_max,
            fetches: self.door.urgent.clone(),
            outbox: self.outbox(),
            metrics: self.ways.metrics.clone(),
            state_directory: self.ways.state_directory.clone(),
            tap: self.ways.taps.as_ref().map(|taps| taps.of(&name)),
            outputs,
        });
        Ok((feed, FeedHandle { name, streams, instruments, books: kept, status, queries }))
    }
}

/// How long a subscribed stream may bring nothing before its connection is left: a venue may confirm
/// a subscription and never serve it. Several times the interval of what comes by the clock; what
/// comes with a trade may take a while in a quiet market, and a liquidation may never come.
const fn silence_max(kind: Kind) -> Option<Duration> {
    match kind {
        Kind::Book
        | Kind::Ticker
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::LongShortRatio
        | Kind::VolatilityIndex => Some(Duration::from_secs(120)),
        Kind::Trade | Kind::AggTrade | Kind::Bbo | Kind::Kline => Some(Duration::from_secs(900)),
        Kind::Liquidation | Kind::Gap | Kind::Status => None,
    }
}
