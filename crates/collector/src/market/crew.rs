//! The feeds of one market, and who of them carries what.

mod by_hand;
mod reload;

use super::{Listing, Market, Relisted};
use crate::board::{FeedHandle, FeedStatus, Query};
use crate::feed::{Feed, Parts, Questions};
use crate::handover::Key;
use crate::line::{Dial, instant_of, now};
use crate::orders::{Changes, Order, Refreshed};
use crate::poller::{self, Poller};
use crate::publisher::LastIds;
use crate::roster::{Assignment, Roster, books, carried};
use anyhow::Context as _;
use daemon::Task;
use feed::{Options, Pipeline};
use futures_util::future::{BoxFuture, OptionFuture};
use model::{Instrument, InstrumentId};
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use venue::{Adapter, ConnectionPlan, Selection, replan, select};

/// The wait before a list that could not be read is asked for again.
const RETRY: Duration = Duration::from_secs(60);

/// How long after the last look at the list the venue's notice leads to the next one: some tell of
/// every change of a rule. The tests have their own venue and no such patience.
const NOTICE_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

/// How long to let a venue finish what it gives notice of, and a contract end.
const GRACE: Duration = Duration::from_secs(2);

/// What a task of the market ends with.
type Ended = (String, anyhow::Result<()>);

/// The feeds of one market.
pub(super) struct Crew<A> {
    market: Market,
    /// It knows the list.
    adapter: A,
    listing: Listing,
    /// Whether the last list that was read was so short that it was not believed.
    doubted: bool,
    last_ids: LastIds,
    /// How the feeds ask for the newest trades.
    questions: Questions,
    changes: Changes,
    plans: Vec<ConnectionPlan>,
    /// By the names of the connections.
    posts: BTreeMap<String, Post>,
    tasks: JoinSet<Ended>,
    roster: Option<Arc<Roster>>,
    /// Whether the list is newer than the roster.
    is_news: bool,
    /// The names of feeds that were told to end and have not yet.
    leaving: Vec<String>,
    /// Whatever this run has carried at any time of what earlier runs have left.
    met: BTreeSet<Key>,
    /// How often what the venue refuses was tried.
    attempt: u64,
    relisted: Relisted,
    read_at: Instant,
    refresh_at: Instant,
    reading: Option<BoxFuture<'static, anyhow::Result<Listing>>>,
    /// Who asked for that by hand. One whom the next replaces has gone: the interface asks once at
    /// a time.
    asker: Option<oneshot::Sender<Result<Refreshed, Arc<str>>>>,
}

/// How a feed is told what to carry, and how it is seen.
struct Post {
    assigned: watch::Sender<Option<Arc<Assignment>>>,
    resume: Vec<(Key, u64)>,
    status: watch::Receiver<FeedStatus>,
    queries: mpsc::Sender<Query>,
}

/// What there is to act on.
pub(super) enum Wake {
    Ended(Result<Ended, JoinError>),
    Order(Order),
    Reloaded,
    Listed(anyhow::Result<Listing>),
    Relisted,
    Due,
}

impl<A: Adapter + Clone + Send + Sync + 'static> Crew<A> {
    pub(super) fn new(
        market: Market,
        adapter: A,
        listing: Listing,
        last_ids: LastIds,
        changes: Changes,
    ) -> Self {
        let now_at = Instant::now();
        let questions = market.questions();
        let mut crew = Self {
            market,
            adapter,
            listing,
            doubted: false,
            last_ids,
            questions,
            changes,
            plans: Vec::new(),
            posts: BTreeMap::new(),
            tasks: JoinSet::new(),
            roster: None,
            is_news: true,
            leaving: Vec::new(),
            met: BTreeSet::new(),
            attempt: 0,
            relisted: Relisted::default(),
            read_at: now_at,
            refresh_at: now_at,
            reading: None,
            asker: None,
        };
        crew.listed();
        // A reload may have come meanwhile.
        crew.reloaded();
        crew
    }

    /// Starts the first feeds, and what asks for the kinds that no stream carries.
    pub(super) fn muster(&mut self, task: &Task) -> anyhow::Result<()> {
        self.plan(task)?;
        let poller = Poller::new(poller::Parts {
            adapter: self.adapter.clone(),
            roster: self.market.roster.subscribe(),
            fetches: self.market.door.polls.clone(),
            ration: self.market.door.ration.clone(),
            outbox: self.market.outbox(),
            board: self.market.ways.board.clone(),
            metrics: self.market.ways.metrics.clone(),
            tap: self.market.tap("polls"),
        });
        if let Some(poller) = poller {
            let task = task.clone();
            self.tasks.spawn(async move { ("poller".to_owned(), poller.run(task).await) });
        }
        let (instruments, connections) = (self.listing.list.len(), self.plans.len());
        tracing::info!(instruments, connections, "market planned");
        Ok(())
    }

    /// Waits for something to act on. Cancel-safe.
    pub(super) async fn wake(&mut self) -> Wake {
        let due = self.due_at();
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next() => Wake::Ended(ended),
            Some(order) = self.market.orders.recv() => Wake::Order(order),
            Ok(()) = self.market.ways.suite.changed() => Wake::Reloaded,
            Some(listing) = OptionFuture::from(self.reading.as_mut()) => Wake::Listed(listing),
            () = self.relisted.notified() => Wake::Relisted,
            () = sleep_until(due) => Wake::Due,
        }
    }

    /// Acts on it.
    pub(super) async fn act(&mut self, wake: Wake, task: &Task) -> anyhow::Result<()> {
        match wake {
            Wake::Ended(ended) => {
                let (name, result) = ended.context("run a feed")?;
                result?;
                let told = self.leaving.iter().position(|leaving| *leaving == name);
                let Some(told) = told else {
                    anyhow::bail!("the feed `{name}` ended although nobody asked it to");
                };
                self.leaving.swap_remove(told);
            }
            Wake::Order(Order::Change(change)) => self.obey(change, task).await?,
            Wake::Order(Order::Refresh(asker)) => self.refresh_for(asker),
            Wake::Reloaded => {
                if self.reloaded() {
                    self.plan(task)?;
                }
            }
            Wake::Listed(listing) => self.take(listing, task)?,
            Wake::Relisted => {
                let next = (self.read_at + NOTICE_PAUSE).max(Instant::now() + GRACE);
                self.refresh_at = self.refresh_at.min(next);
            }
            Wake::Due => {
                if self.refresh_at <= Instant::now() {
                    self.refresh();
                }
                // Or a contract has ended.
                self.plan(task)?;
            }
        }
        Ok(())
    }

    /// Lets go of everything but the tasks.
    pub(super) fn disband(self) -> JoinSet<Ended> {
        self.tasks
    }

    /// The next look at the list, or at the contract that ends next.
    fn due_at(&self) -> Instant {
        let refresh = if self.reading.is_some() { None } else { Some(self.refresh_at) };
        let wanted = self.roster.iter().flat_map(|roster| &*roster.wanted);
        let wanted: BTreeSet<&Arc<InstrumentId>> = wanted.collect();
        let ends = self.listing.list.iter().filter(|it| wanted.contains(&it.id));
        let end = ends.filter_map(|it| it.expiry).min().map(|end| instant_of(end) + GRACE);
        let far = Instant::now() + RETRY;
        [refresh, end].into_iter().flatten().fold(far, Instant::min)
    }

    /// Begins to read the list anew, as a request that can wait.
    fn refresh(&mut self) {
        let (adapter, fetches) = (self.adapter.clone(), self.market.door.polls.clone());
        let with_volumes = self.market.wanted.selection.top.is_some();
        let tap = self.market.tap("list");
        let reading = async move { Listing::read(&adapter, &fetches, with_volumes, tap).await };
        self.reading = Some(Box::pin(reading));
        self.refresh_at = Instant::now() + RETRY;
    }

    /// Takes a list that was read, or that could not be.
    fn take(&mut self, listing: anyhow::Result<Listing>, task: &Task) -> anyhow::Result<()> {
        self.reading = None;
        self.read_at = Instant::now();
        self.refresh_at = self.read_at + RETRY;
        let metrics = self.market.ways.metrics.clone();
        let listing = listing.and_then(|listing| self.believed(listing));
        match listing {
            Ok(listing) => {
                metrics.listing("ok");
                let changed = self.follow(listing, task)?;
                self.answer(Ok(changed));
            }
            Err(error) => {
                metrics.listing("failed");
                let reason: Arc<str> = Chain(error.as_ref()).to_string().into();
                tracing::warn!(error = &*reason, "the instruments stay those of the last list");
                let board = &self.market.ways.board;
                board.update(self.market.of(), |market| {
                    market.reason = Some(Arc::clone(&reason));
                });
                self.answer(Err(reason));
            }
        }
        Ok(())
    }

    /// Has what is recorded follow another list.
    fn follow(&mut self, listing: Listing, task: &Task) -> anyhow::Result<Refreshed> {
        let (before, recorded) = (std::mem::replace(&mut self.listing, listing), self.recorded());
        // What the venue refuses is tried again.
        self.attempt += 1;
        self.listed();
        self.plan(task)?;
        let recorded_now = self.recorded();
        let before = (before.list.as_slice(), &*recorded);
        let after = (self.listing.list.as_slice(), &*recorded_now);
        Ok(Refreshed::between(before, after))
    }

    fn recorded(&self) -> Arc<BTreeSet<Arc<InstrumentId>>> {
        self.roster.as_ref().map(|roster| Arc::clone(&roster.wanted)).unwrap_or_default()
    }

    /// Doubts a list that has lost most of its instruments: a venue in trouble may send half of
    /// one. When the next says the same it is so.
    fn believed(&mut self, listing: Listing) -> anyhow::Result<Listing> {
        let (now, before) = (listing.list.len(), self.listing.list.len());
        self.doubted = !self.doubted && now < before / 2;
        anyhow::ensure!(!self.doubted, "the list has shrunk from {before} instruments to {now}");
        Ok(listing)
    }

    /// Has everybody know the list.
    fn listed(&mut self) {
        self.adapter.set_instruments(&self.listing.list);
        self.is_news = true;
        let interval = self.market.ways.suite.borrow().collector.instruments.refresh;
        let jitter = rand::rng().random_range(0.9..=1.1);
        self.read_at = Instant::now();
        self.refresh_at = self.read_at + interval.mul_f64(jitter);
        let (count, at) = (self.listing.list.len(), now());
        self.market.ways.board.update(self.market.of(), |market| {
            (market.listed, market.refreshed, market.reason) = (Some(count), Some(at), None);
        });
    }

    fn select(&self, selection: &Selection) -> venue::Selected {
        let nobody = BTreeSet::new();
        let held = self.roster.as_ref().map_or(&nobody, |roster| &*roster.wanted);
        select(&self.listing.list, &self.listing.volumes, held, now(), selection)
    }

    /// Works out who carries what, and tells those for whom that is news.
    fn plan(&mut self, task: &Task) -> anyhow::Result<()> {
        let selection = self.changes.over(&self.market.wanted.selection);
        let selected = self.select(&selection);
        let is_same = self.roster.as_ref().is_some_and(|it| *it.wanted == selected.instruments);
        if is_same && !self.is_news {
            return Ok(());
        }
        self.is_news = false;
        self.tell_of(&selected);
        let feeds: Vec<venue::Feed> =
            selected.instruments.iter().flat_map(|id| self.market.feeds_of(id)).collect();
        let streams_max = self.market.wanted.streams_per_connection;
        self.plans = replan(&self.adapter, &self.plans, &feeds, streams_max);
        let list: Arc<[Instrument]> = self.listing.list.as_slice().into();
        self.market.ways.board.set_list(self.market.of(), Arc::clone(&list));
        let kinds = self.market.wanted.kinds.clone();
        let roster = Arc::new(Roster { list, wanted: Arc::new(selected.instruments), kinds });
        self.roster = Some(Arc::clone(&roster));
        let plans = self.plans.clone();
        let is_over = |name: &String| plans.iter().all(|plan| plan.name != *name);
        for (name, post) in self.posts.extract_if(.., |name, _| is_over(name)) {
            post.assigned.send_replace(None);
            self.leaving.push(name);
        }
        let mut handles = Vec::new();
        for plan in plans {
            handles.push(self.assign(plan, &feeds, &roster, task));
        }
        let is_wanted = |key: &&Key| {
            roster.wanted.contains(&key.instrument) && roster.kinds.contains(&key.kind)
        };
        self.met.extend(self.last_ids.keys().filter(is_wanted).cloned());
        // The connections have yet to let go of what is not carried any more: that is forgotten
        // with the next look at the list.
        self.market.ways.subjects.forget(self.market.of(), &roster.wanted, now());
        let chosen = roster.wanted.len();
        self.market.roster.send_replace(Some(roster));
        self.market.ways.board.update(self.market.of(), |market| {
            market.connections.extend(handles.iter().map(|feed| Arc::clone(&feed.name)));
            (market.feeds, market.chosen) = (handles, chosen);
            market.unknown = selected.unknown;
        });
        Ok(())
    }

    /// Says what in the configuration does not choose what it seems to.
    fn tell_of(&self, selected: &venue::Selected) {
        let section = self.market.section();
        if !selected.unknown.is_empty() {
            let symbols = selected.unknown.join(", ");
            let key = format!("{section}.symbols");
            tracing::warn!(key, symbols, "the venue does not list these symbols");
        }
        if selected.instruments.is_empty() {
            tracing::warn!(section, "nothing that the venue lists is chosen");
        }
    }

    /// Tells a feed what to carry; starts it if there is none of that name.
    fn assign(
        &mut self,
        plan: ConnectionPlan,
        feeds: &[venue::Feed],
        roster: &Arc<Roster>,
        task: &Task,
    ) -> FeedHandle {
        let name: Arc<str> = plan.name.as_str().into();
        let streams: Arc<[String]> = plan.streams.as_slice().into();
        let instruments: Arc<[Arc<InstrumentId>]> = plan.instruments.as_slice().into();
        let carried = Arc::new(carried(&self.adapter, &plan, feeds));
        let mut resume = self.posts.get(&*name).map(|post| post.resume.clone()).unwrap_or_default();
        resume.extend(self.resume(&carried));
        let assignment = Arc::new(Assignment {
            plan,
            carried: Arc::clone(&carried),
            roster: Arc::clone(roster),
            resume: resume.clone(),
            attempt: self.attempt,
        });
        if let Some(post) = self.posts.get_mut(&*name) {
            post.resume = resume;
            post.assigned.send_replace(Some(assignment));
        } else {
            let post = self.start(&name, assignment, resume, task);
            self.posts.insert(name.to_string(), post);
        }
        let post = &self.posts[&*name];
        FeedHandle {
            streams,
            instruments,
            books: books(&carried).into_iter().collect(),
            carried,
            status: post.status.clone(),
            queries: post.queries.clone(),
            name,
        }
    }

    /// Where earlier runs have left what is carried now for the first time.
    fn resume(&self, carried: &crate::roster::Carried) -> Vec<(Key, u64)> {
        let last = |(key, last): (&Key, &u64)| (key.clone(), *last);
        let is_first = |(key, _): &(Key, u64)| {
            let carries = |cargo: &crate::roster::Cargo| {
                cargo.instrument == key.instrument && cargo.kinds.contains(&key.kind)
            };
            !self.met.contains(key) && carried.values().any(carries)
        };
        self.last_ids.iter().map(last).filter(is_first).collect()
    }

    fn start(
        &mut self,
        name: &Arc<str>,
        assignment: Arc<Assignment>,
        resume: Vec<(Key, u64)>,
        task: &Task,
    ) -> Post {
        let market = &self.market;
        let mut url = market.stream_url.clone();
        let base = url.path().trim_end_matches('/');
        let path = format!("{base}{}", assignment.plan.path);
        url.set_path(&path);
        let options = Options {
            depth: market.wanted.depth,
            // The backfill heals what late trades fill, once they are acknowledged.
            heal_when_seen: false,
            kinds: assignment.roster.kinds.clone(),
            instruments: Some(Arc::clone(&assignment.roster.wanted)),
            ..Options::default()
        };
        let (gate, tls) = (Arc::clone(&market.gate), market.tls.clone());
        let proxy = market.proxy.clone();
        let (assigned, assignments) = watch::channel(Some(assignment));
        let (feed, status, queries) = Feed::new(Parts {
            name: Arc::clone(name),
            assigned: assignments,
            pipeline: Pipeline::new(self.adapter.clone(), options),
            dial: Dial { url, tls, proxy, limits: A::LIMITS, gate },
            fetches: market.door.urgent.clone(),
            questions: self.questions.clone(),
            outbox: market.outbox(),
            relisted: Arc::clone(&self.relisted),
            metrics: market.ways.metrics.clone(),
            state_directory: market.ways.state_directory.clone(),
            tap: market.ways.taps.as_ref().map(|taps| taps.of(name)),
        });
        let (name, task) = (name.to_string(), task.clone());
        self.tasks.spawn(async move { (name, feed.run(task).await) });
        Post { assigned, resume, status, queries }
    }
}
