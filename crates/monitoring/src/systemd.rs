//! Asks systemd for the suite's units over D-Bus.
//!
//! Any user may read; nothing is ever started or stopped from here. Signals are not subscribed to:
//! they come in storms and race with the removal of units, so a poll is the truth.

use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, fdo};

use crate::unit::{Listed, Properties, Unit};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The units of the suite, whether they are running or not.
const PATTERN: &str = "marketprism-*";

/// What reports failures: started by systemd when there is one, and gone again.
const REPORTS: &str = "marketprism-alert@";

/// A connection to the system bus, made when it is first needed and again after it broke.
#[derive(Debug)]
pub struct Systemd {
    connection: Option<Connection>,
    address: Option<String>,
}

impl Systemd {
    /// Will ask the system bus, or the bus at `address`. Nothing is connected yet.
    #[must_use]
    pub const fn new(address: Option<String>) -> Self {
        Self { connection: None, address }
    }

    /// Every unit of the suite that systemd has loaded, by name; each call may take `limit`.
    ///
    /// # Errors
    ///
    /// If the bus or systemd does not answer. The next call connects anew.
    pub async fn units(&mut self, limit: Duration) -> zbus::Result<Vec<Unit>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => tokio::time::timeout(limit, self.connect(limit))
                .await
                .map_err(|_| zbus::Error::Failure("the system bus does not answer".into()))??,
        };
        let mut units = list(&connection).await?;
        units.sort_by(|one, other| one.name.cmp(&other.name));
        // Kept only if everything was answered: a connection that broke says nothing about itself.
        self.connection = Some(connection);
        Ok(units)
    }

    async fn connect(&self, limit: Duration) -> zbus::Result<Connection> {
        let builder = match &self.address {
            Some(address) => Builder::address(address.as_str()),
            None => Builder::system(),
        };
        builder.method_timeout(limit).build().await
    }
}

async fn list(connection: &Connection) -> zbus::Result<Vec<Unit>> {
    let states: &[&str] = &[];
    let reply = connection
        .call_method(
            Some(SYSTEMD),
            MANAGER_PATH,
            Some(MANAGER),
            "ListUnitsByPatterns",
            &(states, &[PATTERN][..]),
        )
        .await?;
    let listed: Vec<Listed> = reply.body().deserialize()?;
    let mut units = Vec::with_capacity(listed.len());
    for entry in listed.into_iter().filter(|entry| !entry.0.starts_with(REPORTS)) {
        let path = entry.6.clone();
        let unit = Unit::listed(entry);
        if unit.service().is_none() {
            units.push(unit);
            continue;
        }
        match describe(connection, unit.clone(), path.as_str()).await {
            Ok(unit) => units.push(unit),
            // systemd drops a unit between the list and the question when nothing needs it.
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::UnknownObject(_)) => {
                units.push(unit);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(units)
}

async fn describe(connection: &Connection, unit: Unit, path: &str) -> zbus::Result<Unit> {
    let reply = connection
        .call_method(Some(SYSTEMD), path, Some(PROPERTIES), "GetAll", &(SERVICE,))
        .await?;
    let properties: Properties = reply.body().deserialize()?;
    let reply = connection
        .call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(UNIT, "InvocationID"))
        .await?;
    let invocation: zbus::OwnedVariant = reply.body().deserialize()?;
    let invocation: Vec<u8> = invocation.try_into().unwrap_or_default();
    Ok(unit.with_service(&properties).with_invocation(&invocation))
}
