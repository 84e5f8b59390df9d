//! Which cold store there is, and the task that watches its server.

use daemon::Task;
use settings::{ClickHouse, Credentials, Storage, Warehouse as Wish};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use warehouse::{Sql, Step, Warehouse};

/// How often the server is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for an answer; an insert may take longer, and a migration takes as long as it takes.
const PROBE_MAX: Duration = Duration::from_secs(20);
/// Longest time that a start waits for the server.
const START_MAX: Duration = Duration::from_secs(8);
/// How often one looks how far a migration is.
const MIGRATION_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the cold store's server is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is, or none is needed.
    Up,
    /// It is not, and cuts wait.
    Away(Arc<str>),
    /// It changes the tables to what this version works with, and cuts wait.
    Migrating(Step),
    /// It is there and cannot read what it has on disk, and cuts wait.
    Damaged(Arc<str>),
    /// It is there, and its tables are not as they should be.
    Refused(Arc<str>),
}

impl Condition {
    fn of(probed: Result<(), warehouse::Error>) -> Self {
        let Err(error) = probed else { return Self::Up };
        let reason = Arc::from(Chain(&error).to_string());
        if error.is_schema() {
            Self::Refused(reason)
        } else if error.is_damage() {
            Self::Damaged(reason)
        } else {
            Self::Away(reason)
        }
    }

    fn late() -> Self {
        Self::Away(Arc::from("ClickHouse does not answer in time"))
    }

    fn log(&self) {
        match self {
            Self::Up => tracing::info!("ClickHouse is there"),
            Self::Away(reason) => {
                tracing::warn!(reason = &**reason, "ClickHouse is away; rows wait in the stream");
            }
            Self::Damaged(reason) => {
                let reason = &**reason;
                tracing::error!(reason, "ClickHouse's data is damaged; rows wait in the stream");
            }
            // The migration itself is in the log.
            Self::Migrating(step) => tracing::debug!(%step, "rows wait in the stream"),
            Self::Refused(reason) => {
                tracing::error!(reason = &**reason, "ClickHouse cannot be used");
            }
        }
    }
}

/// The cold store, as the rest of the service sees it.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    /// Where ClickHouse is, if it is the store.
    pub(crate) address: Option<Arc<str>>,
    pub(crate) condition: watch::Receiver<Condition>,
    /// Runs statements of others, if there is a user for them.
    pub(crate) sql: Option<Sql>,
}

/// Watches the server.
pub(crate) struct Probe {
    watcher: Watcher,
    /// What was asked at start, and led to a migration that is under way.
    asked: Option<Asked>,
}

/// Tells how the server is.
struct Watcher {
    warehouse: Warehouse,
    condition: watch::Sender<Condition>,
}

/// A question whether the server is there, and its tables right.
type Asked = Pin<Box<dyn Future<Output = Result<(), warehouse::Error>> + Send>>;

fn ask(warehouse: &Warehouse) -> Asked {
    let warehouse = warehouse.clone();
    Box::pin(async move { warehouse.probe().await })
}

/// The address of the ClickHouse that is to be used; `None` is the archive.
pub(crate) fn address(storage: &Storage) -> Option<&settings::Endpoint> {
    match storage.warehouse {
        Wish::Archive => None,
        Wish::Auto | Wish::ClickHouse => storage.clickhouse.url.as_ref(),
    }
}

impl Sink {
    /// The archive, which is there when the service is.
    pub(crate) fn archive() -> Self {
        Self { address: None, condition: watch::channel(Condition::Up).1, sql: None }
    }

    /// Its name.
    pub(crate) const fn name(&self) -> &'static str {
        if self.address.is_some() { "clickhouse" } else { "archive" }
    }

    /// Why nothing can be stored or read.
    pub(crate) fn problem(&self) -> Option<String> {
        match &*self.condition.borrow() {
            Condition::Up => None,
            Condition::Away(reason) | Condition::Damaged(reason) | Condition::Refused(reason) => {
                Some(reason.to_string())
            }
            Condition::Migrating(step) => Some(step.to_string()),
        }
    }
}

/// Opens ClickHouse. A server that is away is waited for later; one whose tables are not as they
/// should be is an error.
pub(crate) async fn open(
    url: &settings::Endpoint,
    settings: &ClickHouse,
    credentials: &Credentials,
) -> anyhow::Result<(Warehouse, Sink, Probe)> {
    let password = warehouse::password(settings, credentials)?;
    let warehouse = Warehouse::new(settings, url, password.as_ref())?;
    let sql = Sql::new(settings, url, credentials)?;
    let mut asked = ask(&warehouse);
    let (condition, asked) = match timeout(START_MAX, &mut asked).await {
        Ok(Err(error)) if error.is_schema() => return Err(error.into()),
        Ok(probed) => (Condition::of(probed), None),
        Err(_) => match warehouse.migration() {
            Some(step) => (Condition::Migrating(step), Some(asked)),
            None => (Condition::late(), None),
        },
    };
    condition.log();
    let (sender, condition) = watch::channel(condition);
    let address = Arc::from(format!("{url}/{}", settings.database));
    let watcher = Watcher { warehouse: warehouse.clone(), condition: sender };
    let probe = Probe { watcher, asked };
    Ok((warehouse, Sink { address: Some(address), condition, sql }, probe))
}

impl Probe {
    /// The server that it watches.
    pub(crate) fn warehouse(&self) -> Warehouse {
        self.watcher.warehouse.clone()
    }

    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let Self { watcher, mut asked } = self;
        loop {
            if asked.is_none() && !task.sleep(PROBE_INTERVAL).await {
                return Ok(());
            }
            let question = asked.take().unwrap_or_else(|| ask(&watcher.warehouse));
            let answer = watcher.answer(question);
            let Some(now) = task.until_stopped(answer).await else { return Ok(()) };
            watcher.note(now);
        }
    }
}

impl Watcher {
    /// Waits for an answer for a while, or as long as a migration takes.
    async fn answer(&self, mut asked: Asked) -> Condition {
        let mut late_at = Instant::now() + PROBE_MAX;
        loop {
            if let Ok(probed) = timeout(MIGRATION_INTERVAL, &mut asked).await {
                return Condition::of(probed);
            }
            if let Some(step) = self.warehouse.migration() {
                late_at = Instant::now() + PROBE_MAX;
                self.note(Condition::Migrating(step));
            } else if Instant::now() >= late_at {
                return Condition::late();
            }
        }
    }

    fn note(&self, now: Condition) {
        self.condition.send_if_modified(|known| {
            let changed = *known != now;
            if changed {
                now.log();
                *known = now;
            }
            changed
        });
    }
}
