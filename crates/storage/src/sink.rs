//! Which cold store there is, and the task that watches its server.

use daemon::Task;
use settings::{ClickHouse, Credentials, Storage, Warehouse as Wish};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::timeout;
use warehouse::Warehouse;

/// How often the server is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for an answer, a migration included; an insert may take longer.
const PROBE_MAX: Duration = Duration::from_secs(20);
/// Longest time that a start waits for the server.
const START_MAX: Duration = Duration::from_secs(8);

/// Whether the cold store's server is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is, or none is needed.
    Up,
    /// It is not, and cuts wait.
    Away(Arc<str>),
    /// It is there, and its tables are not as they should be.
    Refused(Arc<str>),
}

impl Condition {
    fn of(probed: Result<(), warehouse::Error>) -> Self {
        let Err(error) = probed else { return Self::Up };
        let reason = Arc::from(Chain(&error).to_string());
        if error.is_schema() { Self::Refused(reason) } else { Self::Away(reason) }
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
}

/// Watches the server.
pub(crate) struct Probe {
    warehouse: Warehouse,
    condition: watch::Sender<Condition>,
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
        Self { address: None, condition: watch::channel(Condition::Up).1 }
    }

    /// Its name.
    pub(crate) const fn name(&self) -> &'static str {
        if self.address.is_some() { "clickhouse" } else { "archive" }
    }

    /// Why nothing can be stored or read.
    pub(crate) fn problem(&self) -> Option<String> {
        match &*self.condition.borrow() {
            Condition::Up => None,
            Condition::Away(reason) | Condition::Refused(reason) => Some(reason.to_string()),
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
    let condition = match timeout(START_MAX, warehouse.probe()).await {
        Ok(Err(error)) if error.is_schema() => return Err(error.into()),
        Ok(probed) => Condition::of(probed),
        Err(_) => Condition::late(),
    };
    condition.log();
    let (sender, condition) = watch::channel(condition);
    let address = Arc::from(format!("{url}/{}", settings.database));
    let probe = Probe { warehouse: warehouse.clone(), condition: sender };
    Ok((warehouse, Sink { address: Some(address), condition }, probe))
}

impl Probe {
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        while task.sleep(PROBE_INTERVAL).await {
            let probe = timeout(PROBE_MAX, self.warehouse.probe());
            let Some(probed) = task.until_stopped(probe).await else { break };
            let now = probed.map_or_else(|_| Condition::late(), Condition::of);
            self.condition.send_if_modified(|known| {
                let changed = *known != now;
                if changed {
                    now.log();
                    *known = now;
                }
                changed
            });
        }
        Ok(())
    }
}
