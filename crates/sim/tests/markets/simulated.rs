//! A market that is simulated in this process, over real sockets.

use sim::arguments::Symbols;
use sim::command::{Command, Progress};
use sim::conductor::{Conductor, Source};
use sim::dialect::{self, Dialect, MarketId};
use sim::generator::Generator;
use sim::ledger::{self, BookEntry, Entry, Ledger, TradeEntry};
use sim::{server, tls};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use units::{Price, Qty, UnixNanos};

/// Levels of a book: price and quantity, in the units in which they are recorded.
pub(crate) type Levels = Vec<(Price, Qty)>;

/// A market that moves until it is ended.
pub(crate) struct Simulated {
    pub(crate) address: SocketAddr,
    pub(crate) names: Vec<String>,
    pub(crate) dialect: Arc<dyn Dialect>,
    commands: mpsc::Sender<Command>,
    folder: tempfile::TempDir,
    _tasks: JoinSet<anyhow::Result<()>>,
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "a test has no daemon that tells the time")]
pub(crate) fn now() -> UnixNanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixNanos::new(i64::try_from(since.as_nanos()).unwrap())
}

fn wall() -> i64 {
    now().as_i64()
}

impl Simulated {
    /// A market of so many instruments and events per second.
    pub(crate) async fn open(market: MarketId, count: usize, rate: f64) -> Self {
        // The first test of a process installs it; for the others it is there already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let dialect = dialect::of(market);
        let names = Symbols::Count(count).names(&*dialect);
        let folder = tempfile::tempdir().unwrap();
        let market = Generator::of(Arc::clone(&dialect), &names, 5);
        let source = Source::Generated { market, rate, length: None };
        let ledger = Ledger::create(Some(&folder.path().join("ledger.jsonl"))).unwrap();
        let conductor = Conductor::new(source, ledger, Vec::new(), wall).unwrap();
        let conductor = conductor.with_history(100_000);
        let (commands, received) = mpsc::channel(64);
        let venue = server::Venue::of(Arc::clone(&dialect), commands.clone(), names.clone(), wall);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(conductor.run(received, CancellationToken::new()));
        tasks.spawn(tls::accept(listener, None, server::router(venue)));
        Self { address, names, dialect, commands, folder, _tasks: tasks }
    }

    pub(crate) async fn strike(&self, fault: &str) {
        self.commands.send(Command::Strike(fault.parse().unwrap())).await.unwrap();
    }

    /// Ends the market. What it made is in the ledger then.
    pub(crate) async fn end(&self) {
        self.commands.send(Command::End).await.unwrap();
        while !self.progress().await.finished {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn progress(&self) -> Progress {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Progress { answer }).await.unwrap();
        answered.await.unwrap()
    }

    /// The best levels of an instrument's book as the market has it, and where it stands.
    pub(crate) async fn book(&self, instrument: &str, limit: usize) -> (u64, Levels, Levels) {
        let (answer, answered) = oneshot::channel();
        let instrument = instrument.to_owned();
        self.commands.send(Command::Depth { instrument, limit, answer }).await.unwrap();
        let view = answered.await.unwrap().unwrap();
        let scale = self.dialect.scale();
        let recorded = |(price, qty): &(Price, Qty)| {
            let steps = u64::try_from(scale.step.count(qty.raw())).unwrap();
            (*price, scale.qty(steps))
        };
        let side = |levels: &[(Price, Qty)]| levels.iter().map(recorded).collect();
        (view.last_id, side(&view.bids), side(&view.asks))
    }

    fn ledger(&self) -> Vec<Entry> {
        ledger::read(&self.folder.path().join("ledger.jsonl")).unwrap()
    }

    /// The trades by instrument and id.
    pub(crate) fn trades(&self) -> BTreeMap<(String, u64), TradeEntry> {
        let mut trades = BTreeMap::new();
        for entry in self.ledger() {
            if let Entry::Trade(trade) = entry {
                let known = trades.insert((trade.instrument.to_string(), trade.seq), trade);
                assert_eq!(known, None, "an id is in the ledger once");
            }
        }
        trades
    }

    /// The last update ids of the book's diffs, by instrument.
    pub(crate) fn diffs(&self) -> BTreeMap<String, Vec<u64>> {
        let mut diffs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for entry in self.ledger() {
            if let Entry::Book(BookEntry { instrument, last_id, .. }) = entry {
                diffs.entry(instrument.to_string()).or_default().push(last_id);
            }
        }
        diffs
    }

    /// The values of a figure, by instrument and time.
    pub(crate) fn figures(&self, figure: &str) -> BTreeMap<(String, i64), String> {
        let mut figures = BTreeMap::new();
        for entry in self.ledger() {
            if let Entry::Figure(entry) = entry
                && entry.figure == figure
            {
                let key = (entry.instrument.to_string(), entry.venue_time);
                assert_eq!(figures.insert(key, entry.value), None, "one at a time");
            }
        }
        figures
    }

    /// The ids of best bids and offers, by instrument.
    pub(crate) fn bbos(&self) -> BTreeMap<String, Vec<u64>> {
        let mut bbos: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for entry in self.ledger() {
            if let Entry::Bbo(bbo) = entry {
                bbos.entry(bbo.instrument.to_string()).or_default().push(bbo.id);
            }
        }
        bbos
    }
}
