//! The service as the harness runs it.

use crate::api::{self, Access};
use crate::figures::{Figures, Handle, Handles};
use crate::hot::desk::{Desk, QUESTIONS_CAPACITY, SEEDS_CAPACITY, Seeds};
use crate::hot::{Hot, Summary};
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::rejects::Rejects;
use crate::reporter::Reporter;
use crate::seed;
use crate::writer::{Rolls, Writer};
use anyhow::Context as _;
use archive::{Recovery, Table};
use axum::Router;
use bus::Bus;
use daemon::{Context, Required, Service, Tasks};
use model::Kind;
use settings::{Invalid, Suite, Warehouse};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

/// Commands waiting for a writer: the interface waits when there are more.
const COMMANDS_CAPACITY: usize = 4;

/// The data storage.
pub struct Storage {
    writers: Vec<Writer>,
    desk: Desk,
    seeds: mpsc::Sender<Seeds>,
    trades_max: usize,
    reporter: Reporter,
    access: Access,
}

impl Service for Storage {
    const NAME: &'static str = "storage";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        if suite.storage.warehouse == Warehouse::ClickHouse {
            let message = "cannot be `clickhouse` in this version; use `auto` or `archive`";
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
        let directory = context.state_directory.clone();
        let keepers = spawn_blocking(move || open(&directory)).await??;
        let (writers, handles) = writers(keepers, &bus, &metrics, &context.suite);
        let (questions_tx, questions) = mpsc::channel(QUESTIONS_CAPACITY);
        let (seeds_tx, seeds) = mpsc::channel(SEEDS_CAPACITY);
        let (summary, hot) = watch::channel(Summary::default());
        let trades_max = suite.storage.hot.trades;
        let state = bus.state();
        let access = Access::new(
            Arc::clone(&handles),
            questions_tx,
            hot.clone(),
            state.clone(),
            context.suite.clone(),
            metrics.clone(),
        );
        let reporter = Reporter {
            handles,
            hot,
            bus: state,
            status: context.status.clone(),
            archive: context.health.dependency("archive", Required::Yes),
            nats: context.health.dependency("nats", Required::No),
            metrics: metrics.clone(),
        };
        // The tables are open, or we would not be here.
        reporter.archive.up();
        let desk = Desk { hot: Hot::new(trades_max), bus, questions, seeds, summary, metrics };
        Ok(Self { writers, desk, seeds: seeds_tx, trades_max, reporter, access })
    }

    fn router(&self) -> Router {
        api::router(self.access.clone())
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        for writer in self.writers {
            tasks.spawn(format!("write-{}", writer.kind), |task| writer.run(task));
        }
        let handles = Arc::clone(&self.reporter.handles);
        tasks.spawn("seed", |task| seed::run(task, handles, self.seeds, self.trades_max));
        tasks.spawn("hot", |task| self.desk.run(task));
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
}

/// Opens the table of every kind.
fn open(directory: &Path) -> anyhow::Result<Vec<(Keeper, Recovery)>> {
    let (root, rejected) = (directory.join("archive"), directory.join("rejected"));
    let open = |kind: &Kind| {
        let (table, recovery) = Table::open(&root, *kind)
            .with_context(|| format!("open the archive of kind {kind}"))?;
        report(*kind, &recovery);
        Ok((Keeper::new(*kind, table, Rejects::new(&rejected, *kind)), recovery))
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
    keepers: Vec<(Keeper, Recovery)>,
    bus: &Bus,
    metrics: &Metrics,
    suite: &watch::Receiver<Arc<Suite>>,
) -> (Vec<Writer>, Handles) {
    let mut handles = BTreeMap::new();
    let mut writers = Vec::with_capacity(keepers.len());
    for (keeper, recovery) in keepers {
        let kind = keeper.kind;
        let (commands_tx, commands) = mpsc::channel(COMMANDS_CAPACITY);
        let (figures, figures_rx) = watch::channel(Figures::default());
        let blocks = bus.blocks(kind);
        let handle = Handle {
            reader: keeper.table.reader(),
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
            owed: None,
        });
    }
    (writers, Arc::new(handles))
}
