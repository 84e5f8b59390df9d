//! The service as the harness runs it.

use crate::api::{self, Access};
use crate::budget::Budget;
use crate::cold::{Both, Reader, Remote, Table};
use crate::figures::{Figures, Handle, Handles};
use crate::hot::desk::{Desk, QUESTIONS_CAPACITY, SEEDS_CAPACITY, Seed};
use crate::hot::outlet::{self, Pump};
use crate::hot::{Hot, Summary};
use crate::instruments::Lists;
use crate::keeper::{Keeper, Maker};
use crate::metrics::Metrics;
use crate::rejects::Rejects;
use crate::reporter::{self, Reporter};
use crate::seed;
use crate::sink::{self, Probe, Sink};
use crate::writer::{Ahead, Rolls, Writer};
use anyhow::Context as _;
use archive::Recovery;
use axum::Router;
use bus::Bus;
use daemon::{Context, Required, Service, Tasks};
use model::Kind;
use settings::{Invalid, Suite};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use warehouse::Warehouse;

/// Commands waiting for a writer: the interface waits when there are more.
const COMMANDS_CAPACITY: usize = 4;

/// The data storage.
pub struct Storage {
    writers: Vec<Writer>,
    desk: Desk,
    redis: Option<Pump>,
    seeds: mpsc::Sender<Seed>,
    trades_max: usize,
    reporter: Reporter,
    /// Watches the cold store's server, if it has one.
    probe: Option<Probe>,
    metrics: Metrics,
    access: Access,
}

impl Service for Storage {
    const NAME: &'static str = "storage";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        let storage = &suite.storage;
        let needs = storage.warehouse == settings::Warehouse::ClickHouse;
        if needs && storage.clickhouse.url.is_none() {
            let message = "is `clickhouse`, so `storage.clickhouse.url` must be set";
            return Err(Invalid::new("storage.warehouse", message).into());
        }
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let suite = context.suite();
        let metrics = context.metrics(Metrics::register);
        let bus_metrics = context.metrics(bus::Metrics::register);
        let password = bus::password(&suite.bus, &context.credentials, Self::NAME)?;
        let bus = Bus::connect(&suite.bus, Self::NAME, password, bus_metrics).await?;
        let (opened, sink, probe) = open(context, &bus).await?;
        let (writers, handles) = writers(opened, &bus, &metrics, &context.suite);
        let (questions_tx, questions) = mpsc::channel(QUESTIONS_CAPACITY);
        let (seeds_tx, seeds) = mpsc::channel(SEEDS_CAPACITY);
        let (summary, hot) = watch::channel(Summary::default());
        let trades_max = suite.storage.hot.trades;
        let (redis, pump) = outlet::connect(context, &suite.storage.hot)?.unzip();
        let state = bus.state();
        let access = Access::new(
            Arc::clone(&handles),
            sink.clone(),
            questions_tx,
            hot.clone(),
            state.clone(),
            context,
            metrics.clone(),
        )?;
        let reporter = Reporter {
            handles,
            hot,
            bus: state,
            status: context.status.clone(),
            store: context
                .health
                .dependency(if probe.is_some() { "journal" } else { "archive" }, Required::Yes),
            clickhouse: probe
                .is_some()
                .then(|| context.health.dependency("clickhouse", Required::No)),
            sink,
            nats: context.health.dependency("nats", Required::No),
            redis: redis.is_some().then(|| context.health.dependency("redis", Required::No)),
        };
        // It is open, or we would not be here.
        reporter.store.up();
        let hot = Hot::new(trades_max);
        let desk = Desk { hot, bus, redis, questions, seeds, summary, metrics: metrics.clone() };
        Ok(Self {
            writers,
            desk,
            redis: pump,
            seeds: seeds_tx,
            trades_max,
            reporter,
            probe,
            metrics,
            access,
        })
    }

    fn router(&self) -> Router {
        api::router(self.access.clone())
    }

    fn describe() -> openapi::Document {
        api::describe()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        for writer in self.writers {
            tasks.spawn(format!("write-{}", writer.kind), |task| writer.run(task));
        }
        if let Some(probe) = self.probe {
            let (warehouse, collector) = (probe.warehouse(), self.access.collector());
            let condition = self.reporter.sink.condition.clone();
            let lists = Lists { warehouse, condition, collector };
            tasks.spawn("instruments", |task| lists.run(task));
            tasks.spawn("clickhouse", |task| probe.run(task));
        }
        let (handles, sink) = (Arc::clone(&self.reporter.handles), self.reporter.sink.clone());
        tasks.spawn("seed", |task| seed::run(task, handles, sink, self.seeds, self.trades_max));
        let handles = Arc::clone(&self.reporter.handles);
        tasks.spawn("sizes", |task| reporter::sizes(task, handles, self.metrics));
        tasks.spawn("hot", |task| self.desk.run(task));
        if let Some(pump) = self.redis {
            tasks.spawn("redis", |task| pump.run(task));
        }
        tasks.spawn("report", |task| self.reporter.run(task));
        Ok(())
    }
}

#[cfg(test)]
impl Storage {
    /// The writers' handles, to wait for what they do.
    pub(crate) fn handles(&self) -> Handles {
        Arc::clone(&self.reporter.handles)
    }

    /// Whether the cold store's server is there.
    pub(crate) fn sink(&self) -> watch::Receiver<sink::Condition> {
        self.reporter.sink.condition.clone()
    }
}

/// What the writer of a kind works with.
struct Opened {
    keeper: Keeper,
    reader: Reader,
    recovery: Recovery,
}

/// Opens the cold store that is configured.
async fn open(context: &Context, bus: &Bus) -> anyhow::Result<(Vec<Opened>, Sink, Option<Probe>)> {
    let (suite, directory) = (context.suite(), context.state_directory.clone());
    let Some(url) = sink::address(&suite.storage) else {
        let rejects = rejects(bus);
        let opened = spawn_blocking(move || open_archive(&directory, rejects)).await??;
        return Ok((opened, Sink::archive(), None));
    };
    let settings = &suite.storage.clickhouse;
    let (warehouse, sink, probe) = sink::open(url, settings, &context.credentials).await?;
    let rejects = rejects(bus);
    let opened = spawn_blocking(move || open_warehouse(&directory, &warehouse, rejects)).await??;
    Ok((opened, sink, Some(probe)))
}

/// Makes what sets rows aside, for each kind.
fn rejects(bus: &Bus) -> impl Fn(Kind) -> Rejects + use<> {
    let (bus, runtime) = (bus.clone(), Runtime::current());
    move |kind| Rejects::new(bus.clone(), runtime.clone(), kind)
}

/// Opens the archive's table of every kind.
fn open_archive(
    directory: &Path,
    rejects: impl Fn(Kind) -> Rejects,
) -> anyhow::Result<Vec<Opened>> {
    let root = directory.join("archive");
    let open = |kind: &Kind| {
        let (table, recovery) = archive::Table::open(&root, *kind)
            .with_context(|| format!("open the archive of kind {kind}"))?;
        report(*kind, &recovery);
        let reader = Reader::Archive(table.reader());
        let keeper = Keeper::new(*kind, Table::Archive(table), rejects(*kind));
        Ok(Opened { keeper, reader, recovery })
    };
    Kind::ALL.iter().map(open).collect()
}

/// Opens the journal of every kind, and the archive that days are moved into; the tables are
/// ClickHouse's.
fn open_warehouse(
    directory: &Path,
    warehouse: &Warehouse,
    rejects: impl Fn(Kind) -> Rejects,
) -> anyhow::Result<Vec<Opened>> {
    let (journals, root) = (directory.join("journal"), directory.join("archive"));
    let open = |kind: &Kind| {
        let table = warehouse
            .table(*kind, &journals)
            .with_context(|| format!("open the journal of kind {kind}"))?;
        let (archive, recovery) = archive::Table::open(&root, *kind)
            .with_context(|| format!("open the archive of kind {kind}"))?;
        report(*kind, &recovery);
        let (warehouse, runtime) = (table.reader(), Runtime::current());
        let both = Both { warehouse, runtime: runtime.clone(), archive: archive.reader() };
        let table = Table::Warehouse(Box::new(Remote { table, runtime, archive }));
        let keeper = Keeper::new(*kind, table, rejects(*kind));
        Ok(Opened { keeper, reader: Reader::Warehouse(both), recovery })
    };
    Kind::ALL.iter().map(open).collect()
}

fn report(kind: Kind, recovery: &Recovery) {
    let Recovery { torn_bytes, leftovers, .. } = *recovery;
    if torn_bytes > 0 || leftovers > 0 {
        tracing::info!(%kind, torn_bytes, leftovers, "recovered from an interrupted run");
    }
    if recovery.manifest_rebuilt {
        tracing::warn!(%kind, "the manifest was missing or unreadable and was made anew");
    }
    for path in &recovery.unknown_files {
        tracing::warn!(%kind, path = %path.display(), "a file that is not ours is left alone");
    }
    for damage in &recovery.damages {
        let (path, bytes) = (damage.path.display(), damage.bytes.end - damage.bytes.start);
        let (after_seq, before_seq) = (damage.after_seq, damage.before_seq.unwrap_or(u64::MAX));
        tracing::error!(%kind, %path, bytes, after_seq, before_seq, "stored rows are damaged");
    }
    for (path, reason) in &recovery.lost_files {
        tracing::error!(%kind, path = %path.display(), reason, "stored rows cannot be read");
    }
}

fn writers(
    opened: Vec<Opened>,
    bus: &Bus,
    metrics: &Metrics,
    suite: &watch::Receiver<Arc<Suite>>,
) -> (Vec<Writer>, Handles) {
    let mut handles = BTreeMap::new();
    let mut writers = Vec::with_capacity(opened.len());
    let budget = Budget::new(suite.borrow().storage.cut.bytes_max.len(), opened.len());
    for Opened { keeper, reader, recovery } in opened {
        let kind = keeper.kind;
        let (commands_tx, commands) = mpsc::channel(COMMANDS_CAPACITY);
        let (figures, figures_rx) = watch::channel(Figures::default());
        let blocks = bus.blocks(kind);
        let ahead = Ahead::new(Maker::new(kind, keeper.table.is_remote()));
        let handle = Handle {
            reader,
            commands: commands_tx,
            figures: figures_rx,
            condition: blocks.condition(),
            recovery: Arc::new(recovery),
        };
        handles.insert(kind, handle);
        writers.push(Writer {
            kind,
            keeper: Some(keeper),
            acker: blocks.acker(),
            blocks,
            suite: suite.clone(),
            commands,
            figures,
            metrics: metrics.clone(),
            rolls: Rolls::default(),
            share: budget.share(),
            ahead,
            owed: None,
        });
    }
    (writers, Arc::new(handles))
}
