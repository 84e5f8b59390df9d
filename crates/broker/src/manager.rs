//! Task: keeps streams and consumers as declared, looks at them, and removes what may go.

use crate::advice::{Logged, Silence, full_disk, too_few_servers};
use crate::growth::Growth;
use crate::metrics::Metrics;
use crate::monitor::{Monitor, is_about};
use crate::trim::{self, Search};
use crate::view::{
    AccountView, ConsumerView, DeadLettersView, Fill, ServerView, StreamView, View, texts,
};
use bus::{Bus, ConsumerSpec, Ensured, Refused, RequestError, StreamSpec};
use daemon::{Dependency, Health, Required, Status, Task};
use jiff::Timestamp;
use settings::Suite;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Pause between two looks while something is not as declared, or a stream fills up: collectors that
/// spool wait for the room that a look makes.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between two removals from the same stream, and the same while it is filling up. From one
/// that is full each look removes: how fast what was spooled comes in depends on it.
///
/// Removing is cheap, but nats-server 2.9 then forgets what it has delivered to consumers of
/// others, so it is not done more often than it must.
const TRIM_INTERVAL: Duration = Duration::from_mins(5);
const TRIM_INTERVAL_FILLING: Duration = Duration::from_secs(2);

/// What is asked before anything about streams.
const ACCOUNT: &str = "JetStream";

/// What the manager reports to.
pub(crate) struct Reports {
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
    nats: Dependency,
    streams: Dependency,
    space: Dependency,
    replicas: Dependency,
}

impl Reports {
    pub(crate) fn new(metrics: Metrics, status: Status, health: &Health) -> Self {
        Self {
            metrics,
            status,
            nats: health.dependency("nats", Required::Yes),
            streams: health.dependency("streams", Required::Yes),
            space: health.dependency("space", Required::No),
            replicas: health.dependency("replicas", Required::No),
        }
    }

    fn show(&self, view: &View) {
        self.metrics.show(view);
        self.status.set(view.summary());
        match &view.outage {
            Some(outage) => {
                self.nats.down(outage.clone());
                self.streams.down("NATS does not answer");
                return;
            }
            None => self.nats.up(),
        }
        let bad: Vec<&str> = view
            .streams
            .iter()
            .filter(|stream| !stream.is_ok())
            .map(|stream| stream.name.as_str())
            .chain((!view.dead_letters.is_ok()).then_some(wire::DEAD_LETTERS))
            .collect();
        if bad.is_empty() {
            self.streams.up();
        } else {
            self.streams.down(format!("not as declared: {}", bad.join(", ")));
        }
        let shortages = view.shortages();
        if shortages.is_empty() {
            self.replicas.up();
        } else {
            self.replicas.down(shortages.join("; "));
        }
        let full: Vec<&str> = view.filled(Fill::Full).map(|stream| stream.name.as_str()).collect();
        if full.is_empty() {
            self.space.up();
        } else {
            self.space.down(format!("full, so that collectors spool: {}", full.join(", ")));
        }
    }
}

/// Keeps NATS as declared.
pub(crate) struct Manager {
    bus: Bus,
    suite: watch::Receiver<Arc<Suite>>,
    reports: Reports,
    view: watch::Sender<Arc<View>>,
    /// Whether `JetStream` has answered since the service started.
    had_jetstream: bool,
    /// When blocks were last removed from a stream.
    trimmed: BTreeMap<&'static str, Instant>,
    /// Streams whose replay window has been shortened, which is in the log.
    shortened: BTreeSet<&'static str>,
    /// Whether the last look found a stream that filled up, and made room: it fills up again at once
    /// where collectors have spooled.
    relieved: bool,
    growth: Growth,
    silence: Silence,
    monitor: Monitor,
    logged: Logged,
}

impl Manager {
    pub(crate) fn new(bus: Bus, suite: watch::Receiver<Arc<Suite>>, reports: Reports) -> Self {
        Self {
            bus,
            suite,
            reports,
            view: watch::Sender::new(Arc::new(View {
                outage: Some("NATS has not answered yet".to_owned()),
                ..View::default()
            })),
            had_jetstream: false,
            trimmed: BTreeMap::new(),
            shortened: BTreeSet::new(),
            relieved: false,
            growth: Growth::default(),
            silence: Silence::default(),
            monitor: Monitor::new(),
            logged: Logged::default(),
        }
    }

    /// What was seen last, and its changes.
    pub(crate) fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Makes everything as declared, trying again until `wait` is over. Whether it succeeded.
    pub(crate) async fn settle(&mut self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            if let Ok(true) = tokio::time::timeout_at(deadline, self.look()).await {
                return true;
            }
            if tokio::time::timeout_at(deadline, self.rest()).await.is_err() {
                return false;
            }
        }
    }

    /// Runs until asked to stop.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        while task.until_stopped(Box::pin(self.look())).await.is_some() {
            if task.until_stopped(self.rest()).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Waits until it is time to look again: later if all is well, at once after a reconnect or a
    /// changed configuration.
    async fn rest(&mut self) {
        let is_calm = !self.relieved && {
            let view = self.view.borrow();
            view.is_ok() && view.filled(Fill::Filling).next().is_none()
        };
        let pause = if is_calm { LOOK_INTERVAL } else { RETRY_INTERVAL };
        let mut state = self.bus.state();
        let connected = state.borrow_and_update().is_connected();
        let reconnected = state.wait_for(|state| state.is_connected() != connected);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // An error means that the sender is gone, and the service about to stop.
            _ = reconnected => {}
            Ok(()) = self.suite.changed() => {}
        }
    }

    /// Makes everything as declared and notes what is there. Whether all is as declared.
    pub(crate) async fn look(&mut self) -> bool {
        let view = self.observe().await;
        let is_ok = view.is_ok();
        self.log(&view);
        self.reports.show(&view);
        self.view.send_replace(Arc::new(view));
        is_ok
    }

    async fn observe(&mut self) -> View {
        self.relieved = false;
        let suite = Arc::clone(&self.suite.borrow_and_update());
        self.silence.expect_replicas(suite.broker.replicas);
        let server = self.bus.server().map(|server| ServerView {
            name: server.name,
            version: server.version,
            payload_max: server.payload_max,
        });
        let mut view = View {
            url: self.bus.url().to_owned(),
            connection: self.bus.state().borrow().to_string(),
            server,
            ..View::default()
        };
        match self.bus.account_info().await {
            Ok(_) => {
                self.had_jetstream = true;
                self.silence.answered(ACCOUNT);
            }
            Err(error) => {
                view.outage = Some(self.outage(&error));
                view.streams = wire::STREAMS.iter().map(StreamView::absent).collect();
                return view;
            }
        }
        for stream in wire::STREAMS {
            view.streams.push(match self.keep(stream, &suite).await {
                Ok(kept) => {
                    self.silence.answered(stream.name);
                    kept
                }
                Err(error) => {
                    let problem = Some(self.silence.advise(stream.name, &error));
                    StreamView { problem, ..StreamView::absent(stream) }
                }
            });
        }
        view.dead_letters = match self.keep_dead_letters(&suite).await {
            Ok(kept) => {
                self.silence.answered(wire::DEAD_LETTERS);
                kept
            }
            Err(error) => {
                let problem = Some(self.silence.advise(wire::DEAD_LETTERS, &error));
                DeadLettersView { problem, ..DeadLettersView::default() }
            }
        };
        let complaints = self.monitor.complaints(&suite).await;
        heed(&mut view, complaints);
        // Afterwards, so that what was just created counts.
        view.jetstream = self.bus.account_info().await.ok().map(|info| AccountView::of(&info));
        view
    }

    /// Makes one stream and its consumer as declared, removes what may go, and looks at them.
    async fn keep(
        &mut self,
        stream: &'static wire::Stream,
        suite: &Suite,
    ) -> Result<StreamView, RequestError> {
        let replicas = suite.broker.replicas;
        let spec = StreamSpec::of(stream, bytes_max(stream, suite)).on(replicas);
        let ensured = self.bus.ensure_stream(&spec).await?;
        self.note(stream.name, &ensured);
        let reader = self.bus.ensure_consumer(&ConsumerSpec::of(stream)).await?;
        self.note(&format!("{}/{}", stream.name, stream.consumer), &reader);
        let consumer = self.bus.consumer_info(stream.name, stream.consumer).await?;
        let mut info = self.bus.stream_info(stream.name).await?;
        let mut problem = ensured.refused.as_ref().map(|error| refusal(error, replicas));
        // A replicated stream would first have all its servers agree on the question.
        if info.replicas() == 1 {
            problem = self.probe(stream).await.or(problem);
        }
        let fill = StreamView::of(stream, &info).fill();
        if self.may_trim(stream.name, fill) {
            let name = format!("{} trim", stream.name);
            let floor = consumer.ack_floor.stream_seq;
            match self.trim(stream.name, &info, fill, &[floor], suite).await {
                Ok(removed) => {
                    self.silence.answered(&name);
                    if removed > 0 {
                        info = self.bus.stream_info(stream.name).await?;
                    }
                }
                Err(error) => {
                    let advice = self.silence.advise(&name, &error);
                    problem = Some(format!("cannot be trimmed: {advice}"));
                }
            }
        }
        let mut view = StreamView { problem, ..StreamView::of(stream, &info) };
        view.differs = texts(&ensured.differs);
        if consumer.delivered.stream_seq > info.state.last_seq {
            view.problem = Some(format!(
                "consumer {} stands at {}, beyond the stream's end {}: the server has lost data",
                consumer.name, consumer.delivered.stream_seq, info.state.last_seq
            ));
        }
        view.consumers.push(ConsumerView::of(&consumer, &info, &reader.differs));
        let growth = self.growth.note(stream.name, Instant::now(), info.state.bytes);
        Ok(view.growing(growth))
    }

    /// Makes the stream of the dead letters as declared, and looks at it. Nothing is removed from it
    /// but by a redrive, or by hand.
    async fn keep_dead_letters(&self, suite: &Suite) -> Result<DeadLettersView, RequestError> {
        let replicas = suite.broker.replicas;
        let bytes_max = suite.broker.streams.dead_letter.bytes();
        let spec = StreamSpec::dead_letters(bytes_max).on(replicas);
        let ensured = self.bus.ensure_stream(&spec).await?;
        self.note(wire::DEAD_LETTERS, &ensured);
        let info = self.bus.stream_info(wire::DEAD_LETTERS).await?;
        let problem = ensured.refused.as_ref().map(|error| refusal(error, replicas));
        Ok(DeadLettersView { problem, ..DeadLettersView::of(&info, &ensured.differs) })
    }

    /// Asks whether the stream answers to those who publish; says what is wrong if not.
    ///
    /// A stream can tell its figures and leave every publish unanswered, which collectors meet and
    /// nobody else would.
    async fn probe(&mut self, stream: &'static wire::Stream) -> Option<String> {
        let name = format!("{} publish", stream.name);
        match self.bus.probe_stream(stream).await {
            Ok(()) => {
                self.silence.answered(&name);
                None
            }
            Err(error) => {
                let advice = self.silence.advise(&name, &error);
                Some(format!("cannot be published to: {advice}"))
            }
        }
    }

    fn may_trim(&mut self, stream: &'static str, fill: Fill) -> bool {
        let pause = match fill {
            Fill::Fine => TRIM_INTERVAL,
            Fill::Filling => TRIM_INTERVAL_FILLING,
            Fill::Full => Duration::ZERO,
        };
        let now = Instant::now();
        let due = self.trimmed.get(stream).is_none_or(|at| now - *at >= pause);
        if due {
            self.trimmed.insert(stream, now);
        }
        due
    }

    /// Removes the blocks that may go; returns how many.
    async fn trim(
        &mut self,
        stream: &'static str,
        info: &bus::StreamInfo,
        fill: Fill,
        floors: &[u64],
        suite: &Suite,
    ) -> Result<u64, RequestError> {
        let state = &info.state;
        let window = i64::try_from(suite.broker.replay_window.as_nanos()).unwrap_or(i64::MAX);
        let cutoff = i128::from(daemon::clock::now().saturating_sub(window));
        let is_old = |time: Timestamp| time.as_nanosecond() < cutoff;
        let allowed = trim::acknowledged(state.first_seq, state.last_seq, floors);
        let bytes_max = bytes_max_of(info);
        let relief = trim::relief(state.first_seq, state.last_seq, state.bytes, bytes_max, fill);
        let relief = relief.min(allowed.end);
        if state.messages == 0 || allowed.is_empty() {
            return Ok(0);
        }
        let mut keep_from = state.first_seq;
        if state.first_time.is_some_and(is_old) {
            let mut search = Search::new(allowed);
            while let Some(seq) = search.probe() {
                let block = self.bus.stored(stream, seq).await?;
                // A block that is gone is as good as old.
                search.answer(block.is_none_or(|block| is_old(block.time)));
            }
            keep_from = search.keep_from();
        }
        if relief > keep_from {
            keep_from = relief;
            self.shorten(stream);
        }
        if keep_from <= state.first_seq {
            return Ok(0);
        }
        let removed = self.bus.purge_below(stream, keep_from).await?;
        self.reports.metrics.removed(stream, removed);
        tracing::debug!(stream, removed, keep_from, "stored blocks removed");
        Ok(removed)
    }

    /// Notes that blocks go before the replay window is over.
    fn shorten(&mut self, stream: &'static str) {
        self.relieved = true;
        self.reports.metrics.shortened(stream);
        if self.shortened.insert(stream) {
            tracing::warn!(
                stream,
                "the replay window does not fit: stored blocks go earlier, so that new ones have \
                 room; raise broker.streams or shorten broker.replay_window"
            );
        }
    }

    fn note(&self, name: &str, ensured: &Ensured) {
        if ensured.created {
            self.reports.metrics.changed();
            tracing::info!(name, "created as declared");
        }
        if !ensured.changed.is_empty() {
            self.reports.metrics.changed();
            let changes = texts(&ensured.changed).join(", ");
            tracing::warn!(name, changes, "was not as declared; changed");
        }
    }

    /// Logs the problems that are new, and the end of those that are over.
    fn log(&mut self, view: &View) {
        let (new, over) = self.logged.replace(view.problems());
        for problem in new {
            tracing::warn!(problem, "NATS is not as declared");
        }
        if over {
            tracing::info!(summary = view.summary(), "NATS is as declared again");
        }
    }

    fn outage(&mut self, error: &RequestError) -> String {
        if let RequestError::NoJetStream { url, detail } = error
            && self.had_jetstream
        {
            return format!(
                "the NATS server at {url} has switched JetStream off ({detail}), as it does when \
                 its disk is full: make room, then systemctl restart marketprism-nats.service"
            );
        }
        self.silence.advise(ACCOUNT, error)
    }
}

/// What is told when the server does not give a stream as many replicas as it shall have.
fn refusal(error: &Refused, replicas: u8) -> String {
    too_few_servers(&format!("cannot have {replicas} replicas: {error}"), replicas)
}

/// Notes what the server complains about: of a declared stream it is the stream's problem.
fn heed(view: &mut View, complaints: &[String]) {
    for complaint in complaints {
        let advice = full_disk(complaint).unwrap_or_else(|| complaint.clone());
        match view.streams.iter_mut().find(|stream| is_about(complaint, &stream.name)) {
            Some(stream) => {
                let problem = stream.problem.take().map(|problem| format!("{problem}; {advice}"));
                stream.problem = Some(problem.unwrap_or(advice));
            }
            None if is_about(complaint, wire::DEAD_LETTERS) => {
                view.dead_letters.problem = Some(advice);
            }
            None => view.complaints.push(format!("the NATS server is not well: {advice}")),
        }
    }
}

/// The room of a stream, as it is.
fn bytes_max_of(info: &bus::StreamInfo) -> u64 {
    info.config.get("max_bytes").and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// The room of a stream, as configured.
fn bytes_max(stream: &wire::Stream, suite: &Suite) -> u64 {
    let sizes = suite.broker.streams.all();
    let size = sizes.iter().find(|(kind, _)| *kind == stream.kind.as_str());
    size.map_or(0, |(_, size)| size.bytes())
}
