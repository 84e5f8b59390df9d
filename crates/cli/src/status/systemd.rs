//! What systemd knows of our units, over the system bus.
//!
//! Source: org.freedesktop.systemd1(5), "The Manager Object" and "Service Unit Objects".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::{NATS, SERVICES};

/// How long the bus may take to answer everything.
const TIMEOUT: Duration = Duration::from_secs(5);

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// A row of `ListUnits`: name, description, load, active and sub state, followed unit, object
/// path, job id, job type, job path.
type Row =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A unit of the suite.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// With the suffix `.service`.
    pub(super) name: String,
    pub(super) active: Option<String>,
    pub(super) sub: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) since: Option<Timestamp>,
    pub(super) restarts: Option<u32>,
    pub(super) status_text: Option<String>,
}

impl Unit {
    /// A unit of which only the name is known.
    pub(super) fn unknown(service: &str) -> Unit {
        Unit { name: name(service), ..Unit::default() }
    }

    /// The service that the unit runs: `gateway` of `marketprism-gateway.service`.
    pub(super) fn service(&self) -> Option<&str> {
        self.name.strip_prefix("marketprism-")?.strip_suffix(".service")
    }
}

/// A connection to the service manager.
pub(super) struct Systemd(Connection);

impl Systemd {
    /// Returns the installed units of the suite: the known ones in the order in which they start,
    /// then instances.
    ///
    /// # Errors
    ///
    /// If there is no system bus or no systemd on it.
    pub(super) async fn units() -> anyhow::Result<Vec<Unit>> {
        let units = async {
            let connection = Connection::system().await.context("no system bus")?;
            Systemd(connection).installed().await
        };
        tokio::time::timeout(TIMEOUT, units).await.context("the system bus does not answer")?
    }

    async fn installed(&self) -> anyhow::Result<Vec<Unit>> {
        let known: Vec<String> = SERVICES.into_iter().chain([NATS]).map(name).collect();
        // By name, since the list by pattern leaves out units that are not loaded.
        let mut rows: Vec<Row> = self.call("ListUnitsByNames", &(known,)).await?;
        let states: [&str; 0] = [];
        let patterns = ["marketprism-*@*.service"];
        rows.extend(
            self.call::<Vec<Row>>("ListUnitsByPatterns", &(&states[..], &patterns[..])).await?,
        );
        let mut names = BTreeSet::new();
        let mut units = Vec::new();
        for (name, _, load, active, sub, _, path, ..) in rows {
            // A report of a failure is no part of what should run.
            let is_report = name.starts_with("marketprism-alert@");
            if load == "loaded" && !is_report && names.insert(name.clone()) {
                let facts = self.facts(&path).await?;
                units.push(unit(name, active, sub, &facts));
            }
        }
        Ok(units)
    }

    /// Reads the properties of a unit and of the service that it is.
    async fn facts(
        &self,
        path: &OwnedObjectPath,
    ) -> anyhow::Result<BTreeMap<String, OwnedVariant>> {
        let mut facts = BTreeMap::new();
        for interface in ["org.freedesktop.systemd1.Unit", "org.freedesktop.systemd1.Service"] {
            let properties = Some("org.freedesktop.DBus.Properties");
            let reply = self
                .0
                .call_method(Some(SYSTEMD), path, properties, "GetAll", &(interface,))
                .await
                .with_context(|| format!("cannot read the properties of {}", path.as_str()))?;
            let body = reply.body();
            facts.extend(body.deserialize::<BTreeMap<String, OwnedVariant>>()?);
        }
        Ok(facts)
    }

    async fn call<T>(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + zbus::zvariant::DynamicType),
    ) -> anyhow::Result<T>
    where
        T: for<'de> serde::Deserialize<'de> + zbus::zvariant::Type,
    {
        let path = "/org/freedesktop/systemd1";
        let reply = self
            .0
            .call_method(Some(SYSTEMD), path, Some(MANAGER), method, arguments)
            .await
            .context("systemd is not on the system bus")?;
        Ok(reply.body().deserialize()?)
    }
}

fn name(service: &str) -> String {
    format!("marketprism-{service}.service")
}

fn unit(name: String, active: String, sub: String, facts: &BTreeMap<String, OwnedVariant>) -> Unit {
    let is_active = active == "active";
    let number = |key| facts.get(key).and_then(|value| u64::try_from(value).ok());
    let small = |key| facts.get(key).and_then(|value| u32::try_from(value).ok());
    let text = |key| facts.get(key).and_then(|value| <&str>::try_from(value).ok());
    let entered = number("ActiveEnterTimestamp").and_then(|us| i64::try_from(us).ok());
    Unit {
        name,
        active: Some(active),
        sub: Some(sub),
        pid: small("MainPID").filter(|pid| *pid != 0),
        // The largest number stands for "not accounted".
        memory_bytes: number("MemoryCurrent").filter(|bytes| *bytes != u64::MAX),
        since: entered
            .filter(|us| is_active && *us > 0)
            .and_then(|us| Timestamp::from_microsecond(us).ok()),
        restarts: small("NRestarts"),
        status_text: text("StatusText").filter(|text| !text.is_empty()).map(ToOwned::to_owned),
    }
}
