//! Where events go.

use std::io::{self, IsTerminal as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use tracing::Dispatch;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

use crate::replay::{Message, Order, Recorder, Unasking};

/// The target under which the NATS client logs.
const NATS_CLIENT: &str = "async_nats";

/// Events waiting for the writer: a second of a service that logs far too much.
///
/// When full, the newest event is dropped and counted.
const ENTRIES_CAPACITY: usize = 1_024;

/// How often a loss of events is reported at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How logging is set up.
#[derive(Debug, Clone)]
pub struct LoggingOptions {
    /// The name of the program in the journal, such as `marketprism-collector`.
    pub identifier: String,
    /// What is logged: a level, and exceptions by module, such as `info,async_nats=warn`.
    pub level: String,
}

/// Where events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To journald, with fields.
    Journal,
    /// To stderr, as text.
    Stderr,
}

/// Logging that could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A level that is none.
    #[error("`{0}` is not a log level")]
    Level(String),
    /// Logging was set up before in this process.
    #[error("logging is set up already")]
    Again,
    /// The writer's thread did not start.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// The process's logging; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logging {
    destination: Destination,
    filter: reload::Handle<Targets, Registry>,
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

/// Sets up logging for the process: to the journal if stderr is connected to it and its socket
/// answers, else to stderr.
///
/// # Errors
///
/// [`Error`] if the level is none, the writer cannot start, or logging is set up already.
pub fn install(options: &LoggingOptions) -> Result<Logging, Error> {
    let (filter, handle) = reload::Layer::new(targets(&options.level)?);
    let (orders, queue) = mpsc::sync_channel(ENTRIES_CAPACITY);
    let dropped = Arc::new(AtomicU64::new(0));
    let (destination, writer) = writer(&options.identifier);
    let lost = Arc::clone(&dropped);
    let message = match destination {
        Destination::Journal => Message::WithFields,
        Destination::Stderr => Message::Alone,
    };
    thread::Builder::new()
        .name("mp-log".to_owned())
        .spawn(move || write(&writer, message, &queue, &lost))
        .map_err(Error::Thread)?;
    let recorder = Recorder::new(orders.clone(), Arc::clone(&dropped));
    let subscriber = Registry::default().with(filter).with(recorder);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::Again)?;
    let logging = Logging { destination, filter: handle, orders, dropped };
    logging.report_panics();
    Ok(logging)
}

impl Logging {
    /// Where events are written.
    #[must_use]
    pub fn destination(&self) -> Destination {
        self.destination
    }

    /// Changes what is logged.
    ///
    /// # Errors
    ///
    /// [`Error::Level`] if the text is not a level; what was logged before still is.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        let targets = targets(level)?;
        self.filter.reload(targets).map_err(|_| Error::Level(level.to_owned()))
    }

    /// Waits until everything logged so far is written, at most this long.
    pub fn flush(&self, longest: Duration) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.orders.try_send(Order::Flush(done)).is_ok() {
            // A writer that takes longer is stuck in journald; there is nobody left to tell.
            wait.recv_timeout(longest).unwrap_or_default();
        }
    }

    /// The count of events that were dropped because the writer was too slow.
    #[must_use]
    pub fn metrics(&self) -> Box<dyn Collector> {
        Box::new(Dropped(Arc::clone(&self.dropped)))
    }

    /// Has a panic logged before the process ends of it.
    fn report_panics(&self) {
        let logging = self.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let reason = info.payload_as_str().unwrap_or("a panic without a message");
            let thread = thread::current().name().unwrap_or_default().to_owned();
            tracing::error!(reason, place, thread, "panicked");
            logging.flush(Duration::from_millis(500));
            if logging.destination == Destination::Stderr {
                before(info);
            }
        }));
    }
}

/// What a level lets through. The NATS client is silent unless the level names it: it logs each of
/// its events, and `bus` says the same in the suite's words.
fn targets(level: &str) -> Result<Targets, Error> {
    let targets = Targets::from_str(level).map_err(|_| Error::Level(level.to_owned()))?;
    if level.contains(NATS_CLIENT) {
        return Ok(targets);
    }
    Ok(targets.with_target(NATS_CLIENT, LevelFilter::OFF))
}

/// The subscriber that writes, and where it does.
fn writer(identifier: &str) -> (Destination, Dispatch) {
    // Both must hold: inside a sandbox the variable may be set and the socket out of reach.
    if libsystemd::logging::connected_to_journal()
        && let Ok(layer) = tracing_journald::layer()
    {
        let layer = layer
            .with_field_prefix(Some("MP".to_owned()))
            .with_syslog_identifier(identifier.to_owned())
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            });
        let subscriber = Unasking(Registry::default().with(layer));
        return (Destination::Journal, Dispatch::new(subscriber));
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    (Destination::Stderr, Dispatch::new(Unasking(Registry::default().with(layer))))
}

fn write(writer: &Dispatch, message: Message, queue: &Receiver<Order>, dropped: &AtomicU64) {
    let mut reported = 0;
    let mut due = Instant::now();
    while let Ok(order) = queue.recv() {
        match order {
            Order::Write(entry) => {
                tracing::dispatcher::with_default(writer, || entry.perform(writer, message));
            }
            // Whoever asked may have stopped waiting.
            Order::Flush(done) => drop(done.try_send(())),
        }
        let total = dropped.load(Ordering::Relaxed);
        if total > reported && Instant::now() >= due {
            // Goes through the queue like any other event: there is room for one now.
            tracing::warn!(count = total - reported, "log entries dropped: the log is too slow");
            reported = total;
            due = Instant::now() + REPORT_INTERVAL;
        }
    }
}

#[derive(Debug)]
struct Dropped(Arc<AtomicU64>);

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(self.0.load(Ordering::Relaxed));
        counter.encode(encoder.encode_descriptor(
            "log_dropped",
            "Log entries dropped because the log was too slow",
            None,
            counter.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_nats_client_speaks_only_when_asked() {
        let quiet = targets("info").unwrap();
        assert!(quiet.would_enable("bus", &Level::INFO));
        assert!(!quiet.would_enable("async_nats::connector", &Level::ERROR));
        let asked = targets("info,async_nats=debug").unwrap();
        assert!(asked.would_enable("async_nats", &Level::DEBUG));
        assert!(targets("info=loud=er").is_err());
    }
}
