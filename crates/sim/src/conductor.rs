//! The owner of the market: drives it, writes the ledger, strikes the faults, feeds the clients.

use crate::fault::{Action, Fault};
use crate::frame::Frame;
use crate::generator::Generator;
use crate::history::{Form, History};
use crate::ledger::{Entry, FaultEntry, Ledger};
use crate::malformed::Malformed;
use crate::playback::{Playback, Step};
use crate::shadow::Shadow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often the market moves on.
const TICK: Duration = Duration::from_millis(2);

/// Batches waiting for one client, about ten seconds of ticks. A client that falls further behind
/// is disconnected, as the venue does.
pub const CLIENT_QUEUE: usize = 5_000;

/// How long no client may have changed its subscriptions before the market opens.
const SETTLE: Duration = Duration::from_millis(500);

/// What drives the market.
#[derive(Debug)]
pub enum Source {
    /// Made up.
    Generated {
        /// The market.
        market: Generator,
        /// Events per second.
        rate: f64,
        /// How long it lasts; for ever without.
        length: Option<Duration>,
    },
    /// Recorded.
    Recorded {
        /// The recording.
        playback: Playback,
        /// Seconds of the recording per second.
        speed: f64,
    },
}

/// What sessions ask of the conductor.
#[derive(Debug)]
pub enum Command {
    /// A client connected.
    Join {
        /// Its number.
        client: u64,
        /// Where its frames go.
        frames: mpsc::Sender<Batch>,
    },
    /// A client changed what it wants.
    Subscribe {
        /// Its number.
        client: u64,
        /// Streams to add.
        add: Vec<String>,
        /// Streams to remove.
        remove: Vec<String>,
    },
    /// A client left.
    Leave {
        /// Its number.
        client: u64,
    },
    /// Someone wants a book.
    Depth {
        /// The instrument.
        instrument: String,
        /// Levels per side.
        limit: usize,
        /// Where the answer goes, once there is one.
        answer: oneshot::Sender<Answer>,
    },
    /// Someone wants trades that he missed.
    Trades {
        /// The instrument.
        instrument: String,
        /// By which call.
        form: Form,
        /// The first id; without it the latest.
        from: Option<u64>,
        /// How many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// Someone wants a fault to strike now, whatever its time.
    Strike(Fault),
    /// Someone wants the market to be over; connections stay open.
    End,
    /// Someone wants to know how it goes.
    Progress {
        /// Where the answer goes.
        answer: oneshot::Sender<Progress>,
    },
}

/// The body of an answer, or why there is none.
pub type Answer = Result<String, Refusal>;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client is to leave the venue alone for so long.
    Limited(Duration),
    /// The venue is out of order.
    Away,
}

/// Frames of one tick for one client.
pub type Batch = Vec<Arc<Frame>>;

/// How far the market is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Progress {
    /// Whether the market opened.
    pub started: bool,
    /// Whether it is over.
    pub finished: bool,
    /// Frames produced.
    pub frames: u64,
    /// Ledger lines written.
    pub ledger: u64,
    /// Clients connected.
    pub clients: usize,
    /// Times a client was disconnected for being slow.
    pub slow_clients: u64,
    /// Malformed frames sent, to all clients together.
    pub malformed: u64,
}

struct Client {
    frames: mpsc::Sender<Batch>,
    streams: BTreeSet<String>,
}

struct Waiting {
    instrument: String,
    limit: usize,
    answer: oneshot::Sender<Answer>,
    due: Instant,
}

/// The owner of the market. Run it with [`Conductor::run`].
pub struct Conductor {
    source: Source,
    ledger: Ledger,
    faults: VecDeque<Fault>,
    clients: BTreeMap<u64, Client>,
    shadows: BTreeMap<String, Shadow>,
    history: History,
    waiting: Vec<Waiting>,
    opened: Option<Instant>,
    last_change: Option<Instant>,
    emitted: u64,
    frames: u64,
    slow_clients: u64,
    finished: bool,
    ended: bool,
    drop_next: u32,
    double_next: u32,
    stalled_until: Option<Instant>,
    held: Vec<Arc<Frame>>,
    malformed: Malformed,
    snapshot_delay: Duration,
    limited_until: Option<Instant>,
    away_until: Option<Instant>,
    wall: fn() -> i64,
}

impl Conductor {
    /// A conductor whose market opens when the first client has subscribed. `wall` tells the wall
    /// clock in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// An opening book that is no book.
    pub fn new(
        source: Source,
        ledger: Ledger,
        mut faults: Vec<Fault>,
        wall: fn() -> i64,
    ) -> anyhow::Result<Self> {
        faults.sort_by_key(|fault| fault.at);
        let mut shadows = BTreeMap::new();
        if let Source::Generated { market, .. } = &source {
            for book in market.opening_books() {
                let mut shadow = Shadow::default();
                shadow.replace(book.last_id, &book.bids, &book.asks)?;
                shadows.insert(book.instrument, shadow);
            }
        }
        Ok(Self {
            source,
            ledger,
            faults: faults.into(),
            clients: BTreeMap::new(),
            shadows,
            history: History::default(),
            waiting: Vec::new(),
            opened: None,
            last_change: None,
            emitted: 0,
            frames: 0,
            slow_clients: 0,
            finished: false,
            ended: false,
            drop_next: 0,
            double_next: 0,
            stalled_until: None,
            held: Vec::new(),
            malformed: Malformed::default(),
            snapshot_delay: Duration::ZERO,
            limited_until: None,
            away_until: None,
            wall,
        })
    }

    /// Keeps so many trades of each instrument for those who missed them, instead of
    /// [`crate::history::KEPT`].
    #[must_use]
    pub fn with_history(mut self, kept: usize) -> Self {
        self.history = History::new(kept);
        self
    }

    /// Runs the market until `stop`.
    ///
    /// # Errors
    ///
    /// A ledger that cannot be written: without it nothing may be sent.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => self.handle(command)?,
                    None => break,
                },
                now = ticks.tick() => self.tick(now)?,
                () = wait(self.next_answer()) => self.answer_due(Instant::now()),
            }
        }
        self.ledger.flush()?;
        Ok(())
    }

    fn handle(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Join { client, frames } => {
                self.clients.insert(client, Client { frames, streams: BTreeSet::new() });
            }
            Command::Subscribe { client, add, remove } => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.streams.extend(add);
                    client.streams.retain(|stream| !remove.contains(stream));
                    self.last_change = Some(Instant::now());
                }
            }
            Command::Leave { client } => {
                self.clients.remove(&client);
            }
            Command::Depth { instrument, limit, answer } => match self.refusal() {
                // A caller that went away needs no answer.
                Some(refusal) => drop(answer.send(Err(refusal))),
                None => {
                    let due = Instant::now() + self.snapshot_delay;
                    self.waiting.push(Waiting { instrument, limit, answer, due });
                    self.answer_due(Instant::now());
                }
            },
            Command::Trades { instrument, form, from, limit, answer } => {
                let told = match self.refusal() {
                    Some(refusal) => Err(refusal),
                    None => Ok(self.history.answer(&instrument, form, from, limit)),
                };
                // A caller that went away needs no answer.
                drop(answer.send(told));
            }
            Command::Strike(fault) => self.strike_now(&fault, Instant::now())?,
            Command::End => self.ended = true,
            Command::Progress { answer } => {
                // A caller that went away needs no answer.
                drop(answer.send(self.progress()));
            }
        }
        Ok(())
    }

    /// Why requests are not answered at the moment.
    fn refusal(&self) -> Option<Refusal> {
        let left = |until: Option<Instant>| {
            let left = until?.saturating_duration_since(Instant::now());
            (!left.is_zero()).then_some(left)
        };
        let limited = left(self.limited_until).map(Refusal::Limited);
        limited.or_else(|| left(self.away_until).map(|_| Refusal::Away))
    }

    fn progress(&self) -> Progress {
        Progress {
            started: self.opened.is_some(),
            finished: self.finished,
            frames: self.frames,
            ledger: self.ledger.entries(),
            clients: self.clients.len(),
            slow_clients: self.slow_clients,
            malformed: self.malformed.sent,
        }
    }

    fn next_answer(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .filter(|waiting| self.can_answer(&waiting.instrument))
            .map(|waiting| waiting.due)
            .min()
    }

    fn can_answer(&self, instrument: &str) -> bool {
        self.shadows.get(instrument).is_some_and(|shadow| shadow.answer(0).is_some())
    }

    /// Answers every due request for a book that is known; the others wait for the recording.
    fn answer_due(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            let book = self.shadows.get(&waiting.instrument);
            match book.and_then(|book| book.answer(waiting.limit)) {
                // A caller that went away needs no answer.
                Some(text) if waiting.due <= now => drop(waiting.answer.send(Ok(text))),
                Some(_) | None => self.waiting.push(waiting),
            }
        }
    }

    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.opened.is_none() {
            let subscribed = self.clients.values().any(|client| !client.streams.is_empty());
            let settled = self.last_change.is_some_and(|change| now - change >= SETTLE);
            if !(subscribed && settled) {
                return Ok(());
            }
            self.opened = Some(now);
        }
        let elapsed = now - self.opened.expect("opened above");
        self.strike(elapsed, now)?;
        let frames = self.advance(elapsed)?;
        self.frames += frames.len() as u64;
        for frame in &frames {
            if let Some(entry) = &frame.entry {
                self.ledger.write(entry)?;
                if let Entry::Trade(trade) = entry {
                    self.history.keep(trade)?;
                }
            }
            if let Some(depth) = &frame.depth {
                self.shadows.entry(depth.instrument.clone()).or_default().apply(depth)?;
            }
        }
        self.ledger.flush()?;
        self.send(frames, now);
        Ok(())
    }

    fn strike(&mut self, elapsed: Duration, now: Instant) -> anyhow::Result<()> {
        while self.faults.front().is_some_and(|fault| fault.at <= elapsed) {
            let fault = self.faults.pop_front().expect("a front exists");
            self.strike_now(&fault, now)?;
        }
        Ok(())
    }

    fn strike_now(&mut self, fault: &Fault, now: Instant) -> anyhow::Result<()> {
        let at = (self.wall)();
        self.ledger.write(&Entry::Fault(FaultEntry { fault: fault.to_string(), at }))?;
        match fault.action {
            Action::Gap(count) => self.drop_next += count,
            Action::Duplicate(count) => self.double_next += count,
            Action::Stall(length) => self.stalled_until = Some(now + length),
            Action::Close => self.clients.clear(),
            Action::SlowSnapshot(delay) => self.snapshot_delay = delay,
            Action::Limit(length) => self.limited_until = Some(now + length),
            Action::Away(length) => self.away_until = Some(now + length),
            Action::Forget => self.history.forget(),
            Action::Malformed(length) => self.malformed.begin(now + length),
        }
        Ok(())
    }

    fn advance(&mut self, elapsed: Duration) -> anyhow::Result<Vec<Arc<Frame>>> {
        if self.ended {
            self.finished = true;
            return Ok(Vec::new());
        }
        let mut made = Vec::new();
        match &mut self.source {
            Source::Generated { market, rate, length } => {
                let over = length.is_some_and(|length| elapsed >= length);
                let elapsed = length.map_or(elapsed, |length| length.min(elapsed));
                let due = count_until(elapsed, *rate);
                let now_ms = (self.wall)() / 1_000_000;
                while self.emitted < due {
                    market.emit(now_ms, &mut made)?;
                    self.emitted += 1;
                }
                self.finished = over;
            }
            Source::Recorded { playback, speed } => {
                let at = elapsed.mul_f64(*speed);
                while let Some(step) = playback.next_until(at) {
                    match step {
                        Step::Frame(frame) => made.push(*frame),
                        Step::Snapshot { instrument, book } => {
                            // Diffs of this tick precede the snapshot: they are older.
                            let shadow = self.shadows.entry(instrument).or_default();
                            shadow.replace(book.last_update_id, &book.bids, &book.asks)?;
                        }
                    }
                }
                self.finished = playback.is_over();
            }
        }
        Ok(made.into_iter().map(Arc::new).collect())
    }

    fn send(&mut self, frames: Vec<Arc<Frame>>, now: Instant) {
        let mut out = Vec::with_capacity(frames.len());
        for frame in frames {
            if self.drop_next > 0 {
                self.drop_next -= 1;
                continue;
            }
            if self.double_next > 0 {
                self.double_next -= 1;
                out.push(Arc::clone(&frame));
            }
            let flawed = self.malformed.beside(&frame, now);
            out.push(frame);
            out.extend(flawed);
        }
        self.held.append(&mut out);
        if self.stalled_until.is_some_and(|until| now < until) || self.held.is_empty() {
            return;
        }
        self.stalled_until = None;
        let held = std::mem::take(&mut self.held);
        let mut slow = Vec::new();
        for (number, client) in &self.clients {
            let wanted = held.iter().filter(|frame| client.streams.contains(&*frame.stream));
            let batch: Batch = wanted.map(Arc::clone).collect();
            let flawed = batch.iter().filter(|frame| frame.malformed).count() as u64;
            if batch.is_empty() {
                continue;
            }
            match client.frames.try_send(batch) {
                Ok(()) => self.malformed.sent += flawed,
                Err(_) => slow.push(*number),
            }
        }
        for number in slow {
            self.slow_clients += 1;
            self.clients.remove(&number);
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Events due after `elapsed` at `rate` events per second.
fn count_until(elapsed: Duration, rate: f64) -> u64 {
    // A duration of whole nanoseconds: exact for years at any rate in use.
    Duration::from_secs_f64(elapsed.as_secs_f64() * rate / 1e9).as_nanos().try_into().unwrap_or(0)
}
