//! The owner of the market: drives it, writes the ledger, strikes the faults, feeds the clients.

use crate::audience::Audience;
pub use crate::command::{Answer, Batch, Command, Progress};
use crate::dialect::{Dialect, binance_spot};
use crate::event::Event;
use crate::fault::{Action, Fault};
use crate::frame::Frame;
use crate::generator::Generator;
use crate::history::History;
use crate::interference::Interference;
use crate::ledger::{Entry, FaultEntry, Ledger};
use crate::malformed::Forms;
use crate::playback::{Playback, Step};
use crate::shadow::{Shadow, View};
use std::collections::{BTreeMap, VecDeque};
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

/// How long no client may have changed its subscriptions before the market opens, if nobody says.
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
    /// Recorded, of Binance's spot market.
    Recorded {
        /// The recording.
        playback: Playback,
        /// Seconds of the recording per second.
        speed: f64,
    },
}

/// A request for a book.
struct Waiting {
    instrument: String,
    limit: usize,
    answer: oneshot::Sender<Answer<View>>,
    due: Instant,
}

/// A subscription that begins with a book.
struct Opening {
    client: u64,
    stream: String,
    due: Instant,
}

/// The owner of the market. Run it with [`Conductor::run`].
pub struct Conductor {
    dialect: Arc<dyn Dialect>,
    forms: Forms,
    source: Source,
    ledger: Ledger,
    faults: VecDeque<Fault>,
    audience: Audience,
    interference: Interference,
    shadows: BTreeMap<String, Shadow>,
    history: History,
    waiting: Vec<Waiting>,
    openings: Vec<Opening>,
    opened: Option<Instant>,
    settle: Duration,
    last_change: Option<Instant>,
    emitted: u64,
    frames: u64,
    finished: bool,
    ended: bool,
    wall: fn() -> i64,
    /// Kept for its capacity.
    events: Vec<Event>,
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
        let dialect = match &source {
            Source::Generated { market, .. } => {
                for book in market.opening_books() {
                    let mut shadow = Shadow::default();
                    shadow.replace(book.last_id, &book.bids, &book.asks)?;
                    shadows.insert(book.instrument, shadow);
                }
                Arc::clone(market.dialect())
            }
            Source::Recorded { .. } => binance_spot(),
        };
        Ok(Self {
            forms: dialect.forms(),
            dialect,
            source,
            ledger,
            faults: faults.into(),
            audience: Audience::default(),
            interference: Interference::default(),
            shadows,
            history: History::default(),
            waiting: Vec::new(),
            openings: Vec::new(),
            opened: None,
            settle: SETTLE,
            last_change: None,
            emitted: 0,
            frames: 0,
            finished: false,
            ended: false,
            wall,
            events: Vec::new(),
        })
    }

    /// Keeps so many trades of each instrument for those who missed them, instead of
    /// [`crate::history::KEPT`].
    #[must_use]
    pub fn with_history(mut self, kept: usize) -> Self {
        self.history = History::new(kept);
        self
    }

    /// Waits for so long with the opening of the market after a subscription, instead of half a
    /// second: a client of many connections has them one after the other.
    #[must_use]
    pub fn with_settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
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
        let now = Instant::now();
        match command {
            // A client that is refused notices that its queue has ended.
            Command::Join { client: _, frames: _ } if self.interference.refuses(now) => {}
            Command::Join { client, frames } => self.audience.join(client, frames),
            Command::Subscribe { client, add, remove } => {
                if self.audience.has(client) {
                    add.into_iter().for_each(|stream| self.subscribe(client, stream, now));
                    remove.iter().for_each(|stream| self.unsubscribe(client, stream));
                    self.last_change = Some(now);
                }
            }
            Command::Leave { client } => self.audience.leave(client),
            Command::Depth { instrument, limit, answer } => match self.interference.refusal(now) {
                // A caller that went away needs no answer.
                Some(refusal) => drop(answer.send(Err(refusal))),
                None => {
                    let due = now + self.interference.snapshot_delay();
                    self.waiting.push(Waiting { instrument, limit, answer, due });
                    self.answer_due(now);
                }
            },
            Command::Trades { instrument, page, limit, answer } => {
                let told = match self.interference.refusal(now) {
                    Some(refusal) => Err(refusal),
                    None => Ok(self.history.page(&instrument, page, limit)),
                };
                // A caller that went away needs no answer.
                drop(answer.send(told));
            }
            Command::Strike(fault) => self.strike_now(&fault, now)?,
            Command::End => self.ended = true,
            Command::Progress { answer } => {
                // A caller that went away needs no answer.
                drop(answer.send(self.progress()));
            }
        }
        Ok(())
    }

    /// Begins to send a stream. One that begins with a book does so once the book is there.
    fn subscribe(&mut self, client: u64, stream: String, now: Instant) {
        if self.interference.is_silent(now) {
            return;
        }
        if let (Some(interval), Source::Generated { market, .. }) =
            (self.dialect.interval(&stream), &mut self.source)
        {
            market.want(interval);
        }
        if self.dialect.opens(&stream).is_none() {
            self.audience.add(client, stream);
            return;
        }
        let due = now + self.interference.snapshot_delay();
        self.openings.push(Opening { client, stream, due });
        self.open_due(now);
    }

    fn unsubscribe(&mut self, client: u64, stream: &str) {
        self.audience.remove(client, stream);
        self.openings.retain(|opening| (opening.client, &*opening.stream) != (client, stream));
    }

    /// Opens every stream that is due with the book as it stands: what has been made since is in
    /// it, and what is made from now on follows.
    fn open_due(&mut self, now: Instant) {
        for opening in std::mem::take(&mut self.openings) {
            if opening.due > now {
                self.openings.push(opening);
                continue;
            }
            let Opening { client, stream, .. } = opening;
            let time_ms = (self.wall)() / 1_000_000;
            let frame = self.dialect.opens(&stream).and_then(|instrument| {
                let book = self.shadows.get(instrument)?.view(usize::MAX)?;
                self.dialect.opening(&stream, instrument, &book, time_ms)
            });
            if let Some(frame) = frame
                && self.audience.has(client)
            {
                self.interference.tell(client, frame);
                self.audience.add(client, stream);
            }
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            started: self.opened.is_some(),
            finished: self.finished,
            frames: self.frames,
            ledger: self.ledger.entries(),
            clients: self.audience.len(),
            slow_clients: self.audience.slow,
            malformed: self.audience.malformed,
        }
    }

    fn next_answer(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .filter(|waiting| self.shadows.get(&waiting.instrument).is_some_and(Shadow::is_known))
            .map(|waiting| waiting.due)
            .min()
    }

    /// Answers every due request for a book that is known; the others wait for the recording.
    fn answer_due(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            let book = self.shadows.get(&waiting.instrument);
            match book.filter(|_| waiting.due <= now).and_then(|book| book.view(waiting.limit)) {
                // A caller that went away needs no answer.
                Some(view) => drop(waiting.answer.send(Ok(view))),
                None => self.waiting.push(waiting),
            }
        }
    }

    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.opened.is_none() {
            let settled = self.last_change.is_some_and(|change| now - change >= self.settle);
            if !(self.audience.wants() && settled) {
                // Books that streams begin with do not wait for the market.
                self.send(Vec::new(), now);
                return Ok(());
            }
            self.opened = Some(now);
        }
        let elapsed = now - self.opened.expect("opened above");
        self.strike(elapsed, now)?;
        self.open_due(now);
        let frames = self.advance(elapsed)?;
        self.frames += frames.len() as u64;
        for frame in &frames {
            for entry in frame.earlier.iter().chain(&frame.entry) {
                self.ledger.write(entry)?;
                if let Entry::Trade(trade) = entry {
                    self.history.keep(trade)?;
                }
            }
            if let Some(depth) = &frame.depth {
                match self.shadows.get_mut(&depth.instrument) {
                    Some(shadow) => shadow.apply(depth)?,
                    None => {
                        self.shadows.entry(depth.instrument.clone()).or_default().apply(depth)?;
                    }
                }
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
        self.interference.strike(&fault.action, now);
        match &fault.action {
            Action::Close | Action::Refuse(_) => self.audience.clear(),
            Action::Mute(stream) => self.audience.mute(stream),
            Action::Forget => self.history.forget(),
            Action::Reset => self.renumber()?,
            Action::Gap(_)
            | Action::Duplicate(_)
            | Action::Reorder(_)
            | Action::Stall(_)
            | Action::SlowSnapshot(_)
            | Action::Limit(_)
            | Action::Ban(_)
            | Action::Silent(_)
            | Action::Away(_)
            | Action::Malformed(_) => {}
        }
        Ok(())
    }

    /// Has a market that is made up number anew, and the books that are asked for with it.
    fn renumber(&mut self) -> anyhow::Result<()> {
        let Source::Generated { market, .. } = &mut self.source else { return Ok(()) };
        market.renumber();
        self.history.forget();
        for book in market.opening_books() {
            let shadow = self.shadows.entry(book.instrument).or_default();
            shadow.replace(book.last_id, &book.bids, &book.asks)?;
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
                    market.emit(now_ms, &mut self.events);
                    self.emitted += 1;
                }
                self.events.drain(..).for_each(|event| self.dialect.frames(&event, &mut made));
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
        let frames = self.interference.pass(frames, &self.forms, now);
        self.audience.send(frames);
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    async fn is_open(commands: &mpsc::Sender<Command>) -> bool {
        let (answer, answered) = oneshot::channel();
        commands.send(Command::Progress { answer }).await.unwrap();
        answered.await.unwrap().started
    }

    #[tokio::test(start_paused = true)]
    async fn a_market_opens_when_nobody_has_subscribed_for_the_time_to_settle() {
        let market = Generator::new(&["BTCUSDT".to_owned()], 5);
        let source = Source::Generated { market, rate: 10.0, length: None };
        let ledger = Ledger::create(None).unwrap();
        let conductor = Conductor::new(source, ledger, Vec::new(), || 0).unwrap();
        let conductor = conductor.with_settle(Duration::from_secs(15));
        let (commands, received) = mpsc::channel(8);
        let mut tasks = JoinSet::new();
        tasks.spawn(conductor.run(received, CancellationToken::new()));
        let (frames, _sent) = mpsc::channel(CLIENT_QUEUE);
        commands.send(Command::Join { client: 1, frames }).await.unwrap();
        for stream in ["btcusdt@trade", "btcusdt@bookTicker"] {
            let (add, remove) = (vec![stream.to_owned()], Vec::new());
            commands.send(Command::Subscribe { client: 1, add, remove }).await.unwrap();
            sleep(Duration::from_secs(14)).await;
            assert!(!is_open(&commands).await, "{stream}");
        }
        sleep(Duration::from_secs(2)).await;
        assert!(is_open(&commands).await);
    }
}
