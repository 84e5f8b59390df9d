//! A recorder: the collector's adapters and pipeline between a venue's sockets and a list of events.

use crate::simulated::{Simulated, now};
use feed::{Command, Options, Output, Pipeline};
use model::{Body, Book, BookType, Event, Gap, Instrument, InstrumentId, Kind, Trade};
use net::{Rest, RestError, RestOptions, Socket, SocketOptions, Tls};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use venue::{Adapter, ConnectionPlan, Feed, FrameType, Request, RestAnswer, Subscription};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long one socket is listened to before the next.
const TURN: Duration = Duration::from_millis(2);

/// One market, recorded.
pub(crate) struct Recorder<A> {
    pub(crate) pipeline: Pipeline<A>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) rest: Rest,
    pub(crate) instruments: Vec<Arc<InstrumentId>>,
    /// Connections that were lost.
    pub(crate) lost: usize,
    /// Calls that were limited, by whether it was a ban.
    pub(crate) limited: BTreeMap<bool, usize>,
    lines: Vec<Line>,
    stream_url: String,
    next_id: u64,
}

struct Line {
    plan: ConnectionPlan,
    socket: Option<Socket>,
    subscription: Subscription,
}

impl Line {
    fn new(plan: ConnectionPlan) -> Self {
        Self { plan, socket: None, subscription: Subscription::default() }
    }
}

impl<A: Adapter> Recorder<A> {
    /// A recorder that has the instrument list and is subscribed to everything.
    pub(crate) async fn start(adapter: A, venue: &Simulated) -> Self {
        let recorder = Self::listed(adapter, venue).await;
        recorder.subscribed().await
    }

    /// A recorder that has the instrument list.
    pub(crate) async fn listed(adapter: A, venue: &Simulated) -> Self {
        Self::with_candles(adapter, venue, &["1m"]).await
    }

    /// A recorder that wants candles of these lengths.
    pub(crate) async fn with_candles(
        mut adapter: A,
        venue: &Simulated,
        intervals: &[&str],
    ) -> Self {
        let base: Url = format!("http://{}", venue.address).parse().unwrap();
        let rest = Rest::new(base, &tls(), RestOptions::default(), now).unwrap();
        let list = list(&adapter, &rest).await;
        let names: BTreeSet<&str> = list.iter().map(|listed| &*listed.id.name).collect();
        assert_eq!(names, venue.names.iter().map(String::as_str).collect());
        adapter.set_instruments(&list);
        let instruments: Vec<_> = list.iter().map(|listed| Arc::clone(&listed.id)).collect();
        for id in &instruments {
            assert_eq!(id.symbol.as_str(), venue.dialect.symbol(&id.name));
        }
        let plans = adapter.connections(&wanted(&instruments, intervals), usize::MAX);
        Self {
            pipeline: Pipeline::new(adapter, Options::default()),
            outputs: Vec::new(),
            rest,
            instruments,
            lost: 0,
            limited: BTreeMap::new(),
            lines: plans.into_iter().map(Line::new).collect(),
            stream_url: format!("ws://{}", venue.address),
            next_id: 1,
        }
    }

    /// Connects and subscribes, and waits until all is confirmed.
    pub(crate) async fn subscribed(mut self) -> Self {
        self.run("a confirmation", |recorder| {
            recorder.is_confirmed() && recorder.lines.iter().all(|line| line.socket.is_some())
        })
        .await;
        self
    }

    /// Whether no request waits for its answer.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.lines.iter().all(|line| line.subscription.is_settled())
    }

    /// Records until something is so.
    pub(crate) async fn run(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let running = async {
            while !done(self) {
                self.turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, running).await;
        let counts = self.pipeline.counts();
        assert!(in_time.is_ok(), "no {what} within {PATIENCE:?}: {counts:?}");
    }

    /// Listens to each socket in turn, and does what follows.
    pub(crate) async fn turn(&mut self) {
        for number in 0..self.lines.len() {
            if self.lines[number].socket.is_none() {
                self.connect(number).await;
            }
            let Some(socket) = &mut self.lines[number].socket else { continue };
            let mut frames = Vec::new();
            let received = tokio::time::timeout(TURN, socket.receive(&mut frames)).await;
            for frame in frames {
                let read =
                    self.pipeline.handle_frame(frame.recv_time, &frame.data, &mut self.outputs);
                self.follow(number, read.ok()).await;
            }
            if matches!(received, Ok(Err(_))) {
                self.lose(number);
            }
        }
        if self.pipeline.poll_timeout().is_some_and(|at| at <= now()) {
            self.pipeline.handle_timeout(now(), &mut self.outputs);
        }
        while let Some(command) = self.pipeline.next_command() {
            self.carry_out(command).await;
        }
    }

    async fn connect(&mut self, number: usize) {
        let line = &mut self.lines[number];
        let url = format!("{}{}", self.stream_url, line.plan.path).parse().unwrap();
        let socket = Socket::connect(&url, &tls(), SocketOptions::default(), now).await;
        let Ok(socket) = socket else {
            self.lost += 1;
            return;
        };
        line.socket = Some(socket);
        let streams = line.plan.streams.clone();
        let adapter = self.pipeline.adapter();
        let mut requests = adapter.greeting(&mut self.next_id);
        requests.extend(adapter.subscribe(&streams, &mut self.next_id));
        for request in requests {
            self.say(number, request).await;
        }
    }

    async fn say(&mut self, number: usize, request: Request) {
        let line = &mut self.lines[number];
        let Some(socket) = &mut line.socket else { return };
        line.subscription.ask(&request);
        if socket.send(request.frame).await.is_err() {
            self.lose(number);
        }
    }

    fn lose(&mut self, number: usize) {
        let line = &mut self.lines[number];
        line.socket = None;
        // What it would have confirmed will not be.
        line.subscription = Subscription::default();
        self.lost += 1;
        let instruments = line.plan.instruments.iter().map(|id| &**id);
        self.pipeline.handle_disconnect(instruments, now(), &mut self.outputs);
    }

    async fn follow(&mut self, number: usize, frame_type: Option<FrameType>) {
        match frame_type {
            Some(FrameType::Accepted { id, granted }) => {
                self.lines[number].subscription.handle_granted(id, granted);
            }
            Some(FrameType::Probe) => {
                let answer = self.pipeline.adapter().probe_answer(&mut self.next_id).unwrap();
                self.say(number, answer).await;
            }
            Some(FrameType::Refused { code, message, .. }) => panic!("refused: {message} ({code})"),
            Some(FrameType::Closing) => panic!("the venue is about to close"),
            // What was refused is counted.
            Some(
                FrameType::Data(_)
                | FrameType::Skipped { .. }
                | FrameType::Alive
                | FrameType::Relisted,
            )
            | None => {}
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::FetchSnapshot { instrument, request } => {
                match self.rest.get(&request.path).await {
                    Ok(reply) => {
                        let (at, body) = (reply.recv_time, &reply.body);
                        self.pipeline
                            .handle_rest(at, &request.path, body, &mut self.outputs)
                            .unwrap();
                    }
                    Err(RestError::Limited { banned, .. }) => {
                        *self.limited.entry(banned).or_default() += 1;
                        self.pipeline.handle_snapshot_failure(
                            &instrument,
                            now(),
                            &mut self.outputs,
                        );
                    }
                    Err(error) => panic!("{}: {error}", request.path),
                }
            }
            Command::Rejoin { instrument: _, streams } => {
                let has = |line: &Line| streams.iter().all(|s| line.plan.streams.contains(s));
                let number = self.lines.iter().position(has).unwrap();
                let adapter = self.pipeline.adapter();
                let mut requests = adapter.unsubscribe(&streams, &mut self.next_id);
                requests.extend(adapter.subscribe(&streams, &mut self.next_id));
                for request in requests {
                    self.say(number, request).await;
                }
            }
        }
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().map(|output| &output.event)
    }

    /// How many events of a kind there are.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.events().filter(|event| event.kind() == kind).count()
    }

    /// How many ids the trades of a kind stand for.
    pub(crate) fn ids(&self, kind: Kind) -> usize {
        let ids = self.trades(kind).map(|(_, trade)| trade.ids());
        ids.map(|(first, last)| usize::try_from(last - first + 1).unwrap()).sum()
    }

    /// The trades in the order in which they came, each with its instrument and time.
    pub(crate) fn trades(&self, kind: Kind) -> impl Iterator<Item = (&Event, &Trade)> {
        self.events().filter_map(move |event| match (&event.body, kind) {
            (Body::Trade(trade), Kind::Trade) | (Body::AggTrade(trade), Kind::AggTrade) => {
                Some((event, trade))
            }
            _ => None,
        })
    }

    /// The gap records of a kind.
    pub(crate) fn gaps(&self, of: Kind) -> Vec<&Gap> {
        let gaps = self.events().filter_map(|event| {
            let Body::Gap(gap) = &event.body else { return None };
            (gap.of == of).then_some(gap)
        });
        gaps.collect()
    }

    /// The changes of an instrument's book that were recorded, and the snapshots.
    pub(crate) fn books(&self, name: &str) -> Vec<&Book> {
        let books = self.events().filter_map(|event| {
            let Body::Book(book) = &event.body else { return None };
            (*event.instrument.name == *name).then_some(book)
        });
        books.collect()
    }

    /// Whether every book is in step.
    pub(crate) fn is_synced(&self) -> bool {
        let synced = |id: &&Arc<InstrumentId>| {
            self.pipeline.book(id, 1, now()).is_some_and(|book| book.synced)
        };
        self.instruments.iter().filter(synced).count() == self.instruments.len()
    }

    /// Asks for trades by their ids.
    pub(crate) async fn fetch(&mut self, name: &str, kind: Kind, from: u64) -> Vec<Trade> {
        let id = self.instruments.iter().find(|id| &*id.name == name).unwrap();
        let limit = A::LIMITS.trades_per_request;
        let request = self.pipeline.adapter().trades_request(id, kind, from, limit).unwrap();
        let reply = self.rest.get(&request.path).await.unwrap();
        let answer = self.pipeline.adapter_mut().parse_rest(&request.path, &reply.body).unwrap();
        let RestAnswer::Trades { trades, .. } = answer else { panic!("{answer:?}") };
        trades.into_iter().map(|(_, trade)| trade).collect()
    }

    /// The id of the newest trade that the venue has.
    pub(crate) async fn newest(&mut self, id: &InstrumentId, kind: Kind) -> Option<u64> {
        let request = self.pipeline.adapter().newest_request(id, kind).unwrap();
        let reply = self.rest.get(&request.path).await.unwrap();
        let answer = self.pipeline.adapter_mut().parse_rest(&request.path, &reply.body).unwrap();
        let RestAnswer::Trades { trades, .. } = answer else { panic!("{answer:?}") };
        assert!(trades.len() <= 1, "{trades:?}");
        trades.first().map(|(_, trade)| trade.seq)
    }
}

/// The last ids of the diffs among books.
pub(crate) fn diffs(books: &[&Book]) -> Vec<u64> {
    let diffs = books.iter().filter(|book| book.book_type == BookType::Diff);
    diffs.map(|book| book.last_id).collect()
}

pub(crate) fn tls() -> Tls {
    Tls::new(None).unwrap()
}

/// The instruments, which some venues list in parts.
async fn list<A: Adapter>(adapter: &A, rest: &Rest) -> Vec<Instrument> {
    let path = adapter.instruments_request().path;
    let reply = rest.get(&path).await.unwrap();
    let mut list = adapter.parse_instruments(&reply.body).unwrap();
    for request in adapter.more_instruments(&path, &reply.body).unwrap() {
        let part = rest.get(&request.path).await.unwrap();
        list.extend(adapter.parse_instruments(&part.body).unwrap());
    }
    list
}

/// Everything there is.
fn wanted(instruments: &[Arc<InstrumentId>], intervals: &[&str]) -> Vec<Feed> {
    let mut wanted = Vec::new();
    for (id, kind) in
        instruments.iter().flat_map(|id| Kind::ALL.iter().map(move |kind| (id, *kind)))
    {
        let of = |interval| Feed { instrument: Arc::clone(id), kind, interval };
        if kind == Kind::Kline {
            wanted.extend(intervals.iter().map(|interval| of(Some(Arc::from(*interval)))));
        } else {
            wanted.push(of(None));
        }
    }
    wanted
}
