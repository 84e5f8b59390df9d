//! The suite's one configuration file.
//!
//! Every daemon reads the whole of `/etc/marketprism/services.yaml` and the drop-ins beside it, so
//! a typo anywhere is found by whoever starts first, and no endpoint is written twice.
//!
//! ```text
//! services.yaml ─┐
//! services.d/*  ─┴▶ tree (with places) ──merge──▶ decode ──▶ Suite ──check──▶ Loaded
//! ```
//!
//! [`load()`] refuses unknown keys, duplicate keys, wrong types and impossible values, and says in
//! which file and line. One section is one module, and its doc comments are the users' manual.
//! Secrets are never in the file: they are systemd [`Credentials`].

mod address;
mod broker;
mod bus;
mod check;
mod collector;
mod credentials;
mod decode;
pub mod duration;
mod endpoint;
mod error;
mod gateway;
mod load;
mod monitoring;
mod network;
mod scheduler;
mod size;
mod storage;
mod suggest;
mod telemetry;
mod tree;
mod venues;

pub use broker::{Broker, Nats, Streams};
pub use bus::Bus;
pub use check::{Faults, Invalid};
pub use collector::{Backfill, Capture, Collector, Instruments, Polls};
pub use credentials::Credentials;
pub use endpoint::{Endpoint, Endpoints};
pub use error::{Error, Place, Report};
pub use gateway::{AccessLog, Backends, Breaker, Gateway, LiveStream, Rate, RouteTimeouts};
pub use load::{Loaded, load, parse};
pub use monitoring::{
    Channel, ChannelKind, Comparison, Inhibit, Measure, Monitoring, Notify, Route, Rule, Severity,
};
pub use network::Network;
pub use scheduler::{CatchUp, Method, Overlap, Scheduler, SchedulerBackup, SchedulerLease, Task};
pub use size::Size;
pub use storage::{
    Archive, ClickHouse, Cluster, Cut, Hot, Redis, Retention, Sql, Storage, Warehouse,
};
pub use telemetry::Telemetry;
pub use venues::{Binance, Deribit, Okx, VenueMarket, Venues};

use serde::{Deserialize, Serialize};

/// The whole configuration; every key has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Suite {
    /// How the services reach NATS.
    pub bus: Bus,
    /// The one door to the suite.
    pub gateway: Gateway,
    /// What is recorded, and from where.
    pub collector: Collector,
    /// How market data is kept and served.
    pub storage: Storage,
    /// What is watched, and when to raise an alert.
    pub monitoring: Monitoring,
    /// Which jobs run when.
    pub scheduler: Scheduler,
    /// The NATS server and its streams.
    pub broker: Broker,
    /// Logging of all services.
    pub telemetry: Telemetry,
}

impl Suite {
    /// The effective configuration as YAML, as `marketprism config show` prints it.
    ///
    /// It holds no secret, because the file cannot.
    ///
    /// # Errors
    ///
    /// If a value cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String, Error> {
        serde_saphyr::to_string(self).map_err(|error| Error::Render(error.to_string()))
    }

    /// Where the HTTP interface of one of the six services listens.
    ///
    /// `None` if there is no service of that name.
    #[must_use]
    pub fn listen(&self, service: &str) -> Option<std::net::SocketAddr> {
        Some(match service {
            "gateway" => self.gateway.listen,
            "collector" => self.collector.listen,
            "storage" => self.storage.listen,
            "monitoring" => self.monitoring.listen,
            "scheduler" => self.scheduler.listen,
            "broker" => self.broker.listen,
            _ => return None,
        })
    }
}
