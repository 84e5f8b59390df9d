//! The conversation with systemd, held by one OS thread.
//!
//! The thread is not part of the runtime: when the runtime is stuck the pings must stop, and when
//! a datagram blocks the runtime must not.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::Handle;

use crate::health::Health;
use crate::tasks::Beats;

/// Longest silence of a task before it is taken for stuck.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Shortest silence that is looked at, since a waiting task beats every second.
const SILENCE_MIN: Duration = Duration::from_millis(2_500);
/// How long the runtime may take to run new work.
const PROBE_MAX: Duration = Duration::from_secs(1);
/// Longest time between two looks at the tasks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest time between two texts of the status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How often more time is asked for while starting or stopping, and how much.
const EXTEND_INTERVAL: Duration = Duration::from_secs(5);
const EXTENSION: Duration = Duration::from_secs(15);
/// Longest start that more time is asked for: beyond it systemd's own limit counts again.
const START_MAX: Duration = Duration::from_mins(30);
/// After how long a start counts as a success, so that the delay of restarts begins anew.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);
/// Longest text of the status, in characters.
const STATUS_MAX: usize = 240;
/// Orders waiting for the thread; they are few, and a wake-up that finds no room is not needed.
const ORDERS_CAPACITY: usize = 16;

/// The one line `systemctl status` shows; cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    line: Arc<Mutex<Line>>,
    orders: SyncSender<Order>,
}

#[derive(Debug, Default)]
struct Line {
    text: String,
    /// What the harness has to say besides, such as a refused reload.
    note: Option<String>,
    sent: String,
}

impl Line {
    fn shown(&self) -> String {
        let whole = match &self.note {
            Some(note) if self.text.is_empty() => note.clone(),
            Some(note) => format!("{}; {note}", self.text),
            None => self.text.clone(),
        };
        one_line(&whole)
    }
}

impl Status {
    /// Sets the line: what the service is doing, such as `3/3 feeds synced, spool empty`.
    ///
    /// It is sent at most once a second, the latest wins.
    pub fn set(&self, text: impl Into<String>) {
        self.lock().text = text.into();
        self.wake();
    }

    /// The line as it stands.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().shown()
    }

    /// Sets or removes what the harness has to say besides.
    pub(crate) fn note(&self, note: Option<String>) {
        self.lock().note = note;
        self.wake();
    }

    fn wake(&self) {
        // Full means that the thread is about to look anyway.
        drop(self.orders.try_send(Order::Look));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that nobody sends anywhere.
    pub(crate) fn unsent() -> Self {
        let (orders, _) = mpsc::sync_channel(1);
        Self { line: Arc::default(), orders }
    }
}

/// Text as systemd takes it: a line break would begin another assignment.
fn one_line(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line = printable.take(STATUS_MAX).collect::<String>();
    if text.chars().nth(STATUS_MAX).is_some() {
        line.push('…');
    }
    line
}

#[derive(Debug)]
enum Order {
    /// Something changed that is looked at in any case.
    Look,
    Ready,
    Reloading,
    Stopping,
    /// Send the last status, and end.
    Quit,
}

/// What the thread watches.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) runtime: Handle,
    pub(crate) beats: Beats,
    pub(crate) health: Health,
    pub(crate) watchdog: Option<Duration>,
}

/// The thread that speaks to systemd.
#[derive(Debug)]
pub(crate) struct Manager {
    status: Status,
    thread: JoinHandle<()>,
}

impl Manager {
    /// Starts the thread, in the phase of starting.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn start(watched: Watched) -> io::Result<Self> {
        let (orders, queue) = mpsc::sync_channel(ORDERS_CAPACITY);
        let status = Status { line: Arc::default(), orders };
        let mut conversation = Conversation::new(watched, Arc::clone(&status.line));
        let thread = thread::Builder::new()
            .name("mp-systemd".to_owned())
            .spawn(move || conversation.hold(&queue))?;
        Ok(Self { status, thread })
    }

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// `READY=1`: started, or reloaded.
    pub(crate) fn ready(&self) {
        self.order(Order::Ready);
    }

    /// `RELOADING=1`.
    pub(crate) fn reloading(&self) {
        self.order(Order::Reloading);
    }

    /// `STOPPING=1`.
    pub(crate) fn stopping(&self) {
        self.order(Order::Stopping);
    }

    /// Sends what is left to send and ends the thread.
    pub(crate) fn quit(self) {
        self.order(Order::Quit);
        drop(self.thread.join());
    }

    fn order(&self, order: Order) {
        // The thread is there as long as this value is, and it always comes back to its queue.
        drop(self.status.orders.send(order));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Stopping,
}

struct Conversation {
    watched: Watched,
    line: Arc<Mutex<Line>>,
    phase: Phase,
    started: Instant,
    next_check: Instant,
    next_status: Instant,
    next_extension: Instant,
    /// When the restart delay is to begin anew; `None` once it has been told.
    healthy_at: Option<Instant>,
    /// Why the last check failed, so that it is logged once.
    trouble: Option<String>,
}

impl Conversation {
    fn new(watched: Watched, line: Arc<Mutex<Line>>) -> Self {
        let now = Instant::now();
        Self {
            watched,
            line,
            phase: Phase::Starting,
            started: now,
            next_check: now,
            next_status: now,
            next_extension: now + EXTEND_INTERVAL,
            healthy_at: None,
            trouble: None,
        }
    }

    fn hold(&mut self, queue: &Receiver<Order>) {
        loop {
            match queue.recv_timeout(self.wait()) {
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Ready) => self.ready(),
                Ok(Order::Reloading) => self.reloading(),
                Ok(Order::Stopping) => self.stopping(),
                Ok(Order::Quit) | Err(RecvTimeoutError::Disconnected) => {
                    self.send_status(true);
                    return;
                }
            }
            self.look();
        }
    }

    /// How long nothing is due.
    fn wait(&self) -> Duration {
        let mut due = match self.phase {
            Phase::Starting | Phase::Stopping => self.next_extension,
            Phase::Running => self.next_check,
        };
        if self.status_changed() {
            due = due.min(self.next_status);
        }
        due.saturating_duration_since(Instant::now())
    }

    fn look(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Starting | Phase::Stopping if now >= self.next_extension => {
                self.next_extension = now + EXTEND_INTERVAL;
                if self.phase == Phase::Stopping || now - self.started < START_MAX {
                    let micros = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
                    send(&[NotifyState::ExtendTimeoutUsec(micros)]);
                }
            }
            Phase::Running if now >= self.next_check => self.check(now),
            Phase::Starting | Phase::Stopping | Phase::Running => {}
        }
        if now >= self.next_status {
            self.send_status(false);
        }
    }

    fn ready(&mut self) {
        let first = self.phase == Phase::Starting;
        if self.phase == Phase::Stopping {
            return;
        }
        self.phase = Phase::Running;
        let text = self.take_status();
        send(&[NotifyState::Ready, NotifyState::Status(&text)]);
        if first {
            self.healthy_at = Some(Instant::now() + HEALTHY_AFTER);
            self.next_check = Instant::now();
        }
    }

    fn reloading(&mut self) {
        // Both in one datagram: systemd takes a reload without the time for a failed one.
        match NotifyState::monotonic_usec_now() {
            Ok(time) => send(&[NotifyState::Reloading, time]),
            Err(error) => tracing::warn!(%error, "cannot read the monotonic clock"),
        }
    }

    fn stopping(&mut self) {
        self.phase = Phase::Stopping;
        self.next_extension = Instant::now() + EXTEND_INTERVAL;
        send(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog if runtime and tasks are alive.
    fn check(&mut self, now: Instant) {
        self.next_check = now + self.period();
        let trouble = self.find_trouble();
        match (&trouble, &self.trouble) {
            (Some(new), None) => tracing::error!("{new}; the watchdog is not fed any more"),
            (None, Some(_)) => tracing::warn!("all tasks are alive again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if trouble.is_some() || self.trouble.is_some() {
            self.watched.health.set_broken(trouble.clone());
            self.line.lock().unwrap_or_else(PoisonError::into_inner).note = trouble.clone();
        }
        self.trouble = trouble;
        if self.trouble.is_some() {
            return;
        }
        if self.watched.watchdog.is_some() {
            send(&[NotifyState::Watchdog]);
        }
        if self.healthy_at.is_some_and(|at| now >= at) {
            self.healthy_at = None;
            // Known from systemd 258 on; earlier versions ignore it.
            send(&[NotifyState::Custom("RESTART_RESET=1")]);
        }
    }

    fn period(&self) -> Duration {
        self.watched.watchdog.map_or(CHECK_INTERVAL, |interval| (interval / 4).min(CHECK_INTERVAL))
    }

    /// The silence that is taken for stuck: a third of the watchdog's interval, within bounds.
    fn silence(&self) -> Duration {
        self.watched
            .watchdog
            .map_or(SILENCE_MAX, |interval| (interval / 3).clamp(SILENCE_MIN, SILENCE_MAX))
    }

    fn find_trouble(&self) -> Option<String> {
        let (alive, answer) = mpsc::sync_channel(1);
        self.watched.runtime.spawn(async move { alive.try_send(()) });
        if answer.recv_timeout(PROBE_MAX.min(self.period())).is_err() {
            return Some("the runtime is stuck: it runs no new work".to_owned());
        }
        let silent = self.watched.beats.silent(self.silence());
        if silent.is_empty() {
            return None;
        }
        let name = |(name, silence): &(String, Duration)| {
            format!("task `{name}` is stuck, silent for {} s", silence.as_secs())
        };
        Some(silent.iter().map(name).collect::<Vec<_>>().join(", "))
    }

    fn status_changed(&self) -> bool {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.shown() != line.sent
    }

    /// The line, which is about to be sent.
    fn take_status(&mut self) -> String {
        self.next_status = Instant::now() + STATUS_INTERVAL;
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.sent = line.shown();
        line.sent.clone()
    }

    fn send_status(&mut self, now: bool) {
        if self.status_changed() && (now || Instant::now() >= self.next_status) {
            let text = self.take_status();
            send(&[NotifyState::Status(&text)]);
        }
    }
}

/// Tells systemd something; without systemd it tells nobody.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Tells systemd why the process ends before there is a [`Manager`].
pub(crate) fn last_words(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

#[cfg(test)]
mod tests;
